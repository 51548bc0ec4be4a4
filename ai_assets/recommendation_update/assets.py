"""Recommendation update: indices, the ranking model, and lists for every listener from the champion models.

Empfehlungen: Indizes, das Rangfolgemodell und Listen für alle Hörer aus den besten Modellen.

Recommandation : les index, le modèle de classement et les listes de chaque auditeur, tirées des meilleurs modèles.
"""

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from ai_assets.contract import Product, Table, platform_asset
from ai_assets.data_processing.external_tracks import ExternalTracks, with_external
from ai_assets.model_training.training_run import PROMOTION, train
from ai_assets.recommendation_update import build, checks, evaluation_assets, index_updates, playlist_assets, schemas
from ai_assets.recommendation_update.candidates import FEATURES
from ai_assets.recommendation_update.current import CONTENT, delta_store, histories, open_snapshot
from ai_assets.recommendation_update.hubness import correction, measure
from ai_assets.recommendation_update.impressions import impressions
from ai_assets.recommendation_update.position_bias import learned_weights
from ai_assets.recommendation_update.quality import quality_rows
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.rank_training import train_ranker
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.serving_folder import write_generation
from resources.lake.tables import LakeTable
from resources.platform import Platform
from resources.vector_index import BuildRefused, Generation
from resources.vector_index import build as build_index
from resources.vector_index.delta import DeltaStore

GROUP = "recommendation_update"
LIST_LENGTH = 20


