"""How far a recording lies from the catalogue, from its feature row.

Belongs here: shrunk Mahalanobis distance and distance to the third nearest neighbour, which of them is served, the
threshold, explanation, files. Does not belong here: defects with a place in time (`defects`), duplicates.

The choice is made without strange recordings to learn from, as in DCASE Task 2: rows held out are compared with rows
made from them (`disturbed`): every feature from another recording, one family of features from another recording, and a
step away along the difference of two recordings.

Blind spots, measured on real music with either detector (AUROC; .5 is chance): noise 20 dB below the signal .50,
reversed audio .48, clipping .64-.70, playback 1.5 times faster .75-.77, dropouts .81-.87. The features are statistics
over time, so order in time is lost. Defects are the business of `defects`; what this sees is another kind of sound
(speech, noises, a narrow band). An outlier is no error: it is a recording worth listening to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.feature_models import Matrix, Scaling
from ai_assets.audio_analysis.features import FEATURE_NAMES
from ai_assets.audio_analysis.folds import random_folds
from ai_assets.audio_analysis.genre_classifier import feature_name

LEAST_TRACKS = 10
NEIGHBOURS = 3
# Of larger catalogues a sample this large is kept for neighbours: 10 MB in single precision.
LARGEST_LIBRARY = 5_000
QUANTILE = 0.99
DETECTORS = ("mahalanobis", "knn")
_FORMAT = 1
_BLOCK = 256


class TooFewTracks(ValueError):
    """The catalogue is too small to say what is usual."""


class OutlierDetector:
    """Both distances, the one that is served, and its threshold."""

    def __init__(self, served: str, scaling: Scaling, whitening: Matrix, library: Matrix, threshold: float) -> None:
        """`whitening` (d, d): rows @ whitening has unit covariance; `library` (m, d): standardised rows."""
        self.served, self.threshold = served, threshold
        self._scaling, self._whitening, self._library = scaling, whitening, library

    def score(self, X: Matrix, *, detector: str | None = None) -> Matrix:
        """(n,) distance from the catalogue, higher is stranger.

        Parameters
        ----------
        X : (n, 518) feature rows. detector : "mahalanobis" or "knn" instead of the served one (other units).
        """
        if len(X) == 0:
            return np.empty(0)
        rows = self._scaling.apply(X)
        if (detector or self.served) == "mahalanobis":
            return _mahalanobis(rows, self._whitening)
        return _third_neighbour(rows, self._library)

    def explain(self, x: Matrix, *, top: int = 10) -> list[tuple[str, float]]:
        """The features of row x (518,) furthest from the catalogue, in standard deviations from its mean."""
        values = self.deviations(x)[0]
        return [(feature_name(at, len(values)), float(values[at])) for at in np.argsort(-np.abs(values))[:top]]

    def deviations(self, X: Matrix) -> Matrix:
        """(n, d) how far each feature of rows X (n, d) lies from the catalogue's mean, in standard deviations."""
        return self._scaling.apply(X)

    def save(self, folder: Path) -> None:
        """Write detector.json and detector.npz."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = self._scaling.arrays() | {"whitening": self._whitening, "library": self._library}
        np.savez(folder / "detector.npz", **arrays)
        facts = {"format": _FORMAT, "served": self.served, "threshold": self.threshold}
        (folder / "detector.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> OutlierDetector:
        """Read what `save` wrote.

        Raises
        ------
        ValueError : another format or an unknown detector.
        """
        facts = json.loads((folder / "detector.json").read_text())
        if facts.get("format") != _FORMAT or facts.get("served") not in DETECTORS:
            raise ValueError(f"{folder}/detector.json is not of format {_FORMAT} with one of {DETECTORS}")
        with np.load(folder / "detector.npz", allow_pickle=False) as arrays:
            scaling = Scaling.from_arrays(arrays)
            return cls(facts["served"], scaling, arrays["whitening"], arrays["library"], float(facts["threshold"]))


def fit(X: Matrix, *, seed: int = 0) -> tuple[OutlierDetector, dict[str, float]]:
    """Learn what is usual from rows (n, 518), which are taken as normal.

    The served detector has the higher mean AUROC of held-out rows against rows disturbed from them, over up to five
    folds; the threshold is the 99th percentile of the held-out rows' scores.

    Returns
    -------
    The detector, and metrics: rows, threshold, auroc_mahalanobis and auroc_knn (on disturbed rows, no claim about real
    strange recordings).

    Raises
    ------
    TooFewTracks : fewer than ten rows.
    """
    from sklearn.metrics import roc_auc_score

    X = np.asarray(X, float)
    if len(X) < LEAST_TRACKS:
        raise TooFewTracks(f"an outlier detector needs at least {LEAST_TRACKS} recordings, there are {len(X)}")
    folds = random_folds(np.zeros(len(X), np.int64), seed=seed)
    usual = {name: np.empty(len(X)) for name in DETECTORS}
    aurocs: dict[str, list[float]] = {name: [] for name in DETECTORS}
    for fold in np.unique(folds):
        held_out = folds == fold
        model = _fitted("mahalanobis", X[~held_out], seed=seed)
        made = disturbed(X[held_out], seed=seed + int(fold))
        truth = np.r_[np.zeros(int(held_out.sum())), np.ones(len(made))]
        for name in DETECTORS:
            usual[name][held_out] = model.score(X[held_out], detector=name)
            found = np.r_[usual[name][held_out], model.score(made, detector=name)]
            aurocs[name].append(float(roc_auc_score(truth, found)))
    means = {name: float(np.mean(values)) for name, values in aurocs.items()}
    served = max(DETECTORS, key=lambda name: means[name])
    detector = _fitted(served, X, seed=seed)
    detector.threshold = float(np.quantile(usual[served], QUANTILE))
    metrics = {f"auroc_{name}": value for name, value in means.items()}
    return detector, metrics | {"rows": float(len(X)), "threshold": detector.threshold}


def disturbed(X: Matrix, *, seed: int = 0) -> Matrix:
    """(3n, d) rows that no recording has, made from rows (n, d), n >= 2.

    First n: every feature from another recording. Next n: one family of features (mfcc, chroma_cqt ...) from another
    recording. Last n: the difference of two recordings added.
    """
    rng = np.random.default_rng(seed)
    shuffled = np.take_along_axis(X, np.argsort(rng.random(X.shape), axis=0), axis=0)
    others = np.roll(rng.permutation(len(X)), 1)
    swapped = X.copy()
    if X.shape[1] == len(FEATURE_NAMES):
        family_of = np.array([name.split(".")[0] for name in FEATURE_NAMES])
    else:
        family_of = (np.arange(X.shape[1]) * 8 // X.shape[1]).astype(str)
    for row, family in enumerate(rng.choice(np.unique(family_of), len(X))):
        columns = family_of == family
        swapped[row, columns] = X[others[row], columns]
    moved = X + X[rng.permutation(len(X))] - X[others]
    return np.vstack([shuffled, swapped, moved])


def _fitted(served: str, X: Matrix, *, seed: int) -> OutlierDetector:
    from sklearn.covariance import ledoit_wolf

    scaling = Scaling.fit(X)
    rows = scaling.apply(X)
    covariance = ledoit_wolf(rows)[0]
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values.max()) * 1e-9, 1e-12)
    whitening = vectors / np.sqrt(np.maximum(values, floor))
    library = rows
    if len(rows) > LARGEST_LIBRARY:
        library = rows[np.sort(np.random.default_rng(seed).choice(len(rows), LARGEST_LIBRARY, replace=False))]
    return OutlierDetector(served, scaling, whitening, library.astype(np.float32), float("inf"))


def _mahalanobis(rows: Matrix, whitening: Matrix) -> Matrix:
    """Root of the mean squared whitened coordinate: about one for a usual row."""
    return np.sqrt(np.square(rows @ whitening).mean(1))


def _third_neighbour(rows: Matrix, library: NDArray[np.float64]) -> Matrix:
    """Mean distance to the three nearest library rows, divided by the root of the width."""
    known = np.asarray(library, np.float64)
    squares = np.square(known).sum(1)
    k = min(NEIGHBOURS, len(known))
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        distances = np.square(part).sum(1)[:, None] + squares - 2 * part @ known.T
        nearest = np.partition(distances, k - 1, axis=1)[:, :k]
        found[start : start + _BLOCK] = np.sqrt(np.maximum(nearest, 0)).mean(1)
    return found / np.sqrt(rows.shape[1])
