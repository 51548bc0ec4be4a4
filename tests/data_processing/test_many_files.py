"""Ten thousand files dropped at once: batches of bounded size, nothing lost, nothing doubled."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from ai_assets.data_processing.batches import BATCH_FILES, AudioInbox
from ai_assets.home import prepare_home
from resources.settings import load_settings
from sensors.inputs import take_new_audio

COUNT = 10_000


def test_ten_thousand_files_at_once_are_each_in_one_batch(tmp_path: Path) -> None:
    platform = prepare_home(load_settings(home=tmp_path))
    for number in range(COUNT):
        path = platform.home.landing_audio / f"{number}.wav"
        path.write_bytes(b"x")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    instance = dg.DagsterInstance.ephemeral()
    requests = take_new_audio(instance, platform).run_requests or []
    inbox = AudioInbox(platform.database, platform.home.root)
    batches = [[row["path"] for row in inbox.files(request.partition_key or "")] for request in requests]
    assert sorted(path for batch in batches for path in batch) == sorted(f"{number}.wav" for number in range(COUNT))
    assert len(batches) == COUNT // BATCH_FILES and max(map(len, batches)) == BATCH_FILES
    again = take_new_audio(instance, platform).run_requests or []  # the tick was lost: the same runs, no new batch
    assert [request.run_key for request in again] == [request.run_key for request in requests]