@platform_asset(
    group=GROUP,
    owner="machine-learning",
    policy="sensor_led",
    kinds=["annoy"],
    checks=[checks.INDEX_RECALL, checks.HUBNESS],
)
def content_index(
    tracks: pd.DataFrame, audio_embeddings: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Nearest neighbours in sound: an Annoy index over all tracks, its recall measured, and what changed beside it.

    New, changed and removed tracks go into the delta, which is searched exactly; the index is built anew when the
    delta has passed its bounds or the embedding has changed.
    """
    snapshot = publish_serving(tracks, audio_embeddings, platform.lake.table("listening_events"), platform)
    content, version = snapshot.sources.content, snapshot.embedding
    if content is None or version is None:
        return _no_index("no embeddings yet: they come with audio and a track embedder")
    heard = content.any(1)
    ids = snapshot.catalogue["track"][heard].astype(str)
    folder, store = platform.home.indices / CONTENT, delta_store(platform, content.shape[1], version)
    seen = int(snapshot.facts["delta_sequence"])
    try:
        made = index_updates.bring_up_to_date(folder, store, list(ids), content[heard], seen=seen)
    except BuildRefused as error:
        raise dg.Failure(f"index {CONTENT} was not swapped in: {error}", allow_retries=False) from None
    return _index_product(
        made.generation, ids, content[heard], {"delta_rows": made.delta_rows, "rebuilt": made.rebuilt}
    )


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["annoy"],
    deps=["collaborative_model", "item_update"], checks=[checks.INDEX_RECALL, checks.HUBNESS],
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
    try:
        generation = build_index(platform.home.indices / name, list(ids), vectors, model_version=model)
    except BuildRefused as error:
        raise dg.Failure(f"index {name} was not swapped in: {error}", allow_retries=False) from None
    return _index_product(generation, ids, vectors, {})


def _index_product(generation: Generation, ids: np.ndarray, vectors: np.ndarray, more: dict[str, Any]) -> Product:
    digest = hashlib.sha256(ids.astype(str).tobytes() + np.ascontiguousarray(vectors).tobytes()).hexdigest()
    facts = {key: generation.manifest[key] for key in ("count", "dim", "recall", "trees", "search_k", "model_version")}
    shown = {**facts, **more, "generation": generation.name}
    before, penalty = measure(vectors), correction(vectors)
    hubs = checks.hubs(before, measure(vectors, penalty) if penalty is not None else None)
    return Product(digest, metadata=shown, verdicts={"recall": checks.recall(facts), "hubness": hubs})


def _no_index(reason: str) -> Product:
    return Product(
        "0" * 64, metadata={"because": reason}, verdicts={name: checks.absent(reason) for name in ("recall", "hubness")}
    )


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RankingDataset, kinds=["deltalake"],
    code_version="4", checks=[checks.POSITIVES, checks.CANDIDATE_RECALL],
)  # fmt: skip
def ranking_dataset(
    interactions: pd.DataFrame,
    tracks: pd.DataFrame,
    audio_embeddings: pd.DataFrame,
    listening_events: LakeTable,
    platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:
    """What the ranking model learns from: candidates at two dates with features that know nothing later.

    Plays from lists that the platform showed are weighted by how seldom their place is looked at.
    """
    from ai_assets.model_training.listening import LEAST_LISTENERS, LEAST_ROWS

    columns = [*build.COLUMNS, *FEATURES]
    if len(interactions) < LEAST_ROWS or interactions["listener"].nunique() < LEAST_LISTENERS:
        return pd.DataFrame(columns=columns)
    shown = impressions(platform.database)
    weights = None
    if len(shown) and listening_events.exists:
        names = ["listener", "track", "list_id", "played_at", "skipped"]
        weights = learned_weights(shown, listening_events.arrow(names).to_pandas())
    return build.ranking_windows(interactions, tracks, build.content_matrix(audio_embeddings, tracks), weights)


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
    deps=["collaborative_model", "item_update", "ranking_model", "recommendation_rules"], checks=[checks.NO_REPEATS],
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
    known = histories(platform, snapshot)
    rows = build.recommend_all(snapshot, known, LIST_LENGTH)
    frame = pd.DataFrame(rows, columns=list(schemas.Recommendations.to_schema().columns))
    return Table(frame, metadata={"listeners": len(known), "generation": snapshot.name})


def publish_serving(
    tracks: pd.DataFrame, embeddings: pd.DataFrame, events: LakeTable, platform: Platform
) -> QuerySnapshot:
    """Write the serving generation of today's catalogue and champions."""
    registry, home = platform.registry, platform.home
    listening, ranker = registry.champion("collaborative_model"), registry.champion("ranking_model")
    # sequences are read before what they stand for: what comes in between is laid over the generation once more
    delta = DeltaStore(platform.database, CONTENT, dim=0, model_version="").last()
    external = ExternalTracks(platform.database).after()
    entered = with_external(tracks, external)
    content = build.content_matrix(embeddings, entered, external)
    folder = registry.fetch("collaborative_model") if listening is not None else None
    arrays, facts = build.serving_arrays(folder, entered, content)
    heard = events.arrow(["track"])["track"].to_pandas() if events.exists else pd.Series(dtype=object)
    catalogue = entered.assign(plays=build.play_counts(entered["track"].to_numpy(str), heard).astype("int64"))
    text = (registry.fetch("ranking_model") / "ranker.txt").read_text() if ranker is not None and listening else None
    rules = RuleStore(platform.database).current()
    facts |= {
        "models": {item.name: item.label for item in (listening, ranker) if item is not None},
        # a listener's own rules stay out of the folder: it is copied about, and they must be erasable
        "rules": [asdict(rule) for rule in rules if rule.listener is None],
        "embedding": build.embedding_version(embeddings, external),
        "external_sequence": max((row.sequence for row in external), default=-1),
        "delta_sequence": delta,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_generation(home.indices / "serving", catalogue, arrays, ranker=text, facts=facts)
    snapshot = open_snapshot(platform)
    assert snapshot is not None
    return snapshot


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RecommendationQuality,
    kinds=["deltalake"], checks=[checks.COVERAGE],
)  # fmt: skip
def recommendation_quality(
    recommendations: pd.DataFrame,
    tracks: pd.DataFrame,
    listeners: pd.DataFrame,
    interactions: pd.DataFrame,
    audio_embeddings: pd.DataFrame,
) -> pd.DataFrame:
    """Coverage, concentration, novelty and diversity of today's lists by group, beside popular tracks for all."""
    plays = build.play_counts(tracks["track"].to_numpy(str), interactions["track"], interactions["plays"])
    return quality_rows(recommendations, tracks, listeners, plays, build.content_matrix(audio_embeddings, tracks))


ASSETS = [
    content_index, collaborative_index, ranking_dataset, ranking_model, ranking_evaluation, recommendations,
    recommendation_quality, *evaluation_assets.ASSETS, *playlist_assets.ASSETS,
]  # fmt: skip
