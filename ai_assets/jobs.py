"""The jobs people launch, backfill and schedule. Selections only; what is made stands in the families."""

from dataclasses import asdict
from typing import Any

import dagster as dg

from ai_assets.partitions import AUDIO_BATCHES, EVENT_DAYS
from resources.platform import Platform

RETRAIN = {"ai_assets/purpose": "retrain"}
"""One such run at a time, whoever started it: `tag_concurrency_limits` in `resources/instance/*.yaml`."""
REASON = "ai_assets/reason"

audio_batches_job = dg.define_asset_job(
    "audio_batches_job",
    selection=dg.AssetSelection.tag("partitioned", "batch"),
    partitions_def=AUDIO_BATCHES.definition,
    description="All that is kept per audio batch: features, findings, classes, embeddings. The one to backfill.",
)

event_days_job = dg.define_asset_job(
    "event_days_job",
    selection=dg.AssetSelection.tag("partitioned", "day"),
    partitions_def=EVENT_DAYS.definition,
    description="Events and interactions of a UTC day, rebuilt from the raw rows. The one to backfill.",
)

catalogue_job = dg.define_asset_job(
    "catalogue_job",
    selection=dg.AssetSelection.assets("track_identities", "tracks", "tracks_history", "content_index"),
    description="Identities, catalogue and content index: what makes a new track known and found.",
)

models_job = dg.define_asset_job(
    "models_job",
    selection=dg.AssetSelection.tag("role", "model"),
    tags=RETRAIN,
    description="Train, evaluate and register every model; each is promoted only when it is better.",
)

item_update_job = dg.define_asset_job(
    "item_update_job",
    selection=dg.AssetSelection.assets("item_update"),
    description="Fold the newest plays into the listening model's items; kept only when better on later plays.",
)

recommendations_job = dg.define_asset_job(
    "recommendations_job",
    selection=dg.AssetSelection.groups("recommendation_update") - dg.AssetSelection.tag("role", "model"),
    description="Indices, recommendations and playlists from the champion models.",
)

content_job = dg.define_asset_job(
    "content_job",
    selection=dg.AssetSelection.groups("content_generation") - dg.AssetSelection.tag("role", "model"),
    description="Texts, covers and music for tracks and playlists that have none yet.",
)

quality_job = dg.define_asset_job(
    "quality_job",
    selection=dg.AssetSelection.assets(
        "listener_features", "track_features", "listening_splits", "listening_drift", "data_quality", "inventory"
    ),
    description="Features as known before each day, the split of the days, drift, and whether the tables agree.",
)

ingest_job = dg.define_asset_job(
    "ingest_events",
    selection=dg.AssetSelection.assets("raw_events"),
    description="Read what is new in the event files.",
)


class AnalyzeAudio(dg.Config):
    """Which file, and which version of the classifier (`latest` = the champion)."""

    audio_path: str
    model_version: str = "latest"


@dg.op(
    name="analyze_one_file",
    description="One file through a limited worker and the champion models; stores nothing.",
    out=dg.Out(io_manager_key="memory"),
)
def analyze_audio_op(config: AnalyzeAudio, platform: dg.ResourceParam[Platform]) -> dict[str, Any]:
    from ai_assets.audio_analysis.single import analyse_one

    return analyse_one(platform, config.audio_path, config.model_version)


@dg.job(
    name="analyze_audio",
    description="Analyse one file without adding it to the catalogue.",
    executor_def=dg.in_process_executor,  # its answer stays in the process that asked
)
def analyze_audio() -> None:
    analyze_audio_op()


class GenerateContent(dg.Config):
    """What to generate: `text`, `cover` or `music`, from facts as JSON, in a language; or with a pretrained model."""

    modality: str
    facts: str
    lang: str = "en"
    pretrained: bool = False
    prompt: str = ""


@dg.op(
    name="generate_one_item", description="One item from facts by the champion.", out=dg.Out(io_manager_key="memory")
)
def generate_content_op(config: GenerateContent, platform: dg.ResourceParam[Platform]) -> dict[str, Any]:
    from ai_assets.content_generation.on_demand import generate_items, read_facts

    out = platform.home.root / "generated"
    return generate_items(
        platform, config.modality, read_facts(config.facts), lang=config.lang, out=out, pretrained=config.pretrained,
        prompt=config.prompt or None,
    )[0]  # fmt: skip


@dg.job(
    name="generate_content",
    description="Generate one item on demand, from given facts.",
    executor_def=dg.in_process_executor,
)
def generate_content() -> None:
    generate_content_op()


class Maintenance(dg.Config):
    """Whether anything is done, and how long runs and logs are kept at least."""

    apply: bool = True
    keep_days: int = 30


@dg.op(
    name="maintain_home",
    description="Merge small files; remove old versions of tables, old runs, logs and impressions.",
    out=dg.Out(io_manager_key="memory"),
)
def maintain_op(
    context: dg.OpExecutionContext, config: Maintenance, platform: dg.ResourceParam[Platform]
) -> dict[str, Any]:
    from ai_assets.maintenance import maintain

    report = asdict(maintain(platform, context.instance, apply=config.apply, keep_days=config.keep_days))
    context.add_output_metadata({name: str(value) for name, value in report.items()})
    return report


@dg.job(name="maintenance_job", description="Look after the home: never the latest run of a partition.")
def maintenance_job() -> None:
    maintain_op()


JOBS: list[Any] = [
    audio_batches_job,
    event_days_job,
    catalogue_job,
    models_job,
    item_update_job,
    recommendations_job,
    content_job,
    quality_job,
    ingest_job,
    analyze_audio,
    maintenance_job,
    generate_content,
]
