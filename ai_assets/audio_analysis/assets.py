"""Audio analysis: from files to features, findings, classes and embeddings, one decode per track.

Audioanalyse: aus Dateien werden Merkmale, Befunde, Klassen und Einbettungen, jede Datei wird nur einmal dekodiert.

Analyse audio : des fichiers aux descripteurs, anomalies, classes et plongements, avec un seul décodage par titre.
"""

import io
import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from ai_assets.audio_analysis import checks, plots, schemas
from ai_assets.audio_analysis.batch_pass import Job, analyse_files
from ai_assets.audio_analysis.batch_tables import build_tables, family_versions
from ai_assets.audio_analysis.external_columns import recordings_of, with_external
from ai_assets.audio_analysis.features import feature_matrix
from ai_assets.audio_status import ACCEPTED
from ai_assets.contract import Out, Product, Table, accept, platform_asset, platform_multi_asset, reject
from ai_assets.contract.progress import Progress, tell
from ai_assets.contract.validation import empty_frame
from ai_assets.data_processing.batches import root_folder, source_name, without_canary
from ai_assets.model_training.external_models import models_frame
from ai_assets.model_training.schemas import ExternalModels
from ai_assets.model_training.training_run import PROMOTION, train
from ai_assets.partitions import AUDIO_BATCHES
from resources.lake.tables import LakeTable
from resources.platform import Platform

GROUP = "audio_analysis"


