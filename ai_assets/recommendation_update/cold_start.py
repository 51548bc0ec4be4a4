"""Quality over the number of events of a new listener: popularity, fold-in, two-tower, and the blend that is served.

Some listeners are kept out of the fit altogether. Of each, the first n plays are given, and what he first plays after
his twentieth is to be named: the same tracks at every n, so that the points of a curve can be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.contract import Verdict
from ai_assets.model_training import metrics
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.interactions import Codes, Interactions, history_matrix
from ai_assets.model_training.listening import Collaborative, fit
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.recommendation_update.query import blended

K = 10
EVENTS = (0, 1, 2, 3, 5, 10, 15, 20)
LEAST_LISTENERS, MOST_LISTENERS, NEW_SHARE = 20, 300, 0.25
Values = NDArray[np.float64]
Curves = dict[str, dict[int, Values]]


def cold_start_curves(data: Interactions, *, seed: int = 0) -> Curves | str:
    """NDCG@10 by way and number of events, one value per new listener; or why there are too few listeners.

    Other listeners' later plays are known to the models: it is the listener who is new here, not the day.
    """
    histories = data.histories()
    rng = np.random.default_rng(seed)
    long = [user for user, own in enumerate(histories) if len(_later(own))]
    new = np.sort(rng.permutation(long)[: min(int(len(long) * NEW_SHARE), MOST_LISTENERS)]).astype(np.int64)
    if len(new) < LEAST_LISTENERS:
        return (
            f"{len(new)} listeners can be taken for new (a quarter of the {len(long)} with first plays after "
            f"{EVENTS[-1]} events); it takes {LEAST_LISTENERS}"
        )
    others = data.take(~np.isin(data.users, new))
    model, _ = fit(others, seed=seed)
    later = [_later(histories[user]) for user in new]
    relevant = history_matrix(later, data.item_count)
    heard = history_matrix([histories[user][: EVENTS[-1]] for user in new], data.item_count)
    curves: Curves = {}
    for count in EVENTS:
        given = [histories[user][:count] for user in new]
        for way, scores in _ways(model, others, given).items():
            values = metrics.evaluate(metrics.top_k(scores, K, seen=heard), relevant)["ndcg"]
            curves.setdefault(way, {})[count] = values
    return curves


def rows_of(curves: Curves) -> list[tuple[str, str, float, float | None, float | None, float | None]]:
    """Rows (metric, group, value, low, high, baseline): the baseline is popularity for the same listeners."""
    return [
        ("ndcg_at_10", f"{way}, {count} events", float(np.nanmean(values)), *paired_bootstrap(values),
         float(np.nanmean(curves["popularity"][count])))
        for way, points in curves.items() for count, values in points.items()
    ]  # fmt: skip


def verdict(curves: Curves) -> Verdict:
    """Is the served blend nowhere surely worse than popularity?"""
    gains = {
        count: paired_bootstrap(values - curves["popularity"][count]) for count, values in curves["served"].items()
    }
    worse = [count for count, (_, high) in gains.items() if high < 0]
    low, high = gains[EVENTS[-1]]
    text = f"after {EVENTS[-1]} events the gain over popularity is in [{low:.4f}, {high:.4f}]"
    if worse:
        text = f"worse than popularity after {', '.join(map(str, worse))} events; {text}"
    return Verdict(not worse, text, {"worse_at": len(worse)})


def plot(curves: Curves) -> bytes:
    """One line per way over the number of events."""
    from ai_assets.model_training.training_plots import lines

    return lines(
        {way: [float(np.nanmean(points[count])) for count in EVENTS] for way, points in curves.items()},
        list(EVENTS), across="events of a new listener", up=f"NDCG@{K}",
    )  # fmt: skip


def _ways(model: Collaborative, known: Interactions, given: list[Codes]) -> dict[str, NDArray[np.float32]]:
    plays = np.bincount(known.items, minlength=known.item_count).astype(float)
    folded, tower = model.ials.scores(given), model.tower.scores(given)
    fused = reciprocal_rank_fusion([tower, folded])
    return {
        "popularity": np.asarray(fit_popularity(known).scores(given), np.float32),
        "fold_in": folded,
        "two_tower": tower,
        "served": np.stack(
            [
                blended(fused[row].astype(float), plays, len(history)).astype(np.float32)
                for row, history in enumerate(given)
            ]
        ),
    }


def _later(history: Codes) -> Codes:
    """What is first played after the twentieth event."""
    return np.setdiff1d(history[EVENTS[-1] :], history[: EVENTS[-1]])
