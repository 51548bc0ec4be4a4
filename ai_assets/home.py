"""Making a home ready: folders, keys, databases and the Dagster instance, once, before any process shares them."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from resources.platform import Platform
from resources.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

TABLE_MODULES = (
    "ai_assets.data_processing.batches",
    "ai_assets.data_processing.event_inbox",
    "ai_assets.data_processing.raw_store",
    "ai_assets.data_processing.unresolved",
    "ai_assets.data_processing.external_tracks",
    "ai_assets.contract.tasks",
    "ai_assets.content_generation.items",
    "ai_assets.content_generation.review_store",
    "ai_assets.recommendation_update.rule_store",
    "ai_assets.recommendation_update.wishes",
    "ai_assets.recommendation_update.experiments",
    "resources.erasures",
    "resources.event_stream",
    "resources.quarantine",
    "resources.lake.ledger",
    "resources.lake.fence",
    "resources.run_leases",
    "resources.alerts",
    "resources.alert_senders",
    "resources.task_counts",
    "resources.vector_index.delta",
    "ai_assets.model_training.tuning",
    "ai_assets.canary",
    "ai_assets.model_training.retraining",
)


def prepare_home(settings: Settings) -> Platform:
    """Make everything a home needs; quick when it is there already.

    Raises OSError (naming the folder) where the home cannot be written.
    """
    platform = Platform(settings)
    home = platform.home
    home.make()
    for module in TABLE_MODULES:
        importlib.import_module(module)
    platform.database.prepare()
    platform.pseudonyms.prepare()
    with FileLock(home.locks / "instance.lock", timeout=120):
        target = home.dagster / "dagster.yaml"
        if not target.exists():
            name = "local.yaml" if platform.database.is_sqlite else "team.yaml"
            template = Path(__file__).parents[1] / "resources" / "instance" / name
            target.write_text(template.read_text())
        if not (home.dagster / "history" / "runs.db").exists() or not platform.database.is_sqlite:
            with open_instance(platform) as instance:
                instance.get_runs(limit=1)
                instance.get_dynamic_partitions("audio_batches")
    if not is_prepared(settings):
        (home.locks / "prepared").write_text(_stamp())
    return platform


def is_prepared(settings: Settings) -> bool:
    """Whether this release has made the home ready; not so for one that an older release made."""
    file = settings.places.locks / "prepared"
    return file.is_file() and file.read_text() == _stamp()


def _stamp() -> str:
    """Changes with the release and with the modules that own tables: a home with an older one lacks some."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        release = version("music-ai-assets")
    except PackageNotFoundError:
        release = "source"
    return hashlib.sha256("\n".join((release, *TABLE_MODULES)).encode()).hexdigest()[:16]


def open_instance(platform: Platform) -> dg.DagsterInstance:
    """The home's Dagster instance; a context manager."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(platform.home.dagster)
    os.environ["AI_ASSETS_HOME"] = str(platform.home.root)
    return dg.DagsterInstance.from_config(str(platform.home.dagster))
