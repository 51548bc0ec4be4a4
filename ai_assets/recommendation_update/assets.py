"""Recommendation update: indices, the ranking model, and lists for every listener from the champion models.

Empfehlungen: Indizes, das Rangfolgemodell und Listen für alle Hörer aus den besten Modellen.

Recommandation : les index, le modèle de classement et les listes de chaque auditeur, tirées des meilleurs modèles.
"""

import hashlib
from dataclasses import asdict

import dagster as dg
import numpy as np
import pandas as pd

from ai_assets.contract import Product, Table, platform_asset
from ai_assets.model_training.training_run import PROMOTION, train
from ai_assets.recommendation_update import build, checks, schemas
from ai_assets.recommendation_update.candidates import FEATURES
from ai_assets.recommendation_update.histories import all_histories
from ai_assets.recommendation_update.playlists import all_playlists
from ai_assets.recommendation_update.quality import quality_rows
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.rank_training import train_ranker
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.serving_folder import write_generation
from resources.lake.tables import LakeTable
from resources.platform import Platform
from resources.vector_index import BuildRefused
from resources.vector_index import build as build_index

GROUP = "recommendation_update"
LIST_LENGTH = 20


@platform_asset(
    group=GROUP, owner="machine-learning", policy="sensor_led", kinds=["annoy"], checks=[checks.INDEX_RECALL]
)
def content_index(
    tracks: pd.DataFrame, audio_embeddings: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Nearest neighbours in sound: an Annoy index over all tracks, its recall measured; new tracks can be asked for."""
    publish_serving(tracks, audio_embeddings, platform.lake.table("listening_events"), platform)
    content = build.content_matrix(audio_embeddings, tracks)
    if content is None:
        return _no_index("no embeddings yet: they come with audio and a track embedder")
    rows = content.any(1)
    model = str(audio_embeddings["model"].iloc[-1])
    return _index(platform, "content", tracks["track"].to_numpy(str)[rows], content[rows], model)


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["annoy"], deps=["collaborative_model"],
    checks=[checks.INDEX_RECALL],
)  # fmt: skip
def collaborative_index(platform: dg.ResourceParam[Platform]) -> Product:
    """Nearest neighbours in listening: an Annoy index over the item vectors of the champion model."""
    from ai_assets.model_training.listening import Collaborative

    champion = platform.registry.champion("collaborative_model")
    if champion is None:
        return _no_index("no collaborative model yet: it comes with listening events")
    model = Collaborative.load(platform.registry.fetch("collaborative_model"))
    return _index(platform, "collaborative", model.tracks, model.tower.outputs, champion.label)


def _index(platform: Platform, name: str, ids: np.ndarray, vectors: np.ndarray, model: str) -> Product:
    digest = hashlib.sha256(ids.astype(str).tobytes() + np.ascontiguousarray(vectors).tobytes()).hexdigest()
    try:
        generation = build_index(platform.home.indices / name, list(ids), vectors, model_version=model)
    except BuildRefused as error:
        raise dg.Failure(f"index {name} was not swapped in: {error}", allow_retries=False) from None
    facts = {key: generation.manifest[key] for key in ("count", "dim", "recall", "trees", "search_k", "model_version")}
    return Product(digest, metadata={**facts, "generation": generation.name}, verdicts={"recall": checks.recall(facts)})


def _no_index(reason: str) -> Product:
    return Product("0" * 64, metadata={"because": reason}, verdicts={"recall": checks.absent(reason)})


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RankingDataset, kinds=["deltalake"],
    code_version="2", checks=[checks.POSITIVES],
)  # fmt: skip
def ranking_dataset(interactions: pd.DataFrame, tracks: pd.DataFrame, audio_embeddings: pd.DataFrame) -> pd.DataFrame:
    """What the ranking model learns from: candidates at two dates with features that know nothing later."""
    from ai_assets.model_training.listening import LEAST_LISTENERS, LEAST_ROWS

    columns = [*build.COLUMNS, *FEATURES]
    if len(interactions) < LEAST_ROWS or interactions["listener"].nunique() < LEAST_LISTENERS:
        return pd.DataFrame(columns=columns)
    return build.ranking_windows(interactions, tracks, build.content_matrix(audio_embeddings, tracks))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "lightgbm"], checks=[PROMOTION]
)
def ranking_model(
    context: dg.AssetExecutionContext, ranking_dataset: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Orders candidates: LambdaRank on rank features of the full, the last 20 and the last 5 plays."""
    return train(context, platform, "ranking_model", lambda folder: train_ranker(ranking_dataset, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RecommendationQuality,
    kinds=["deltalake"], deps=["ranking_model"], checks=[checks.BEATS_RETRIEVAL],
)  # fmt: skip
def ranking_evaluation(ranking_dataset: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> Table:
    """Is the ranking model better than retrieval alone, on days that neither has seen? With its confidence interval."""
    from ai_assets.recommendation_update.rank_training import evaluate_champion

    return evaluate_champion(ranking_dataset, platform)


@platform_asset(
    group=GROUP, owner="backend", schema=schemas.Recommendations, kinds=["deltalake"],
    deps=["collaborative_model", "ranking_model"], checks=[checks.NO_REPEATS],
)  # fmt: skip
def recommendations(
    context: dg.AssetExecutionContext,
    tracks: pd.DataFrame,
    audio_embeddings: pd.DataFrame,
    listening_events: LakeTable,
    platform: dg.ResourceParam[Platform],
) -> Table:
    """The best unheard tracks for every listener, with reasons; makes the serving generation that all surfaces ask."""
    snapshot = publish_serving(tracks, audio_embeddings, listening_events, platform)
    histories = all_histories(listening_events, snapshot.codes)
    rows = build.recommend_all(snapshot, histories, LIST_LENGTH)
    frame = pd.DataFrame(rows, columns=list(schemas.Recommendations.to_schema().columns))
    return Table(frame, metadata={"listeners": len(histories), "generation": snapshot.name})


def publish_serving(
    tracks: pd.DataFrame, embeddings: pd.DataFrame, events: LakeTable, platform: Platform
) -> QuerySnapshot:
    """Write the serving generation of today's catalogue and champions."""
    registry = platform.registry
    listening, ranker = registry.champion("collaborative_model"), registry.champion("ranking_model")
    content = build.content_matrix(embeddings, tracks)
    folder = registry.fetch("collaborative_model") if listening is not None else None
    arrays, facts = build.serving_arrays(folder, tracks, content)
    heard = events.arrow(["track"])["track"].to_pandas() if events.exists else pd.Series(dtype=object)
    catalogue = tracks.assign(plays=build.play_counts(tracks["track"].to_numpy(str), heard).astype("int64"))
    text = (registry.fetch("ranking_model") / "ranker.txt").read_text() if ranker is not None and listening else None
    models = {item.name: item.label for item in (listening, ranker) if item is not None}
    serving = platform.home.indices / "serving"
    rules = RuleStore(platform.database).current()
    # a listener's own rules stay out of the folder: it is copied about, and they must be erasable
    common = [asdict(rule) for rule in rules if rule.listener is None]
    write_generation(serving, catalogue, arrays, ranker=text, facts={**facts, "models": models, "rules": common})
    snapshot = QuerySnapshot.load(serving, rules)
    assert snapshot is not None
    return snapshot


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.Playlists, kinds=["deltalake"],
    deps=["recommendations"], checks=[checks.PLAYLIST_LENGTH],
)  # fmt: skip
def playlists(listening_events: LakeTable, platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """Familiar tracks and discoveries for every listener, and mixes by genre for all, each with its reason."""
    snapshot = QuerySnapshot.load(platform.home.indices / "serving", RuleStore(platform.database).current())
    columns = list(schemas.Playlists.to_schema().columns)
    if snapshot is None:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame(all_playlists(snapshot, all_histories(listening_events, snapshot.codes)), columns=columns)


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RecommendationQuality,
    kinds=["deltalake"], checks=[checks.COVERAGE],
)  # fmt: skip
def recommendation_quality(
    recommendations: pd.DataFrame, tracks: pd.DataFrame, listeners: pd.DataFrame
) -> pd.DataFrame:
    """Coverage, concentration and novelty of today's lists, by activity group, beside popular tracks for everybody."""
    return quality_rows(recommendations, tracks, listeners)


ASSETS = [
    content_index, collaborative_index, ranking_dataset, ranking_model, ranking_evaluation, recommendations, playlists,
    recommendation_quality,
]  # fmt: skip
