"""Events: rows per second against plain pandas, growth with the number of events, cost of a day more, lag of the stream.

    python tests/benchmarks/bench_events.py [pandas|growth|day|stream] [--events 100000,300000,1000000]

Each size runs in a process and a home of its own, so that its peak memory is its own. Everything goes through the real
assets (`raw_events`, `listening_events`, `interactions`, `listeners`, features); the baseline is the shortest pandas
program that cleans the same rows. Times are CPU seconds, which other work on the machine disturbs little; the age of a
stream's records is wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
DAYS = 28
FIRST = date(2026, 5, 1)
TABLES = (
    "raw_events",
    "listening_events",
    "interactions",
    "listeners",
    "listener_features",
    "track_features",
    "listening_splits",
)


def write_events(folder: Path, count: int, *, days: int = DAYS, first: date = FIRST, start: int = 0) -> None:
    """A JSON Lines file per day; one row in a hundred is a duplicate, one in two hundred impossible."""
    rng = np.random.default_rng(start)
    per_day = count // days
    folder.mkdir(parents=True, exist_ok=True)
    listeners = max(100, count // 100)
    for day in range(days):
        stamp = f"{first + timedelta(days=day)}"
        who = rng.integers(0, listeners, per_day)
        what = np.minimum(rng.geometric(0.001, per_day), 20_000)
        second = np.sort(rng.integers(0, 86_400, per_day))
        length = rng.integers(1, 300, per_day)
        path = folder / f"{stamp}-{start}.jsonl"
        with path.open("w") as file:
            for row in range(per_day):
                number = start + day * per_day + row - (row % 100 == 99)
                seconds = -1 if row % 200 == 100 else int(length[row])
                clock = int(second[row])
                file.write(
                    f'{{"event_id": "ev{number:010}", "listener": "user{who[row]}", "track": "Artist {what[row] % 900} - Song '
                    f'{what[row]}", "played_at": "{stamp}T{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}Z", '
                    f'"seconds_played": {seconds}, "skipped": {"true" if seconds < 30 else "false"}, "source": "search"}}\n'
                )
        os.utime(path, (1, 1))


def peak() -> float:
    """Peak resident memory of this process, MiB."""
    (line,) = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def with_pandas(folder: Path) -> None:
    """The baseline: read, clean, drop duplicates, aggregate by day, listener and track, write Parquet."""
    import pandas as pd

    started = time.process_time()
    frame = pd.concat([pd.read_json(path, lines=True) for path in sorted(folder.glob("*.jsonl"))], ignore_index=True)
    frame["played_at"] = pd.to_datetime(frame["played_at"], utc=True)
    frame = frame[frame["seconds_played"].between(0, 86_400)].drop_duplicates("event_id")
    frame["day"] = frame["played_at"].dt.strftime("%Y-%m-%d")
    frame["strength"] = np.minimum(frame["seconds_played"] / 30, 1) * np.where(frame["skipped"], 0.2, 1.0)
    daily = frame.groupby(["day", "listener", "track"]).agg(
        plays=("event_id", "size"), skips=("skipped", "sum"), seconds=("seconds_played", "sum"),
        strength=("strength", "sum"), first=("played_at", "min"), last=("played_at", "max"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        frame.to_parquet(Path(out) / "events.parquet")
        daily.reset_index().to_parquet(Path(out) / "interactions.parquet")
    print(json.dumps({"seconds": time.process_time() - started, "peak_mib": peak(), "rows": len(frame)}))


def with_platform(home: Path) -> None:
    """All of the home's events through the real assets."""
    from ai_assets.home import prepare_home
    from ai_assets.launch import Launcher
    from resources.settings import load_settings

    platform = prepare_home(load_settings(home=home))
    steps: dict[str, float] = {}
    begun: dict[str, float] = {}

    def note(news: Any) -> None:
        if news.phase == "start":
            begun[news.step] = time.process_time()
        elif news.phase == "end":
            steps[news.step] = steps.get(news.step, 0.0) + time.process_time() - begun[news.step]

    with Launcher(platform, progress=note) as launcher:
        started = time.process_time()
        summary = launcher.bring_up_to_date(only=TABLES)
        seconds = time.process_time() - started
    assert not summary.failures, summary.failures
    rows = sum(entry.rows or 0 for entry in platform.lake.ledger.entries("listening_events").values())
    found = {"seconds": seconds, "peak_mib": peak(), "rows": rows, "runs": len(summary.runs), "steps": steps}
    print(json.dumps(found))


