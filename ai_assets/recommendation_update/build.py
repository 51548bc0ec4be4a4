"""From tables and champion models to what answering needs, and to lists for everybody. Plain functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.external_tracks import ExternalTrack
from ai_assets.model_training.listening import Collaborative, first_plays, fit, listening_data
from ai_assets.model_training.splits import time_split
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.candidates import FEATURES, Sources
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.hubness import correction
from ai_assets.recommendation_update.query import QuerySnapshot, recommend

if TYPE_CHECKING:
    import pandas as pd

CANDIDATES = 150
COLUMNS = ("listener", "track", "window", "label", "relevant", "weight")
TRAIN_SHARE, TEST_SHARE = 0.4, 0.2


def content_matrix(
    embeddings: pd.DataFrame, tracks: pd.DataFrame, external: Sequence[ExternalTrack] = ()
) -> NDArray[np.float32] | None:
    """(tracks, dim) unit vectors in the order of the catalogue, zeros without sound; None where there are none at all.

    Args:
        external: tracks that other systems entered; a vector of theirs holds before that of the audio, where it is of
            the same version.
    """
    version = embedding_version(embeddings, external)
    if version is None:
        return None
    rows = embeddings[embeddings["model"] == version].drop_duplicates("audio_hash", keep="last")
    vectors = dict(zip(rows["audio_hash"], rows["vector"], strict=True))
    entered = {row.track: row.vector for row in external if row.vector is not None and row.embedding == version}
    dim = len(next(iter((*vectors.values(), *entered.values()))))
    matrix = np.zeros((len(tracks), dim), np.float32)
    for code, (track, audio) in enumerate(zip(tracks["track"], tracks["audio_hash"], strict=True)):
        vector = entered.get(track, vectors.get(audio))
        if vector is not None and len(vector) == dim:
            matrix[code] = vector
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def embedding_version(embeddings: pd.DataFrame, external: Sequence[ExternalTrack] = ()) -> str | None:
    """The version of the vectors in use: the audio's newest, else that of the first entered from outside."""
    if not embeddings.empty:
        return str(embeddings["model"].iloc[-1])
    return next((row.embedding for row in external if row.vector is not None), None)


def play_counts(tracks: NDArray[np.str_], heard: pd.Series, times: pd.Series | None = None) -> NDArray[np.float32]:
    """(tracks,) number of plays of each track: the one meaning of popularity, when training and when answering.

    Args:
        heard: track ids of events, or of rows of `interactions` with the number of their plays in `times`.
    """
    import pandas as pd

    weights = pd.Series(1, heard.index) if times is None else times
    counted = weights.groupby(heard).sum()
    return counted.reindex(tracks, fill_value=0).to_numpy(np.float32)


def sources_at(
    model: Collaborative,
    interactions: pd.DataFrame,
    until: float,
    catalogue: pd.DataFrame,
    content: NDArray[Any] | None,
) -> Sources:
    """Sources over the model's tracks, with plays as they were known at `until` (seconds since 1970)."""
    place = {track: code for code, track in enumerate(catalogue["track"])}
    rows = np.array([place.get(str(track), -1) for track in model.tracks])
    names = catalogue["artist"].to_numpy(object)
    artists = np.unique([str(names[row]) if row >= 0 else "" for row in rows], return_inverse=True)[1]
    sound = None
    if content is not None:
        sound = np.where((rows >= 0)[:, None], content[np.maximum(rows, 0)], 0.0).astype(np.float32)
    times = interactions["last_played_at"].to_numpy("datetime64[us]").astype("int64") / 1e6
    known = interactions[times <= until]
    plays = play_counts(model.tracks, known["track"], known["plays"])
    return Sources(plays=plays, artists=artists, tower=model.tower, ials=model.ials, content=sound)


