"""Content generation: texts, covers and music that are true to the catalogue, marked, and can be made again.

Inhalte: Texte, Cover und Musik, die zum Katalog passen, gekennzeichnet sind und sich genau so wieder herstellen lassen.

Contenus : textes, pochettes et musiques fidèles au catalogue, marqués, et que l'on peut refaire à l'identique.
"""

from pathlib import Path

import dagster as dg
import pandas as pd

from ai_assets.content_generation import checks, schemas, training
from ai_assets.content_generation.make_media import cover_rows, music_rows
from ai_assets.content_generation.make_texts import text_rows
from ai_assets.content_generation.provenance import folder_digests
from ai_assets.content_generation.review_store import ReviewStore
from ai_assets.content_generation.subjects import playlist_subjects, track_subjects
from ai_assets.contract import Product, Table, platform_asset
from ai_assets.model_training.training_run import PROMOTION, train
from resources.platform import Platform

GROUP = "content_generation"
COVERS = {"full": 24, "demo": 24, "tiny": 6}
TUNES = {"full": 8, "demo": 8, "tiny": 2}
COLUMNS = list(schemas.GeneratedItems.to_schema().columns)


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION]
)
def text_generator(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Product:
    """Writes descriptions in English, German and French within a grammar that allows only true, complete sentences."""
    preset = platform.settings.preset
    return train(context, platform, "text_generator", lambda folder: training.fit_text(preset, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION]
)
def cover_generator(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Product:
    """Draws covers as vector scenes: a rectified-flow transformer over shapes, led by genre, mood and energy."""
    preset = platform.settings.preset
    return train(context, platform, "cover_generator", lambda folder: training.fit_covers(preset, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], deps=["landing_scores"],
    checks=[PROMOTION],
)  # fmt: skip
def music_generator(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Product:
    """Composes tunes over chords, bar by bar; learns from the scores in the landing folder."""
    preset, scores = platform.settings.preset, platform.home.landing_scores
    return train(context, platform, "music_generator", lambda folder: training.fit_music(scores, preset, folder))


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["text_generator"], checks=[checks.GATE, checks.DISTINCT],
)  # fmt: skip
def track_descriptions(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """A short text per track in three languages, from validated facts only."""
    return _texts(platform, "track", track_subjects(tracks), ["tracks"])


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["text_generator"], checks=[checks.GATE],
)  # fmt: skip
def playlist_descriptions(playlists: pd.DataFrame, tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """A short text per shared playlist in three languages."""
    return _texts(platform, "playlist", playlist_subjects(playlists, tracks), ["playlists", "tracks"])


def _texts(platform: Platform, kind: str, subjects: list, sources: list[str]) -> Table:
    from ai_assets.content_generation.text.decode import TextGenerator

    champion = platform.registry.champion("text_generator")
    if champion is None or not subjects:
        return Table(pd.DataFrame(columns=COLUMNS))
    folder = platform.registry.fetch("text_generator")
    rows = text_rows(
        subjects,
        TextGenerator.load(folder),
        kind=kind,
        model=champion.label,
        digests=folder_digests(folder),
        sources=_sources(platform, sources),
        reviews=ReviewStore(platform.database),
        policy=platform.settings.review,
    )
    examples = pd.DataFrame([{"language": row["lang"], "text": row["text"]} for row in rows[:6]])
    return Table(
        pd.DataFrame(rows, columns=COLUMNS), metadata={"examples": examples, "generated": "by a model, marked"}
    )


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["cover_generator"], checks=[checks.GATE, checks.DISTINCT],
)  # fmt: skip
def cover_art(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """Covers for the first tracks of the catalogue, as SVG and PNG, marked as generated."""
    from ai_assets.content_generation.covers import CoverGenerator, contact_sheet

    champion = platform.registry.champion("cover_generator")
    subjects = track_subjects(tracks, COVERS[platform.settings.preset])
    if champion is None or not subjects:
        return Table(pd.DataFrame(columns=COLUMNS))
    folder = platform.registry.fetch("cover_generator")
    rows, pictures = cover_rows(subjects, CoverGenerator.load(folder), _papers(platform, champion.label, folder))
    return Table(pd.DataFrame(rows, columns=COLUMNS), metadata={"contact_sheet": contact_sheet(pictures)})


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.GeneratedItems, kinds=["deltalake"],
    deps=["music_generator"], checks=[checks.GATE, checks.DISTINCT],
)  # fmt: skip
def generated_music(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """Tunes in the manner of the catalogue, as MIDI, audio and piano roll, marked as generated."""
    from ai_assets.content_generation.music import MusicGenerator

    champion = platform.registry.champion("music_generator")
    subjects = track_subjects(tracks, TUNES[platform.settings.preset])
    if champion is None or not subjects:
        return Table(pd.DataFrame(columns=COLUMNS))
    folder = platform.registry.fetch("music_generator")
    rows, picture = music_rows(subjects, MusicGenerator.load(folder), _papers(platform, champion.label, folder))
    return Table(pd.DataFrame(rows, columns=COLUMNS), metadata={"piano_roll": picture} if picture else {})


def _papers(platform: Platform, model: str, folder: Path) -> training.Papers:
    return training.Papers(
        model, folder_digests(folder), _sources(platform, ["tracks"]), ReviewStore(platform.database),
        platform.settings.review, platform.blobs,
    )  # fmt: skip


def _sources(platform: Platform, names: list[str]) -> dict[str, str]:
    entries = {name: platform.lake.ledger.entry(name) for name in names}
    return {name: entry.content_hash for name, entry in entries.items() if entry is not None}


ASSETS = [
    text_generator, cover_generator, music_generator, track_descriptions, playlist_descriptions, cover_art,
    generated_music,
]  # fmt: skip
