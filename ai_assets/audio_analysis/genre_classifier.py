"""Which genre (or other class) a recording belongs to, from its feature row, with the right to say nothing.

Belongs here: comparing models by grouped cross-validation, calibration, the abstain threshold, explanation, files.
Does not belong here: the models (`feature_models`), the folds (`folds`), where tags come from, Dagster.

Probabilities are calibrated by one temperature (Guo et al., ICML 2017) fitted to out-of-fold predictions; so is the
threshold below which the classifier abstains. What the tags call a genre is all it knows.

>>> classifier, evaluation = fit(X, labels, artists)          # doctest: +SKIP
>>> names, probabilities = classifier.predict(X_new)          # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.feature_models import MODELS, FeatureModel, Matrix
from ai_assets.audio_analysis.features import FEATURE_NAMES
from ai_assets.audio_analysis.folds import grouped_folds, random_folds

LEAST_ROWS = 20
# The classifier answers where it was right this often out of fold; below that it abstains.
WANTED_PRECISION = 0.9
LEAST_ANSWERED = 0.05
_FORMAT = 1
_FLOOR = 1e-6


class TooFewLabels(ValueError):
    """Fewer than two labels with enough rows: nothing to tell apart."""


@dataclass(frozen=True)
class Evaluation:
    """What cross-validation says of the served model; every row was predicted by a model that had not seen its group.

    Attributes
    ----------
    served : "lightgbm" or "lda", the more accurate one out of fold.
    accuracy, macro_f1 : of the served model, without abstaining.
    majority : accuracy of always answering the most frequent class of the training folds.
    random_accuracy : the same model under a random split that lets artists leak.
    models : accuracy and macro F1 of each model compared.
    rows : (m,) which rows of the input were used (those with a frequent enough label).
    predicted : (m,) out-of-fold label of each used row.
    correct : (m,) float, 1 where it is right.
    confusion : (classes, classes) counts, true class by row.
    classes : names in the order of the columns.
    answered, answered_accuracy : share of rows at or above the abstain threshold, and accuracy there.
    grouped : False when there was one group only and the folds are random.
    """

    served: str
    accuracy: float
    macro_f1: float
    majority: float
    random_accuracy: float
    models: Mapping[str, Mapping[str, float]]
    rows: NDArray[np.int64]
    predicted: NDArray[Any]
    correct: NDArray[np.float64]
    confusion: NDArray[np.int64]
    classes: tuple[str, ...]
    answered: float
    answered_accuracy: float
    grouped: bool


class GenreClassifier:
    """A fitted model with its classes, temperature and abstain threshold."""

    def __init__(self, model: FeatureModel, classes: tuple[str, ...], temperature: float, threshold: float) -> None:
        self.model, self.classes, self.temperature, self.threshold = model, classes, temperature, threshold

    def predict(self, X: Matrix) -> tuple[NDArray[Any], Matrix]:
        """Labels (n,) as objects, None where it abstains, and calibrated probabilities (n, classes)."""
        if len(X) == 0:
            return np.empty(0, object), np.empty((0, len(self.classes)))
        probabilities = tempered(self.model.probabilities(np.atleast_2d(np.asarray(X, float))), self.temperature)
        labels = np.array([self.classes[place] for place in probabilities.argmax(1)], dtype=object)
        labels[probabilities.max(1) < self.threshold] = None
        return labels, probabilities

    def explain(self, x: Matrix, *, top: int = 10, label: str | None = None) -> list[tuple[str, float]]:
        """The features of row x (d,) that spoke most for or against its best class (or `label`), strongest first.

        Contributions are log-odds: TreeSHAP values for LightGBM, coefficient times standardised value for LDA.
        """
        x = np.asarray(x, float).reshape(1, -1)
        place = self.classes.index(label) if label is not None else int(self.model.probabilities(x)[0].argmax())
        values = self.model.contributions(x, place)
        return [(feature_name(at, len(values)), float(values[at])) for at in np.argsort(-np.abs(values))[:top]]

    def contribution_table(self, X: Matrix) -> Matrix:
        """(n, d) contributions of each row's features to its best class, in log-odds."""
        X = np.asarray(X, float)
        places = self.model.probabilities(X).argmax(1)
        return np.array([self.model.contributions(x, int(at)) for x, at in zip(X, places, strict=True)])

    def refitted(self, X: Matrix, labels: NDArray[Any], rows: NDArray[np.bool_], *, seed: int = 0) -> GenreClassifier:
        """The same kind of model, temperature and threshold, fitted to some of the rows with labels it knows."""
        chosen = rows & np.isin(labels, self.classes)
        y = np.searchsorted(np.array(self.classes), labels[chosen])
        model = MODELS[self.model.name].fit(np.asarray(X, float)[chosen], y, classes=len(self.classes), seed=seed)
        return GenreClassifier(model, self.classes, self.temperature, self.threshold)

    def per_case_scores(self, X: Matrix, labels: NDArray[Any]) -> Matrix:
        """(n,) natural logarithm of the probability of each true label; NaN for a label it does not know."""
        places = {name: place for place, name in enumerate(self.classes)}
        probabilities = self.predict(X)[1]
        scores = np.full(len(probabilities), np.nan)
        for row, label in enumerate(labels):
            if label in places:
                scores[row] = np.log(max(probabilities[row, places[label]], _FLOOR))
        return scores

    def save(self, folder: Path) -> None:
        """Write classifier.json and the model's own file; no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder)
        facts = {
            "format": _FORMAT,
            "model": self.model.name,
            "classes": list(self.classes),
            "temperature": self.temperature,
            "threshold": self.threshold,
        }
        (folder / "classifier.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> GenreClassifier:
        """Read what `save` wrote.

        Raises
        ------
        ValueError : another format or an unknown model.
        """
        facts = json.loads((folder / "classifier.json").read_text())
        if facts.get("format") != _FORMAT or facts.get("model") not in MODELS:
            raise ValueError(f"{folder}/classifier.json is not of format {_FORMAT} with a model of {sorted(MODELS)}")
        classes = tuple(facts["classes"])
        model = MODELS[facts["model"]].load(folder, classes=len(classes))
        return cls(model, classes, float(facts["temperature"]), float(facts["threshold"]))


def fit(X: Matrix, labels: NDArray[Any], groups: NDArray[Any], *, seed: int = 0) -> tuple[GenreClassifier, Evaluation]:
    """Compare LightGBM and shrunk LDA by grouped 5-fold cross-validation and fit the better one to all rows.

    Parameters
    ----------
    X : (n, 518) feature rows. labels : (n,) names. groups : (n,) artist (source, pitch, speaker).

    Raises
    ------
    TooFewLabels : fewer than two labels have `LEAST_ROWS` rows.
    """
    X, labels = np.asarray(X, float), np.asarray(labels, dtype=str)
    names, counts = np.unique(labels, return_counts=True)
    kept = names[counts >= LEAST_ROWS]
    if len(kept) < 2:
        raise TooFewLabels(
            f"a classifier needs two labels with at least {LEAST_ROWS} recordings each, there is {len(kept)}; "
            f"counts: {', '.join(f'{name} {count}' for name, count in zip(names, counts, strict=True)) or 'none'}"
        )
    rows = np.flatnonzero(np.isin(labels, kept))
    X, groups, y = X[rows], np.asarray(groups, dtype=str)[rows], np.searchsorted(kept, labels[rows])
    grouped = len(np.unique(groups)) > 1
    folds = grouped_folds(y, groups, seed=seed) if grouped else random_folds(y, seed=seed)
    found = cross_validated(X, y, folds, classes=len(kept), seed=seed)
    served = better(found, y)
    leaky = random_folds(y, seed=seed)
    random_found = cross_validated(X, y, leaky, classes=len(kept), seed=seed, names=(served,)) if grouped else found
    temperature = fitted_temperature(found[served], y)
    calibrated = tempered(found[served], temperature)
    threshold = abstain_threshold(calibrated, y)
    answered = calibrated.max(1) >= threshold
    predicted = found[served].argmax(1)
    correct = (predicted == y).astype(float)
    confusion = np.zeros((len(kept), len(kept)), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    evaluation = Evaluation(
        served=served,
        accuracy=float(correct.mean()),
        macro_f1=macro_f1(y, predicted),
        majority=majority_accuracy(y, folds),
        random_accuracy=float((random_found[served].argmax(1) == y).mean()),
        models={name: scores(y, each.argmax(1)) for name, each in found.items()},
        rows=rows,
        predicted=kept[predicted].astype(object),
        correct=correct,
        confusion=confusion,
        classes=tuple(map(str, kept)),
        answered=float(answered.mean()),
        answered_accuracy=float(correct[answered].mean()) if answered.any() else 0.0,
        grouped=grouped,
    )
    model = MODELS[served].fit(X, y, classes=len(kept), seed=seed)
    return GenreClassifier(model, evaluation.classes, temperature, threshold), evaluation


def cross_validated(
    X: Matrix,
    y: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    classes: int,
    seed: int = 0,
    names: tuple[str, ...] = tuple(MODELS),
) -> dict[str, Matrix]:
    """Out-of-fold probabilities (n, classes) of each model; `folds` (n,) says which fold holds a row out."""
    found = {name: np.zeros((len(y), classes)) for name in names}
    for fold in np.unique(folds):
        held_out = folds == fold
        for name in names:
            model = MODELS[name].fit(X[~held_out], y[~held_out], classes=classes, seed=seed)
            found[name][held_out] = model.probabilities(X[held_out])
    return found


def better(found: Mapping[str, Matrix], y: NDArray[np.int64]) -> str:
    """The name with the highest out-of-fold accuracy; among equals the lowest calibrated log loss."""

    def rank(name: str) -> tuple[float, float]:
        loss = log_loss(tempered(found[name], fitted_temperature(found[name], y)), y)
        return float((found[name].argmax(1) == y).mean()), -loss

    return max(found, key=rank)


def tempered(probabilities: Matrix, temperature: float) -> Matrix:
    """Probabilities (n, classes) to the power 1 / temperature, normalised."""
    powered = np.log(np.maximum(probabilities, _FLOOR)) / temperature
    powered = np.exp(powered - powered.max(1, keepdims=True))
    return powered / powered.sum(1, keepdims=True)


def fitted_temperature(probabilities: Matrix, y: NDArray[np.int64]) -> float:
    """The temperature between 1/8 and 16 with the lowest log loss."""
    from scipy.optimize import minimize_scalar

    def loss(exponent: float) -> float:
        return log_loss(tempered(probabilities, float(2.0**exponent)), y)

    return float(2.0 ** minimize_scalar(loss, bounds=(-3, 4), method="bounded").x)


def log_loss(probabilities: Matrix, y: NDArray[np.int64]) -> float:
    """Mean negative logarithm of the probability of the truth."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], _FLOOR)).mean())


