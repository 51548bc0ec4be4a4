"""A small home for the tests of data processing, without a Dagster instance."""

from __future__ import annotations

import importlib
from pathlib import Path

from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.home import TABLE_MODULES
from resources.platform import Platform
from resources.settings import load_settings


def make_platform(root: Path) -> Platform:
    platform = Platform(load_settings(home=root))
    platform.home.make()
    for module in TABLE_MODULES:
        importlib.import_module(module)
    platform.database.prepare()
    platform.pseudonyms.prepare()
    return platform


def inbox_of(root: Path) -> EventInbox:
    return EventInbox(make_platform(root))