def ranking_windows(
    interactions: pd.DataFrame,
    catalogue: pd.DataFrame,
    content: NDArray[Any] | None,
    weights: pd.Series | None = None,
) -> pd.DataFrame:
    """Rows of `ranking_dataset`: candidates at two dates, each from a retriever that knew nothing later.

    Args:
        weights: of plays by (listener, track), see `position_bias`; 1 for all others.
    """
    import pandas as pd

    data = listening_data(interactions)
    early, rest = time_split(data, TRAIN_SHARE)
    train_part, test_part = time_split(rest, TEST_SHARE / TRAIN_SHARE)
    until_test = data.take(data.times <= train_part.times.max(initial=early.times.max(initial=0.0)))
    frames = []
    for window, before, after in (("train", early, train_part), ("test", until_test, test_part)):
        if not len(before) or not len(after):
            continue
        model, _ = fit(before)
        sources = sources_at(model, interactions, float(before.times.max()), catalogue, content)
        labels = first_plays(before, after)
        later = {user: labels.items[labels.users == user] for user in np.unique(labels.users)}
        mask = np.ones(len(model.tracks), bool)
        for user, history in enumerate(before.histories()):
            if user in later and len(history):
                rows = ranking.training_rows(sources, str(data.user_ids[user]), history, later[user], mask, CANDIDATES)
                frames.append(rows.assign(window=window, track=model.tracks[rows["item"].to_numpy()]))
    columns = [*COLUMNS, *FEATURES]
    if not frames:
        return pd.DataFrame(columns=columns)
    rows = pd.concat(frames, ignore_index=True).assign(weight=1.0)
    if weights is not None and len(weights):
        own = weights.reindex(pd.MultiIndex.from_frame(rows[["listener", "track"]])).fillna(1.0).to_numpy()
        rows["weight"] = np.where(rows["label"] == 1, own, 1.0)
    return rows[columns]


def list_ndcg(rows: pd.DataFrame, scores: NDArray[np.float64], k: int = 10) -> NDArray[np.float64]:
    """(listeners,) NDCG@k of each listener's candidates ordered by `scores`.

    The ideal is over all of a listener's later first plays (`relevant`), also those that are no candidates.
    """
    values = []
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    for _, part in rows.assign(score=scores).groupby("listener", sort=False):
        order = np.argsort(-part["score"].to_numpy(), kind="stable")[:k]
        hits = part["label"].to_numpy()[order].astype(float)
        ideal = discount[: min(int(part["relevant"].iloc[0]), k)].sum()
        values.append(float((hits * discount[: len(hits)]).sum() / ideal) if ideal else np.nan)
    return np.array(values)


def candidate_recall(rows: pd.DataFrame) -> float:
    """Share of later first plays that are among the candidates: what no ranking can exceed; mean over listeners."""
    parts = rows.groupby("listener", sort=False).agg(found=("label", "sum"), relevant=("relevant", "first"))
    return float((parts["found"] / parts["relevant"]).mean()) if len(parts) else float("nan")


def retrieval_scores(rows: pd.DataFrame) -> NDArray[np.float64]:
    """The order of retrieval alone: reciprocal rank fusion of the two models on the full history."""
    fused = sum(1.0 / (60.0 + rows[name].fillna(1_000).to_numpy() + 1.0) for name in ("rank_tower", "rank_ials"))
    return np.asarray(fused, float)


def serving_arrays(
    model: Path | None, catalogue: pd.DataFrame, content: NDArray[np.float32] | None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays over the catalogue for a serving generation, and the facts its manifest needs."""
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    if content is not None:
        arrays["content"] = content
        if (hubs := correction(content)) is not None:
            arrays["hubs"] = hubs
    if model is not None:
        fitted = Collaborative.load(model)
        place = {str(track): code for code, track in enumerate(fitted.tracks)}
        rows = np.array([place.get(str(track), -1) for track in catalogue["track"]], int)
        known = (rows >= 0)[:, None]
        arrays["tower_inputs"] = np.where(known, fitted.tower.inputs[np.maximum(rows, 0)], 0.0).astype(np.float32)
        arrays["tower_outputs"] = np.where(known, fitted.tower.outputs[np.maximum(rows, 0)], 0.0).astype(np.float32)
        arrays["ials_items"] = np.where(known, fitted.ials.items[np.maximum(rows, 0)], 0.0).astype(np.float32)
        facts["ials_config"] = json.loads((model / "config.json").read_text())["ials"]
    return arrays, facts


def recommend_all(snapshot: QuerySnapshot, histories: Mapping[str, History], k: int) -> list[dict[str, Any]]:
    """Rows of `recommendations` for every listener."""
    rows = []
    titles, artists, tracks = (snapshot.catalogue[name] for name in ("title", "artist", "track"))
    for listener, history in histories.items():
        answers, _ = recommend(snapshot, history, k)
        rows += [
            {
                "listener": listener,
                "rank": place,
                "track": str(tracks[answer.item]),
                "title": str(titles[answer.item]),
                "artist": str(artists[answer.item]),
                "score": min(max(answer.score, 0.0), 1.0),
                "reasons": list(answer.reasons),
                "generation": snapshot.name,
            }
            for place, answer in enumerate(answers, start=1)
        ]
    return rows
