"""Measures how audio files are read: odd files, bombs, cut files, false alarms, speed; writes docs/quality/decoding.md.

python tests/benchmarks/bench_decode.py
"""

from __future__ import annotations

import csv
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "audio_analysis")]

from audio_makers import bombs, cut, punch, tone, write, write_m4a  # noqa: E402

from ai_assets.audio_analysis.decode import decode_report, open_audio  # noqa: E402
from resources.isolation import LimitedPool, Outcome  # noqa: E402

DATA = Path(os.environ.get("AI_ASSETS_TEST_DATA", ROOT.parent / "shared" / "data"))
SUFFIXES = (".wav", ".ogg", ".mp3", ".flac", ".m4a", ".aif", ".aiff", ".opus")
KEEP = (0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1, 2, 16, 100, 1000)
SEEDS = range(4)
MARK = "<!-- everything below is written by tests/benchmarks/bench_decode.py -->"
FOLDERS = ("librosa_examples", "esc10", "philharmonia_notes", "sonic_pi_samples", "rendered_folk", "drum_machines")


def pool() -> LimitedPool:
    preload = ("ai_assets.audio_analysis.decode",)
    return LimitedPool(2, memory_bytes=512 << 20, cpu_seconds=20, wall_seconds=60, preload=preload)


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def worst(outcomes: list[Outcome]) -> str:
    cpu = max(outcome.cpu_seconds for outcome in outcomes)
    peak = max(outcome.peak_bytes for outcome in outcomes) / 2**20
    return f"most CPU for one file {cpu:.2f} s, highest resident memory of a worker {peak:.0f} MiB"


