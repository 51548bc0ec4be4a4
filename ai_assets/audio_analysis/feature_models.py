"""The two models that read feature rows: gradient-boosted trees and shrunk linear discriminants.

Belongs here: fitting one model to rows and class numbers, its probabilities, contributions and files. Does not belong
here: comparing them, calibration, abstaining (`genre_classifier`).

Sources: LightGBM (Ke et al., NIPS 2017), TreeSHAP (Lundberg et al., 2020) as LightGBM computes it; linear discriminant
analysis with the Ledoit-Wolf covariance (Ledoit and Wolf, 2004) of scikit-learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
# Beyond this many standard deviations a feature says "strange" and no more: one wild kurtosis must not decide alone.
LIMIT = 10.0
_TREES = {
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.2,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
ROUNDS = 150


class Scaling:
    """Standardises columns; a missing value becomes the column's median, a constant column becomes zero."""

    def __init__(self, median: Matrix, mean: Matrix, scale: Matrix) -> None:
        self.median, self.mean, self.scale = median, mean, scale

    @classmethod
    def fit(cls, X: Matrix) -> Scaling:
        """Learn from rows (n, d), n >= 1; values that are not finite are overlooked."""
        X = np.where(np.isfinite(X), X, np.nan)
        present = np.isfinite(X).any(0)
        median = np.zeros(X.shape[1])
        median[present] = np.nanmedian(X[:, present], axis=0)
        filled = np.where(np.isfinite(X), X, median)
        spread = filled.std(0)
        tiny = 1e-9 * np.maximum(np.abs(filled).max(0), 1e-9)
        return cls(median, filled.mean(0), np.where(spread > tiny, spread, np.inf))

    def apply(self, X: Matrix) -> Matrix:
        """(n, d) standardised rows between -LIMIT and LIMIT."""
        X = np.atleast_2d(np.asarray(X, np.float64))
        if X.shape[1] != len(self.mean):
            raise ValueError(f"rows have {X.shape[1]} features, the model was fitted on {len(self.mean)}")
        filled = np.where(np.isfinite(X), X, self.median)
        return np.clip((filled - self.mean) / self.scale, -LIMIT, LIMIT)

    def arrays(self) -> dict[str, Matrix]:
        """What `from_arrays` needs, for an npz."""
        return {"median": self.median, "mean": self.mean, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Any) -> Scaling:
        """The scaling whose `arrays` these are."""
        return cls(arrays["median"], arrays["mean"], arrays["scale"])


class FeatureModel(Protocol):
    """A classifier over rows (n, d) and class numbers 0 ... classes-1."""

    name: str

    def probabilities(self, X: Matrix) -> Matrix:
        """(n, classes), each row sums to one."""

    def contributions(self, x: Matrix, place: int) -> Matrix:
        """(d,) how much each feature of the row x (d,) spoke for class number `place` (in log-odds)."""

    def margin(self, x: Matrix, place: int) -> tuple[float, float]:
        """The class's base value and its score for the row x (d,), log-odds: base + contributions = score."""

    def save(self, folder: Path) -> None:
        """Write the model's own file into the folder."""


