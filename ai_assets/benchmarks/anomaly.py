"""`benchmark anomaly`: how well our outlier detectors tell the strange from the usual on anybody's sounds.

Belongs here: the protocol (fit on normal files only) and its two figures. Does not belong here: the detectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.outlier_detector import DETECTORS, fit
from ai_assets.benchmarks.labelled_audio import Progress, TableError, analysed, read_table

LARGEST_FALSE_POSITIVE_RATE = 0.1


def anomaly(
    normal: Path, test: Path, *, workers: int = 2, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Fit both detectors to the files of `normal` and score them on `test`.

    Parameters
    ----------
    normal : CSV with column `path`, relative to the table. test : the same with `anomalous` (0 or 1).
    workers : processes that analyse. progress : called with done, total, path.

    Returns
    -------
    {"detectors": {name: {"auroc", "partial_auroc"}}, "served", "files", "left_out"}; the partial area goes up to a
    false-positive rate of .1, standardised (McClish, 1989). The served detector is chosen on the normal files alone.

    Raises
    ------
    TableError : a table that cannot be used. TooFewTracks : fewer than ten normal files.
    """
    known, wanted = read_table(normal, needs=("path",)), read_table(test, needs=("path", "anomalous"))
    wrong = np.flatnonzero(~wanted["anomalous"].str.strip().isin(["0", "1"]))
    if len(wrong):
        raise TableError(
            f"{test}: line {wrong[0] + 2} has anomalous {wanted['anomalous'].iloc[wrong[0]]!r}, not 0 or 1"
        )
    if wanted["anomalous"].str.strip().nunique() < 2:
        raise TableError(f"{test}: column anomalous needs both 0 and 1")
    usual = analysed(known, normal.parent, log_mels=False, workers=workers, progress=progress)
    asked = analysed(wanted, test.parent, log_mels=False, workers=workers, progress=progress)
    truth = (asked.rows["anomalous"].str.strip() == "1").to_numpy()
    if truth.all() or not truth.any():
        raise TableError(f"{test}: of the files that could be read all have the same value of anomalous")
    detector, _ = fit(usual.X, seed=seed)
    return {
        "detectors": {name: auroc_scores(truth, detector.score(asked.X, detector=name)) for name in DETECTORS},
        "served": detector.served,
        "files": {"normal": len(usual.rows), "test": len(asked.rows)},
        "left_out": usual.left_out | asked.left_out,
    }


def auroc_scores(truth: NDArray[np.bool_], found: NDArray[np.float64]) -> dict[str, float]:
    """AUROC and standardised partial AUROC of scores (n,) against truth (n,)."""
    from sklearn.metrics import roc_auc_score

    return {
        "auroc": float(roc_auc_score(truth, found)),
        "partial_auroc": float(roc_auc_score(truth, found, max_fpr=LARGEST_FALSE_POSITIVE_RATE)),
    }
