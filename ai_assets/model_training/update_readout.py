"""What each way to keep up with new events is worth: nothing, fold-in, an item half-step, a full retrain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.contract import Verdict
from ai_assets.model_training import metrics
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.ials import IalsConfig, fit_ials, half_step
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.listening import K, first_plays
from ai_assets.model_training.splits import time_split


def update_readout(
    data: Interactions,
    *,
    new_share: float = 0.25,
    test_share: float = 0.25,
    seed: int = 0,
    config: IalsConfig | None = None,
) -> dict[str, NDArray[np.float64]]:
    """NDCG@10 per listener on the newest rows, by way: `stale`, `fold_in`, `half_step`, `retrain`.

    Rows are cut at two dates: the model is fitted on the oldest, the ways differ in what they make of the next ones,
    and all are judged on first plays among the newest. Compare ways listener by listener (`gate.paired_bootstrap`).
    """
    known, test_rows = time_split(data, test_share)
    base, _ = time_split(known, new_share / (1.0 - test_share))
    seen, relevant = known.matrix(), first_plays(known, test_rows).matrix()
    stale = fit_ials(base, seed=seed, config=config)
    stepped, full = half_step(stale, known), fit_ials(known, seed=seed, config=config)
    scores = {
        "stale": stale.scores(base.histories()),
        "fold_in": stale.scores(known.histories()),
        "half_step": stepped.scores(known.histories()),
        "retrain": full.scores(known.histories()),
    }
    return {
        name: metrics.evaluate(metrics.top_k(values, K, seen=seen), relevant)["ndcg"] for name, values in scores.items()
    }


def readout_rows(
    values: dict[str, NDArray[np.float64]],
) -> list[tuple[str, str, float, float | None, float | None, float | None]]:
    """Rows (metric, group, value, low, high, baseline): each way, and what it gains over folding listeners in alone."""
    base = values["fold_in"]
    rows: list[tuple[str, str, float, float | None, float | None, float | None]] = []
    for way, own in values.items():
        mean, theirs = _mean(own), _mean(base)
        rows.append(("ndcg_at_10", way, mean, *paired_bootstrap(own), theirs))
        rows.append(("gain_over_fold_in", way, mean - theirs, *paired_bootstrap(own - base), 0.0))
    return rows


def verdict(values: dict[str, NDArray[np.float64]]) -> Verdict:
    """Red where the half-step is surely worse than doing without it."""
    low, high = paired_bootstrap(values["half_step"] - values["fold_in"])
    text = ", ".join(f"{way} {_mean(own):.4f}" for way, own in values.items())
    return Verdict(not high < 0, f"NDCG@10 on later plays: {text}; half-step over fold-in in [{low:.4f}, {high:.4f}]")


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
