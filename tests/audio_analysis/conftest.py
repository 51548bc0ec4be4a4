"""Fixtures of the audio tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public test data; its tests skip without it."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("AI_ASSETS_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no public test data at {folder}; set AI_ASSETS_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def odd_audio(public_data: Path) -> Path:
    """348 odd, damaged and exotic audio files."""
    return public_data / "odd_audio"