def abstain_threshold(probabilities: Matrix, y: NDArray[np.int64]) -> float:
    """The lowest confidence from which on `WANTED_PRECISION` of the answers are right.

    Where no threshold reaches that for at least `LEAST_ANSWERED` of the rows, the one with the best precision is taken.
    """
    confidence = probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(1) == y)[order]
    precision = np.cumsum(right) / np.arange(1, len(y) + 1)
    least = max(1, int(np.ceil(LEAST_ANSWERED * len(y))))
    reached = np.flatnonzero(precision[least - 1 :] >= WANTED_PRECISION)
    last = (reached[-1] if len(reached) else int(precision[least - 1 :].argmax())) + least - 1
    return float(confidence[order[last]])


def scores(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and macro F1."""
    return {"accuracy": float((predicted == y).mean()), "macro_f1": macro_f1(y, predicted)}


def macro_f1(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in y; a class never hit counts 0."""
    from sklearn.metrics import f1_score

    return float(f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0.0))


def majority_guesses(y: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the most frequent class of the other folds."""
    guesses = np.empty_like(y)
    for fold in np.unique(folds):
        guesses[folds == fold] = np.bincount(y[folds != fold]).argmax()
    return guesses


def majority_accuracy(y: NDArray[np.int64], folds: NDArray[np.int64]) -> float:
    """Accuracy of always answering the most frequent class of the other folds."""
    return float((majority_guesses(y, folds) == y).mean())


def feature_name(place: int, width: int) -> str:
    """The FMA name of a column; its number where the rows are not the 518 features."""
    return FEATURE_NAMES[place] if width == len(FEATURE_NAMES) else f"feature.{place + 1:03d}"
