"""Content generation: texts, covers and music that are true to the catalogue, marked, and can be made again.

Inhalte: Texte, Cover und Musik, die zum Katalog passen, gekennzeichnet sind und sich genau so wieder herstellen lassen.

Contenus : textes, pochettes et musiques fidèles au catalogue, marqués, et que l'on peut refaire à l'identique.
"""

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from ai_assets.content_generation import checks, schemas, training, training_sets
from ai_assets.content_generation.make import Desk, make_rows
from ai_assets.content_generation.on_demand import load_source, own_options
from ai_assets.content_generation.review_store import ReviewStore
from ai_assets.content_generation.reviewing import review_rows
from ai_assets.content_generation.subjects import Subject, materializations, playlist_subjects, track_subjects
from ai_assets.contract import Product, Table, platform_asset, reject
from ai_assets.model_training.training_run import PROMOTION, train
from resources.platform import Platform

GROUP = "content_generation"
COVERS = {"full": 24, "demo": 24, "tiny": 6}
TUNES = {"full": 8, "demo": 8, "tiny": 2}
COLUMNS = list(schemas.GeneratedItems.to_schema().columns)
GATES = [checks.GATE, checks.PAPERS, checks.DISTINCT]


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.TextTrainingSet, kinds=["deltalake"]
)
def text_training_set(platform: dg.ResourceParam[Platform]) -> Table:
    """Texts to learn from: the grammar's, and those that editors approved or changed (`ai-assets review approve`)."""
    approved = ReviewStore(platform.database, platform.audit).editor_texts()
    rows, refused = training_sets.text_rows(platform.settings.preset, approved)
    _reject("text_training_set", refused, "not_learnable")
    return Table(rows, metadata={"editors_texts": len(approved), "not_learnable": len(refused)})


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.CoverTrainingSet, kinds=["deltalake"],
    deps=["landing_covers"],
)  # fmt: skip
def cover_training_set(platform: dg.ResourceParam[Platform]) -> Table:
    """Scenes to learn from: the procedural artist's, or the user's own SVG covers when there are a hundred."""
    rows, refused = training_sets.cover_rows(platform.settings.preset, platform.home.landing_covers)
    _reject("cover_training_set", refused, "unusable_cover")
    return Table(rows, metadata={"own_covers": int((rows["origin"] != "artist").sum())})


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.MusicTrainingSet, kinds=["deltalake"],
    deps=["landing_scores"],
)  # fmt: skip
def music_training_set(platform: dg.ResourceParam[Platform]) -> Table:
    """Scores to learn from: MIDI, MusicXML and JSON in `landing/scores`, duplicates and unusable files named."""
    rows, refused = training_sets.music_rows(platform.home.landing_scores)
    _reject("music_training_set", refused, "unusable_score")
    return Table(rows, metadata={"left_out": len(refused)})


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION]
)
def text_generator(
    context: dg.AssetExecutionContext, text_training_set: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Writes descriptions in English, German and French within a grammar that allows only true, complete sentences."""
    rows, preset = text_training_set, platform.settings.preset
    return train(context, platform, "text_generator", lambda folder: training.fit_text(rows, preset, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION]
)
def cover_generator(
    context: dg.AssetExecutionContext, cover_training_set: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Draws covers as vector scenes: a rectified-flow transformer over shapes, led by genre, mood and energy."""
    rows, preset = cover_training_set, platform.settings.preset
    return train(context, platform, "cover_generator", lambda folder: training.fit_covers(rows, preset, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION]
)
def music_generator(
    context: dg.AssetExecutionContext, music_training_set: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Composes tunes over chords, bar by bar; learns from the scores in the landing folder."""
    rows, preset = music_training_set, platform.settings.preset
    return train(context, platform, "music_generator", lambda folder: training.fit_music(rows, preset, folder))


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["text_generator"], checks=GATES,
)  # fmt: skip
def track_descriptions(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """A short text per track in three languages, from validated facts only."""
    subjects, refused = track_subjects(tracks)
    _reject("track_descriptions", refused, "unusable_facts")
    return _texts(_items(platform, "text", "track-text", subjects, ["tracks"])[0])


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["text_generator"], checks=GATES, code_version="2",
)  # fmt: skip
def playlist_descriptions(playlists: pd.DataFrame, tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """A title and a short text per playlist in three languages; lists of single listeners share those of their kind."""
    subjects = playlist_subjects(playlists, tracks)
    return _texts(_items(platform, "text", "playlist-text", subjects, ["playlists", "tracks"])[0])


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["cover_generator"], checks=GATES,
)  # fmt: skip
def cover_art(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """Covers for the first tracks of the catalogue, as SVG and PNG, marked as generated."""
    subjects, refused = track_subjects(tracks, COVERS[platform.settings.preset])
    _reject("cover_art", refused, "unusable_facts")
    return _pictured(*_items(platform, "cover", "cover", subjects, ["tracks"]))


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["music_generator"], checks=GATES,
)  # fmt: skip
def generated_music(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """Tunes in the manner of the catalogue, as MIDI, audio and piano roll, marked as generated."""
    subjects, refused = track_subjects(tracks, TUNES[platform.settings.preset])
    _reject("generated_music", refused, "unusable_facts")
    return _pictured(*_items(platform, "music", "music", subjects, ["tracks"]))


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.ContentReview, kinds=["deltalake"],
    deps=["track_descriptions", "playlist_descriptions", "cover_art", "generated_music"], checks=[checks.DECIDED],
)  # fmt: skip
def content_review(platform: dg.ResourceParam[Platform]) -> Table:
    """Where every generated item stands, who decided so and why; what is published is what this table says."""
    rows = review_rows(platform)
    counts = rows.groupby(["modality", "state"]).size().rename("items").reset_index()
    return Table(rows, metadata={"states": counts})


def _items(
    platform: Platform, modality: str, kind: str, subjects: list[Subject], sources: list[str]
) -> tuple[pd.DataFrame, list[bytes]]:
    """Rows and pictures; none without subjects or before there is a model."""
    if platform.registry.champion(f"{modality}_generator") is None or not subjects:
        return pd.DataFrame(columns=COLUMNS), []
    source = load_source(platform, modality, materializations(platform.lake.ledger, sources))
    desk = Desk(ReviewStore(platform.database, platform.audit), platform.settings.review, platform.blobs)
    options = own_options(platform.settings, modality)
    rows, pictures = make_rows(modality, kind, subjects, source, desk, **options)
    return pd.DataFrame(rows, columns=COLUMNS), pictures


def _texts(rows: pd.DataFrame) -> Table:
    shown = rows.head(6)[["lang", "text"]]
    return Table(rows, metadata={"examples": shown, "marked": "generated by a model: trainedAlgorithmicMedia"})


def _pictured(rows: pd.DataFrame, pictures: Sequence[bytes]) -> Table:
    from ai_assets.content_generation.covers import contact_sheet

    return Table(rows, metadata={"contact_sheet": contact_sheet(pictures)} if pictures else {})


def _reject(table: str, refused: Sequence[tuple[str, str]], code: str) -> None:
    for source, reason in refused:
        reject(source, table=table, reason=reason, code=code)


ASSETS = [
    text_training_set, cover_training_set, music_training_set, text_generator, cover_generator, music_generator,
    track_descriptions, playlist_descriptions, cover_art, generated_music, content_review,
]  # fmt: skip
