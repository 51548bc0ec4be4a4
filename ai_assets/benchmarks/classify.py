"""`benchmark classify`: our classifiers and embeddings on any labelled folder of sounds, under an honest split.

Belongs here: the protocol and its figures. Does not belong here: the models.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis import cnn
from ai_assets.audio_analysis.feature_models import MODELS
from ai_assets.audio_analysis.folds import FOLDS, grouped_folds, random_folds
from ai_assets.audio_analysis.genre_classifier import better, cross_validated, macro_f1
from ai_assets.audio_analysis.track_embedder import fit as fit_embedder
from ai_assets.audio_analysis.track_embedder import retrieval_precision
from ai_assets.benchmarks.labelled_audio import LabelledAudio, Progress, TableError, analysed, read_table

DEPTHS = (1, 10)
LINEAR = "linear_embedding"
_COLUMNS = ("path", "label")
Labels = NDArray[np.str_]


def classify(
    table: Path,
    *,
    test: Path | None = None,
    with_cnn: bool = True,
    workers: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and score the classifiers and embeddings on a labelled folder.

    Parameters
    ----------
    table, test : CSV with columns `path` (relative to the table), `label` and optionally `group` and `fold`. With a
        test table everything is trained on `table` and scored on `test`. Otherwise each fold is scored by what was
        trained on the others: the column `fold`, else five folds that keep each `group` together.
    with_cnn : train the convolutional network too (minutes on one core).
    workers : processes that analyse. progress : called with done, total, path.

    Returns
    -------
    {"models", "linear_embedding", "protocol", "served", "random_split", "files", "left_out"}. models: lightgbm, lda,
    cnn and majority with accuracy and macro_f1 over all scored files. cnn and linear_embedding (the default embedding)
    have p_at_1 and p_at_10: the share of a scored file's nearest training files, by cosine, that carry its label.
    `served` is the better of lightgbm and lda by cross-validation on `table` alone. `random_split` holds what a random
    split would claim; empty where the split is random anyway.

    Raises
    ------
    TableError : a table that cannot be used.
    """
    frame = read_table(table, needs=_COLUMNS)
    asked = None if test is None else read_table(test, needs=_COLUMNS)
    train = analysed(frame, table.parent, log_mels=with_cnn, workers=workers, progress=progress)
    labels = train.rows["label"].to_numpy(str)
    names, y = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise TableError(f"{table}: at least two labels are needed, there is {', '.join(names)}")
    folds, protocol = _folds(train, y, table, seed)
    found = cross_validated(train.X, y, folds, classes=len(names), seed=seed)
    served = better(found, y)
    left_out = dict(train.left_out)
    if test is not None and asked is not None:
        queries = analysed(asked, test.parent, log_mels=with_cnn, workers=workers, progress=progress)
        left_out |= queries.left_out
        models = _tested(train, queries, names, y, with_cnn=with_cnn, seed=seed)
        protocol, scored = "trained on the first table, scored on the test table", len(queries.rows)
    else:
        models = _cross_validated(train, names, y, folds, found, with_cnn=with_cnn, seed=seed)
        scored = len(train.rows)
    leaky: dict[str, Any] = {}
    if test is None and "random" not in protocol:
        claimed = cross_validated(train.X, y, random_folds(y, seed=seed), classes=len(names), seed=seed)
        leaky = {name: {"accuracy": float((each.argmax(1) == y).mean())} for name, each in claimed.items()}
    return {
        "models": {name: models[name] for name in models if name != LINEAR},
        "linear_embedding": models[LINEAR],
        "protocol": protocol,
        "served": served,
        "random_split": leaky,
        "files": {"trained": len(train.rows), "scored": scored},
        "left_out": left_out,
    }


def _folds(train: LabelledAudio, y: NDArray[np.int64], table: Path, seed: int) -> tuple[NDArray[np.int64], str]:
    """Fold numbers, and the protocol in words."""
    if "fold" in train.rows:
        values, folds = np.unique(train.rows["fold"].to_numpy(str), return_inverse=True)
        if len(values) < 2:
            raise TableError(f"{table}: column fold has one value only; at least two folds are needed")
        return folds, f"leave one fold out, column fold ({len(values)} folds)"
    if "group" in train.rows:
        try:
            folds = grouped_folds(y, train.rows["group"].to_numpy(str), seed=seed)
        except ValueError as error:
            raise TableError(f"{table}: column group: {error}") from error
        return folds, f"grouped {len(np.unique(folds))}-fold, column group"
    return random_folds(y, seed=seed), f"random {FOLDS}-fold: no column group or fold, files of one source may leak"