@platform_multi_asset(
    group=GROUP,
    owner="machine-learning",
    partitions=AUDIO_BATCHES,
    kinds=["deltalake", "librosa"],
    outs={
        "audio_quality": Out(
            schemas.AudioQuality,
            "How reading each file ended: status, reason, format, lengths, defects measured in the signal.",
            checks=(checks.INVENTORY, checks.READABLE),
            code_version=family_versions("defects", "loudness"),
        ),
        "audio_features": Out(
            schemas.AudioFeatures,
            "The 518 features of every readable recording, as librosa defines them.",
            code_version=family_versions("features"),
        ),
        "audio_descriptors": Out(
            schemas.AudioDescriptors,
            "Tempo, key, loudness, onset rate, energy and danceability, each with its confidence.",
            checks=(checks.PLAUSIBLE_TEMPO,),
            code_version=family_versions("rhythm", "tonality", "loudness"),
        ),
        "audio_fingerprints": Out(
            schemas.AudioFingerprints,
            "What finds the same recording again in another format.",
            code_version=family_versions("fingerprint"),
        ),
        "log_mels": Out(
            schemas.LogMels,
            "Log-mel spectra for the neural embedding, as blobs.",
            code_version=family_versions("log_mel"),
        ),
    },
)
def audio_pass(
    context: dg.AssetExecutionContext, audio_manifest: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> dict[str, Table]:
    """One decode per file makes quality, features, descriptors, fingerprints and log-mels of a batch."""
    home, settings = platform.home, platform.settings
    jobs = [Job(str(root_folder(row.root, home.root)), row.path, row.file_hash) for row in audio_manifest.itertuples()]
    records = analyse_files(
        jobs,
        cache=home.cache,
        blobs=platform.blobs,
        workers=settings.workers,
        limits={"max_seconds": settings.max_audio_seconds, "max_file_bytes": settings.max_file_bytes},
        progress=lambda done, total, name: tell(Progress("audio_pass", "work", done, total, Path(name).name)),
    )
    tables = build_tables(audio_manifest, records)
    quality = tables["audio_quality"]
    for row in quality.itertuples():
        source = source_name(row.root, row.path)
        if row.status in ACCEPTED:
            accept(source, table="audio_quality")
        else:
            reject(source, table="audio_quality", reason=f"{row.status}: {row.reason}", code=f"audio_{row.status}")
    shown = {"by_status": quality["status"].value_counts().to_dict()} if len(quality) else {}
    pictures = _pictures(tables, platform)
    return {
        name: Table(
            frame,
            metadata=(shown if name == "audio_quality" else {}) | pictures.get(name, {}),
            verdicts={"inventory": checks.inventory(len(jobs), quality)} if name == "audio_quality" else {},
        )
        for name, frame in tables.items()
    }


def _pictures(tables: dict[str, pd.DataFrame], platform: Platform) -> dict[str, dict[str, Any]]:
    """Table to name to PNG: waveforms with findings, spectrograms and tempograms of a few files, chroma of all."""
    quality, mels = tables["audio_quality"], tables["log_mels"]
    few = mels.merge(quality[["audio_hash", "path"]].drop_duplicates("audio_hash"), on="audio_hash")
    few = few.head(plots.MOST_SPECTROGRAMS)
    arrays = {
        str(row.path): np.load(io.BytesIO(platform.blobs.get(row.blob)), allow_pickle=False)[: plots.MOST_FRAMES]
        for row in few.itertuples()
    }
    made = {
        "audio_quality": {"waveforms": plots.waveforms(quality)},
        "log_mels": {"spectrograms": plots.spectrograms(arrays)},
        "audio_descriptors": {"tempograms": plots.tempograms(arrays)},
        "audio_features": {"chroma": plots.chroma(tables["audio_features"])},
    }
    return {table: {name: data for name, data in each.items() if data} for table, each in made.items()}


# -- models ------------------------------------------------------------------------------------------------------


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "lightgbm"], checks=[PROMOTION]
)
def genre_classifier(
    context: dg.AssetExecutionContext,
    audio_features: pd.DataFrame,
    audio_manifest: pd.DataFrame,
    audio_quality: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> Product:
    """Recognises the genre from the features; learns from file tags, abstains when it is not sure."""
    from ai_assets.audio_analysis import genre_training

    data = genre_training.training_data(audio_features, audio_quality, audio_manifest)
    return train(context, platform, "genre_classifier", lambda folder: genre_training.fit_classifier(data, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "scikitlearn"], checks=[PROMOTION]
)
def track_embedder(
    context: dg.AssetExecutionContext,
    audio_features: pd.DataFrame,
    audio_manifest: pd.DataFrame,
    audio_quality: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> Product:
    """Maps the features of a recording to a unit vector, so that near vectors sound alike."""
    from ai_assets.audio_analysis import genre_training

    data = genre_training.training_data(audio_features, audio_quality, audio_manifest)
    return train(context, platform, "track_embedder", lambda folder: genre_training.fit_embedder(data, folder))


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "scikitlearn"], checks=[PROMOTION]
)
def outlier_detector(
    context: dg.AssetExecutionContext,
    audio_features: pd.DataFrame,
    audio_quality: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> Product:
    """Knows how the catalogue usually sounds, and which recording is far from it; its blind spots are documented."""
    from ai_assets.audio_analysis import genre_training

    heard = audio_features["audio_hash"].isin(without_canary(audio_quality)["audio_hash"])
    features = feature_matrix(audio_features[heard].drop_duplicates("audio_hash")["features"])
    return train(context, platform, "outlier_detector", lambda folder: genre_training.fit_outliers(features, folder))


# -- what the models say ------------------------------------------------------------------------------------------


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=ExternalModels, kinds=["deltalake"],
)  # fmt: skip
def external_models(platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """Trained models from elsewhere that were added by manifest; each fills columns of its own."""
    return models_frame(platform.registry)


@platform_asset(
    group=GROUP, owner="machine-learning", schema=schemas.TrackTags, partitions=AUDIO_BATCHES, kinds=["deltalake"],
    deps=["genre_classifier"], checks=[checks.ABSTENTION, checks.KNOWN_TO_ADDED],
)  # fmt: skip
def track_tags(
    audio_features: pd.DataFrame, audio_quality: LakeTable, log_mels: LakeTable,
    external_models: pd.DataFrame, platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:  # fmt: skip
    """The genre recognised in each recording with its probability, beside the classes of models from elsewhere."""
    from ai_assets.audio_analysis.genre_classifier import GenreClassifier

    champion = platform.registry.champion("genre_classifier")
    added = (external_models["output"] == "classes").any()
    rows = audio_features[["batch", "audio_hash"]]
    if audio_features.empty or (champion is None and not added):
        return empty_frame(schemas.TrackTags)
    if champion is None:
        tags = rows.assign(genre=None, probability=np.nan, best_guess=None, model=None)
    else:
        classifier = GenreClassifier.load(platform.registry.fetch("genre_classifier"))
        labels, probabilities = classifier.predict(feature_matrix(audio_features["features"]))
        best = [str(classifier.classes[place]) for place in probabilities.argmax(1)]
        tags = rows.assign(genre=labels, probability=probabilities.max(1), best_guess=best, model=champion.label)
    if added:
        recordings = recordings_of(audio_features, audio_quality.frame(), log_mels.frame())
        tags = with_external(tags, external_models, "classes", recordings, platform)
    return tags


@platform_asset(
    group=GROUP, owner="machine-learning", schema=schemas.AudioEmbeddings, partitions=AUDIO_BATCHES,
    kinds=["deltalake"], deps=["track_embedder"], checks=[checks.UNIT_VECTORS, checks.KNOWN_TO_ADDED],
)  # fmt: skip
def audio_embeddings(
    audio_features: pd.DataFrame, audio_quality: LakeTable, log_mels: LakeTable,
    external_models: pd.DataFrame, platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:  # fmt: skip
    """A unit vector per recording from the champion embedder, beside the vectors of models from elsewhere."""
    from ai_assets.audio_analysis.track_embedder import TrackEmbedder

    champion = platform.registry.champion("track_embedder")
    if champion is None or audio_features.empty:
        return empty_frame(schemas.AudioEmbeddings)
    embedder = TrackEmbedder.load(platform.registry.fetch("track_embedder"))
    vectors = embedder.embed(feature_matrix(audio_features["features"]))
    rows = audio_features[["batch", "audio_hash"]].assign(vector=list(vectors), model=champion.label)
    if (external_models["output"] == "embedding").any():
        recordings = recordings_of(audio_features, audio_quality.frame(), log_mels.frame())
        rows = with_external(rows, external_models, "embedding", recordings, platform)
    return rows


@platform_asset(
    group=GROUP, owner="machine-learning", schema=schemas.AudioAnomalies, partitions=AUDIO_BATCHES,
    kinds=["deltalake"], deps=["outlier_detector"], checks=[checks.FEW_ERRORS],
)  # fmt: skip
def audio_anomalies(
    audio_quality: pd.DataFrame, audio_features: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Table:
    """Findings of a batch: defects with their place and threshold, and recordings that are far from the catalogue."""
    places = audio_quality[["batch", "root", "path", "audio_hash"]]
    found: list[dict[str, Any]] = []
    for row in audio_quality.itertuples():
        own = {"batch": row.batch, "root": row.root, "path": row.path, "audio_hash": row.audio_hash, "model": "defects"}
        found += [own | finding for finding in json.loads(row.findings)]
    found += _outliers(audio_features, places, platform)
    columns = list(schemas.AudioAnomalies.to_schema().columns)
    frame = pd.DataFrame(found, columns=columns)
    kinds = frame["kind"].value_counts().to_dict() if len(frame) else {}
    return Table(frame, metadata={"by_kind": kinds})


def _outliers(features: pd.DataFrame, places: pd.DataFrame, platform: Platform) -> list[dict[str, Any]]:
    from ai_assets.audio_analysis.outlier_detector import OutlierDetector

    champion = platform.registry.champion("outlier_detector")
    if champion is None or features.empty:
        return []
    detector = OutlierDetector.load(platform.registry.fetch("outlier_detector"))
    rows = features.drop_duplicates("audio_hash")
    scores = detector.score(feature_matrix(rows["features"]))
    strange = dict(zip(rows["audio_hash"], scores.tolist(), strict=True))
    return [
        {
            "batch": place.batch,
            "root": place.root,
            "path": place.path,
            "audio_hash": place.audio_hash,
            "kind": "outlier",
            "severity": "info",
            "time": None,
            "value": strange[place.audio_hash],
            "threshold": float(detector.threshold),
            "suggested_action": "listen to it: it sounds unlike the rest of the catalogue",
            "model": champion.label,
        }
        for place in places.itertuples()
        if strange.get(place.audio_hash, -np.inf) > detector.threshold
    ]


ASSETS = [
    audio_pass, genre_classifier, track_embedder, outlier_detector, external_models, track_tags,
    audio_embeddings, audio_anomalies,
]  # fmt: skip