def child(mode: str, place: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "AI_ASSETS_HOME": str(place)}
    done = subprocess.run([sys.executable, __file__, f"_{mode}", str(place)], cwd=ROOT, env=variables,
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def against_pandas(count: int) -> None:
    """Rows per second, side by side."""
    with tempfile.TemporaryDirectory() as scratch:
        write_events(Path(scratch) / "landing" / "events", count)
        plain = child("pandas", Path(scratch) / "landing" / "events")
        ours = child("platform", Path(scratch))
    assert plain["rows"] == ours["rows"], (plain, ours)
    core = sum(ours["steps"][name] for name in ("raw_events", "listening_events", "interactions"))
    print(f"{count:,} lines, {plain['rows']:,} good")
    print(
        f"  plain pandas                          {plain['seconds']:7.1f} CPU s  {count / plain['seconds']:9,.0f} /s  1.00x"
    )
    print(
        f"  the three steps that do the same      {core:7.1f} CPU s  {count / core:9,.0f} /s  {core / plain['seconds']:.2f}x"
    )
    print(
        f"  all seven tables, {ours['runs']} runs             {ours['seconds']:7.1f} CPU s  {count / ours['seconds']:9,.0f} /s"
    )
    for name, seconds in ours["steps"].items():
        print(f"      {name:20}{seconds:7.1f} CPU s")


def growth(counts: list[int]) -> None:
    """Seconds and peak memory over the number of events, and the slope in log-log."""
    points = []
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            write_events(Path(scratch) / "landing" / "events", count)
            ours = child("platform", Path(scratch))
        points.append((count, ours["seconds"]))
        shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in ours["steps"].items())
        print(
            f"{count:>9,} events {ours['seconds']:7.1f} CPU s  peak {ours['peak_mib']:6.0f} MiB  {ours['runs']} runs  ({shown})",
            flush=True,
        )
    if len(points) > 1:
        x, y = np.log([count for count, _ in points]), np.log([seconds for _, seconds in points])
        print(f"slope in log-log {np.polyfit(x, y, 1)[0]:.2f}")


def one_more_day(count: int) -> None:
    """What the next day costs a home that has `count` events already, beside that day alone in a new home."""
    per_day = count // DAYS
    with tempfile.TemporaryDirectory() as full, tempfile.TemporaryDirectory() as fresh:
        write_events(Path(full) / "landing" / "events", count)
        child("platform", Path(full))
        for home in (full, fresh):
            write_events(
                Path(home) / "landing" / "events", per_day, days=1, first=FIRST + timedelta(days=DAYS), start=10**9
            )
        alone, more = child("platform", Path(fresh)), child("platform", Path(full))
    print(f"a day of {per_day:,} events in a new home           {alone['seconds']:6.1f} s  1.00x")
    print(
        f"the same day after {count:,} events             {more['seconds']:6.1f} s  {more['seconds'] / alone['seconds']:.2f}x"
    )
    for name in alone["steps"]:
        print(f"      {name:20}{alone['steps'][name]:6.1f} s {more['steps'].get(name, 0.0):6.1f} s")


def stream_lag(rate: int, seconds: int) -> None:
    """Append at a rate while a drain follows: how old is a record when the lake holds it?"""
    from ai_assets.data_processing.event_inbox import EventInbox
    from ai_assets.home import prepare_home
    from resources.settings import load_settings

    with tempfile.TemporaryDirectory() as home:
        platform = prepare_home(load_settings(home=Path(home)))
        stream, inbox = platform.event_stream, EventInbox(platform)
        sent: dict[int, float] = {}
        stop = threading.Event()

        def produce() -> None:
            rng, number, begun = random.Random(0), 0, time.monotonic()
            while number < rate * seconds:
                batch = [
                    {"event_id": f"s{number + n}", "listener": f"u{rng.randrange(5000)}", "track": f"a - {rng.randrange(9000)}",
                     "played_at": datetime.now(UTC).isoformat(), "seconds_played": 30}
                    for n in range(rate // 20)
                ]  # fmt: skip
                number += len(batch)
                sent[stream.append(batch)] = time.monotonic()
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            stop.set()

        producer = threading.Thread(target=produce)
        started = time.monotonic()
        producer.start()
        lags: list[float] = []
        open_, runs = dict[int, float](), 0
        while not stop.is_set() or stream.waiting():
            inbox.ingest(f"r{runs}")
            runs += 1
            now, done = time.monotonic(), platform.lake.appended("raw_events", "stream")
            open_ = {sequence: when for sequence, when in sent.copy().items() if sequence > done}
            for sequence in [item for item in sent if item <= done]:
                lags.append(now - sent.pop(sequence))
        producer.join()
        rows = sum(platform.lake.partition_rows("raw_events", "day").values())
        low, mid, high = np.quantile(lags, [0.5, 0.95, 1.0])
        print(
            f"{type(stream).__name__}: {rows:,} records at {rows / (time.monotonic() - started):,.0f} /s (asked {rate:,}), "
            f"{runs} drains; age when committed: median {low:.2f} s, p95 {mid:.2f} s, most {high:.2f} s; left {len(open_)}"
        )
        assert rows == rate * seconds


def main() -> None:
    if sys.argv[1:2] == ["_pandas"]:
        return with_pandas(Path(sys.argv[2]))
    if sys.argv[1:2] == ["_platform"]:
        return with_platform(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["pandas", "growth", "day", "stream"])
    parser.add_argument("--events", default="100000,300000,1000000")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    counts = [int(text) for text in given.events.split(",")]
    if "pandas" in given.what:
        against_pandas(counts[0])
    if "growth" in given.what:
        growth(counts)
    if "day" in given.what:
        one_more_day(counts[0])
    if "stream" in given.what:
        stream_lag(given.rate, given.seconds)
    return None


if __name__ == "__main__":
    main()
