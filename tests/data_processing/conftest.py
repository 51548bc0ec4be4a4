"""Fixtures of the data-processing tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_home import make_platform

from ai_assets.data_processing.event_inbox import EventInbox
from resources.platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return make_platform(tmp_path / "home")


@pytest.fixture
def inbox(platform: Platform) -> EventInbox:
    return EventInbox(platform)