def corpus() -> str:
    with (DATA / "odd_audio" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with pool() as workers:
        outcomes = list(workers.map(decode_report, [str(DATA / "odd_audio" / row["path"]) for row in rows]))
        started = workers.started_workers
        start_cpu = workers.start_cpu_seconds
    assert all(outcome.status == "ok" for outcome in outcomes)
    kinds = sorted({row["kind"] for row in rows})
    names = ("ok", "short", "partial", "refused")
    found = Counter((row["kind"], outcome.value.status) for row, outcome in zip(rows, outcomes, strict=True))
    body = table(("kind", *names), [(kind, *(found[kind, name] or "" for name in names)) for kind in kinds])
    return (
        f"## {len(rows)} odd files, {len(outcomes)} reports\n\n{body}\n\n"
        f"No crash, no hang, {started} worker processes in all; {worst(outcomes)}; "
        f"a worker is ready after {max(start_cpu):.2f} s of CPU.\n"
    )


def bomb_table(folder: Path) -> str:
    paths = list(bombs(folder / "bombs"))
    paths.append(three_hours(folder))
    with pool() as workers:
        outcomes = list(workers.map(decode_report, [str(path) for path in paths]))
        started = workers.started_workers
    rows = [
        (
            path.name,
            outcome.value.status if outcome.status == "ok" else outcome.status,
            f"{outcome.value.duration_seconds:.1f}" if outcome.status == "ok" else "",
            f"{outcome.cpu_seconds:.2f}",
            f"{outcome.peak_bytes / 2**20:.0f}",
            (outcome.value.reason if outcome.status == "ok" else outcome.error).split("; no decoder")[0][:90],
        )
        for path, outcome in zip(paths, outcomes, strict=True)
    ]
    body = table(("file", "status", "seconds read", "CPU s", "MiB", "reason"), rows)
    return f"## Bombs and lies\n\n{body}\n\n{started} worker processes in all; {worst(outcomes)}.\n"


def three_hours(folder: Path) -> Path:
    """Three hours of MP3: one minute without its length header, 180 times."""
    minute = write(folder / "minute.mp3", tone(60.0), kind="MP3").read_bytes()
    frames = minute[minute.index(b"\xff\xfb", 200) :]
    path = folder / "three_hours.mp3"
    with path.open("wb") as file:
        for _ in range(180):
            file.write(frames)
    return path


def made(folder: Path, seed: int) -> Iterator[tuple[str, Path]]:
    samples = tone(4.0 + seed, seed=seed, channels=2)
    for kind in ("wav", "flac", "mp3", "ogg", "aiff"):
        yield kind, write(folder / f"{seed}.{kind}", samples, kind=kind.upper())
    yield "opus", write(folder / f"{seed}.opus", tone(4.0 + seed, rate=48000), kind="OGG", subtype="OPUS", rate=48000)
    for codec in ("aac", "alac"):
        yield f"m4a {codec}", write_m4a(folder / f"{seed}.{codec}.m4a", samples, codec=codec)


def truncations(folder: Path) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for seed in SEEDS:
        for kind, path in made(folder, seed):
            counts[kind, "whole"] += 1
            counts[kind, "false"] += decode_report(path).status != "ok"
            for keep in KEEP:
                counts[kind, "cut"] += 1
                report = decode_report(cut(path, keep, folder / f"cut{path.suffix}"))
                counts[kind, "cut found"] += report.status in ("partial", "refused")
                counts[kind, "prefix kept"] += report.status == "partial"
            for at in (0.2, 0.5, 0.8):
                for length in (1, 500, 4096):
                    counts[kind, "hole"] += 1
                    report = decode_report(punch(path, at, length, folder / f"hole{path.suffix}"))
                    counts[kind, "hole found"] += report.status in ("partial", "refused")
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    rows = [
        (
            kind,
            f"{counts[kind, 'cut found']} of {counts[kind, 'cut']}",
            counts[kind, "prefix kept"],
            f"{counts[kind, 'hole found']} of {counts[kind, 'hole']}",
            f"{counts[kind, 'false']} of {counts[kind, 'whole']}",
        )
        for kind in kinds
    ]
    head = ("format", "cut files found", "of these with the prefix kept", "holes found", "false alarms on whole files")
    places = ", ".join(f"{keep:.1%}" if keep < 1 else f"all but {keep} bytes" for keep in KEEP)
    return (
        f"## Made damage\n\n{table(head, rows)}\n\n"
        f"Cut to {places}; holes of 1, 500 and 4,096 bytes at 20, 50 and 80 %. "
        "A file cut so early that no sample comes out, and an M4A whose index lay at its end, is refused.\n"
    )


def false_alarms() -> str:
    rows = []
    for name in (
        "librosa_examples",
        "esc10",
        "philharmonia_notes",
        "sonic_pi_samples",
        "rendered_folk",
        "drum_machines",
    ):
        paths = [str(path) for path in sorted((DATA / name).rglob("*")) if path.suffix.lower() in SUFFIXES]
        with pool() as workers:
            reports = [outcome.value for outcome in workers.map(decode_report, paths)]
        alarms = sum(report.status not in ("ok", "short") for report in reports)
        rows.append((name, len(paths), sum(report.status == "short" for report in reports), alarms))
    return f"## False alarms on good files\n\n{table(('folder', 'files', 'short', 'false alarms'), rows)}\n"


def best(action: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return min(times) * 1000


def speed(folder: Path) -> str:
    rows = []
    for kind in ("MP3", "WAV", "FLAC", "OGG"):
        path = write(folder / f"speed.{kind.lower()}", tone(30.0), kind=kind)

        def bare(path: Path = path) -> object:
            return soundfile.read(path, dtype=np.float32)

        def reader(path: Path = path) -> None:
            with open_audio(path, hash_audio=False, verify_md5=False) as audio:
                for _ in audio.blocks():
                    pass

        def full(path: Path = path) -> object:
            return decode_report(path)

        rows.append((kind, *(f"{best(action):.1f}" for action in (bare, reader, full))))
    head = ("30 s stereo", "soundfile.read", "our reader", "with hash and FLAC MD5")
    return f"## Cost (best of 7, ms of CPU)\n\n{table(head, rows)}\n"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench_decode") as name:
        folder = Path(name)
        parts = [corpus(), bomb_table(folder), truncations(folder), false_alarms(), speed(folder)]
    text = (
        "Command: `OMP_NUM_THREADS=1 python tests/benchmarks/bench_decode.py`\n\n"
        f"Python {platform.python_version()}, soundfile {soundfile.__version__} with libsndfile "
        f"{soundfile.__libsndfile_version__}; "
        "workers with 512 MiB of memory, 20 s of CPU and 60 s of wall time per file.\n\n" + "\n".join(parts)
    )
    print(text)
    target = ROOT / "docs" / "quality" / "decoding.md"
    kept = target.read_text().split(MARK)[0]
    target.write_text(f"{kept}{MARK}\n\n{text}")


if __name__ == "__main__":
    main()