def _cross_validated(
    train: LabelledAudio,
    names: Labels,
    y: NDArray[np.int64],
    folds: NDArray[np.int64],
    found: dict[str, NDArray[np.float64]],
    *,
    with_cnn: bool,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Scores by model, every file scored by what was trained without its fold."""
    truth = names[y]
    guesses: dict[str, Labels] = {name: names[each.argmax(1)] for name, each in found.items()}
    guesses["majority"] = np.empty_like(truth)
    if with_cnn:
        guesses["cnn"] = np.empty_like(truth)
    precision: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    for fold in np.unique(folds):
        held_out = folds == fold
        part, rest = np.flatnonzero(held_out), np.flatnonzero(~held_out)
        guesses["majority"][part] = _majority(truth[rest])
        answers = _embeddings(_taken(train, rest), truth[rest], _taken(train, part), truth[part], with_cnn, seed)
        if with_cnn:
            guesses["cnn"][part] = answers.guesses
        for name, each in answers.precision.items():
            precision.setdefault(name, []).append(each)
    return _table(truth, guesses, {name: _joined(each) for name, each in precision.items()})


def _tested(
    train: LabelledAudio, queries: LabelledAudio, names: Labels, y: NDArray[np.int64], *, with_cnn: bool, seed: int
) -> dict[str, dict[str, float]]:
    """Scores by model, trained on one table and scored on the other."""
    truth, labels = queries.rows["label"].to_numpy(str), names[y]
    guesses: dict[str, Labels] = {}
    for name, kind in MODELS.items():
        model = kind.fit(train.X, y, classes=len(names), seed=seed)
        guesses[name] = names[model.probabilities(queries.X).argmax(1)]
    guesses["majority"] = np.full(len(truth), _majority(labels))
    answers = _embeddings(train, labels, queries, truth, with_cnn, seed)
    if with_cnn:
        guesses["cnn"] = answers.guesses
    return _table(truth, guesses, answers.precision)


class _Answers:
    """What the embeddings say of the scored files: the network's labels, precision per file by embedding and depth."""

    def __init__(self) -> None:
        self.guesses: Labels = np.empty(0, str)
        self.precision: dict[str, dict[str, NDArray[np.float64]]] = {}


def _embeddings(
    train: LabelledAudio, labels: Labels, queries: LabelledAudio, truth: Labels, with_cnn: bool, seed: int
) -> _Answers:
    answers = _Answers()
    embedder, _ = fit_embedder(train.X, labels.astype(object), seed=seed)
    vectors = {LINEAR: (embedder.embed(queries.X), embedder.embed(train.X))}
    if with_cnn:
        if len(np.unique(labels)) < 2:
            answers.guesses = np.full(len(truth), labels[0])
            vectors["cnn"] = vectors[LINEAR]
        else:
            training = replace(cnn.training_for(len(train.rows)), seed=seed, trained_on="benchmark table")
            network = cnn.fit(train.log_mels, {"label": labels.tolist()}, training=training)
            vectors["cnn"] = (network.embed(queries.log_mels), network.embed(train.log_mels))
            places = network.predict(queries.log_mels)["label"].argmax(1)
            answers.guesses = np.array(network.heads["label"])[places]
    for name, (asked, known) in vectors.items():
        answers.precision[name] = {
            f"p_at_{depth}": retrieval_precision(asked, truth, known, labels, k=depth) for depth in DEPTHS
        }
    return answers


def _table(
    truth: Labels, guesses: dict[str, Labels], precision: dict[str, dict[str, NDArray[np.float64]]]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    values, y = np.unique(truth, return_inverse=True)
    for name in [name for name in (*MODELS, "cnn", "majority") if name in guesses]:
        places = np.searchsorted(values, guesses[name])
        known = (places < len(values)) & (values[np.minimum(places, len(values) - 1)] == guesses[name])
        predicted = np.where(known, places, -1)
        found[name] = {"accuracy": float((guesses[name] == truth).mean()), "macro_f1": macro_f1(y, predicted)}
    for name, each in precision.items():
        found.setdefault(name, {}).update({depth: float(values.mean()) for depth, values in each.items()})
    return found


def _taken(audio: LabelledAudio, rows: NDArray[np.int64]) -> LabelledAudio:
    log_mels = tuple(audio.log_mels[at] for at in rows) if audio.log_mels else ()
    return LabelledAudio(audio.rows.iloc[rows], audio.X[rows], log_mels, {})


def _majority(labels: Labels) -> str:
    values, counts = np.unique(labels, return_counts=True)
    return str(values[counts.argmax()])


def _joined(parts: list[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {depth: np.concatenate([part[depth] for part in parts]) for depth in parts[0]}