class ShrunkLda:
    """Linear discriminants with Ledoit-Wolf covariance on standardised features."""

    name = "lda"

    def __init__(self, scaling: Scaling, coefficients: Matrix, intercepts: Matrix) -> None:
        self._scaling, self._coefficients, self._intercepts = scaling, coefficients, intercepts

    @classmethod
    def fit(cls, X: Matrix, y: NDArray[np.int64], *, classes: int, seed: int = 0) -> ShrunkLda:
        """Fit to rows (n, d); a class without rows gets probability zero. The seed changes nothing."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        scaling = Scaling.fit(X)
        coefficients, intercepts = np.zeros((classes, X.shape[1])), np.full(classes, -np.inf)
        present = np.unique(y)
        if len(present) == 1:
            intercepts[present] = 0.0
            return cls(scaling, coefficients, intercepts)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scaling.apply(X), y)
        if len(present) == 2:
            coefficients[present], intercepts[present] = _two_rows(model.coef_[0], float(model.intercept_[0]))
        else:
            coefficients[present], intercepts[present] = model.coef_, model.intercept_
        return cls(scaling, coefficients, intercepts)

    def probabilities(self, X: Matrix) -> Matrix:
        """See `FeatureModel`."""
        return softmax(self._scaling.apply(X) @ self._coefficients.T + self._intercepts)

    def contributions(self, x: Matrix, place: int) -> Matrix:
        """Coefficient, less the mean over the classes, times the standardised value."""
        return (self._coefficients[place] - self._coefficients.mean(0)) * self._scaling.apply(x)[0]

    def margin(self, x: Matrix, place: int) -> tuple[float, float]:
        """See `FeatureModel`; the score is that above the mean of the classes."""
        base = float(self._intercepts[place])
        scores = self._coefficients @ self._scaling.apply(x)[0]
        return base, base + float(scores[place] - scores.mean())

    def save(self, folder: Path) -> None:
        """Write lda.npz."""
        arrays: dict[str, Any] = self._scaling.arrays() | {
            "coefficients": self._coefficients,
            "intercepts": self._intercepts,
        }
        np.savez(folder / "lda.npz", **arrays)

    @classmethod
    def load(cls, folder: Path, *, classes: int) -> ShrunkLda:
        """Read lda.npz."""
        with np.load(folder / "lda.npz", allow_pickle=False) as arrays:
            return cls(Scaling.from_arrays(arrays), arrays["coefficients"], arrays["intercepts"])


class Trees:
    """LightGBM on the raw features."""

    name = "lightgbm"

    def __init__(self, booster: Any, present: NDArray[np.int64], classes: int) -> None:
        self._booster, self._present, self._classes = booster, present, classes

    @classmethod
    def fit(cls, X: Matrix, y: NDArray[np.int64], *, classes: int, seed: int = 0) -> Trees:
        """Fit to rows (n, d); a class without rows gets probability zero."""
        import lightgbm

        present, numbers = np.unique(y, return_inverse=True)
        # One class alone would be refused; a second, empty one keeps the form.
        settings = _TREES | {"objective": "multiclass", "num_class": max(len(present), 2), "seed": seed}
        data = lightgbm.Dataset(np.where(np.isfinite(X), X, np.nan), numbers, free_raw_data=True)
        return cls(lightgbm.train(settings, data, num_boost_round=ROUNDS), present, classes)

    def probabilities(self, X: Matrix) -> Matrix:
        """See `FeatureModel`."""
        found = np.zeros((len(X), self._classes))
        found[:, self._present] = self._predict(X)[:, : len(self._present)]
        return found / found.sum(1, keepdims=True)

    def contributions(self, x: Matrix, place: int) -> Matrix:
        """TreeSHAP values of the class."""
        x = np.atleast_2d(x)
        if place not in self._present:
            return np.zeros(x.shape[1])
        values = np.asarray(self._predict(x, pred_contrib=True)).reshape(-1, x.shape[1] + 1)
        return values[int(np.searchsorted(self._present, place)), :-1]

    def margin(self, x: Matrix, place: int) -> tuple[float, float]:
        """See `FeatureModel`; a class without rows has neither."""
        x = np.atleast_2d(x)
        if place not in self._present:
            return 0.0, 0.0
        at = int(np.searchsorted(self._present, place))
        values = np.asarray(self._predict(x, pred_contrib=True)).reshape(-1, x.shape[1] + 1)
        return float(values[at, -1]), float(np.asarray(self._predict(x, raw_score=True)).reshape(-1)[at])

    def _predict(self, X: Matrix, **options: Any) -> Matrix:
        rows = np.where(np.isfinite(X), X, np.nan)
        if rows.shape[1] != self._booster.num_feature():
            raise ValueError(
                f"rows have {rows.shape[1]} features, the model was fitted on {self._booster.num_feature()}"
            )
        return np.asarray(self._booster.predict(rows, num_threads=1, **options))

    def save(self, folder: Path) -> None:
        """Write lightgbm.txt and the class numbers it knows."""
        self._booster.save_model(folder / "lightgbm.txt")
        np.savez(folder / "lightgbm_classes.npz", present=self._present)

    @classmethod
    def load(cls, folder: Path, *, classes: int) -> Trees:
        """Read lightgbm.txt."""
        import lightgbm

        with np.load(folder / "lightgbm_classes.npz", allow_pickle=False) as arrays:
            present = arrays["present"]
        return cls(lightgbm.Booster(model_str=(folder / "lightgbm.txt").read_text()), present, classes)


MODELS: dict[str, type[Trees] | type[ShrunkLda]] = {Trees.name: Trees, ShrunkLda.name: ShrunkLda}


def softmax(scores: Matrix) -> Matrix:
    """Row-wise; -inf gives zero."""
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _two_rows(coefficients: Matrix, intercept: float) -> tuple[Matrix, Matrix]:
    """scikit-learn keeps one row for two classes; two rows with the same log-odds."""
    return np.stack([-coefficients / 2, coefficients / 2]), np.array([-intercept / 2, intercept / 2])
