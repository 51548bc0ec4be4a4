"""Many small files dropped at once: time, memory and batches of the intake. `python tests/benchmarks/bench_drop.py 10000`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from ai_assets.data_processing.batches import AudioInbox
from ai_assets.home import prepare_home
from resources.settings import load_settings
from sensors.inputs import take_new_audio


def measure(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds, growth of the process in MiB, batches, and files taken never or twice."""
    platform = prepare_home(load_settings(home=folder))
    for number in range(count):
        path = platform.home.landing_audio / f"{number % 100:02d}" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    instance = dg.DagsterInstance.ephemeral()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    requests = take_new_audio(instance, platform).run_requests or []
    spent = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    inbox = AudioInbox(platform.database, platform.home.root)
    taken = [row["path"] for request in requests for row in inbox.files(request.partition_key or "")]
    start = time.process_time()
    again = inbox.freeze("landing/audio", inbox.look("landing/audio", settle_seconds=0).ready)
    return {
        "files": count, "batches": len(requests), "lost": count - len(set(taken)), "doubled": len(taken) - len(set(taken)),
        "new batches of a second look": len(again), "CPU s": round(spent, 2), "MiB": round(grown, 1),
        "CPU s of a second look": round(time.process_time() - start, 2),
    }  # fmt: skip


def main() -> None:
    for count in [int(word) for word in sys.argv[1:]] or [1_000, 10_000]:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(count, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
