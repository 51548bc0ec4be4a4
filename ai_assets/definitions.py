"""The composition root: every asset, check, job, sensor, schedule and resource of one home, in one `Definitions`.

`workspace.yaml` loads `defs`. Tests call `build_definitions` with settings of their own or with other resources.
Nothing imports this module; `launch` and the sensors' code reach it at run time.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import dagster as dg

from ai_assets.automation import with_automation
from ai_assets.freshness import with_freshness
from resources.executors import step_executor
from resources.platform import Platform
from resources.settings import Settings, load_settings

FAMILIES = ("data_processing", "audio_analysis", "model_training", "recommendation_update", "content_generation")

GROUPS = {
    "landing": "What users and senders put there: files, scores and events.",
}

LANDING = [
    dg.AssetSpec(
        "landing_files",
        group_name="landing",
        description="Audio files in the landing folder and the registered roots; watched by the sensor `new_audio`.",
        kinds={"file"},
        owners=["team:data-engineering"],
    ),
    dg.AssetSpec(
        "landing_scores",
        group_name="landing",
        description="MIDI and MusicXML scores in `landing/scores`: what the music generator learns from.",
        kinds={"file"},
        owners=["team:data-engineering"],
    ),
    dg.AssetSpec(
        "landing_covers",
        group_name="landing",
        description="The user's own SVG covers in `landing/covers`: what the cover generator may learn from.",
        kinds={"file"},
        owners=["team:data-engineering"],
    ),
]


def family_assets() -> list[dg.AssetsDefinition]:
    """The assets of all families, in the order of the lineage."""
    return [asset for family in FAMILIES for asset in importlib.import_module(f"ai_assets.{family}.assets").ASSETS]


def build_definitions(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """Everything Dagster is to know.

    Args:
        settings: of the home; from the environment when not given.
        overrides: resources by name that replace the platform's own.
    """
    from ai_assets.jobs import JOBS
    from sensors import SCHEDULES, build_sensors

    platform = Platform(settings or load_settings())
    resources: Mapping[str, Any] = {**platform.resources(), "memory": dg.mem_io_manager, **overrides}
    return dg.Definitions(
        assets=[*LANDING, *with_freshness(with_automation(family_assets()))],
        resources=resources,
        jobs=JOBS,
        sensors=build_sensors(platform.settings),
        schedules=SCHEDULES,
        executor=step_executor(platform.settings),
    )


defs = build_definitions()
