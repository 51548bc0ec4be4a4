"""The vectorised metrics against ir_measures, and the splits against their definitions."""

from __future__ import annotations

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy.sparse import csr_matrix

from ai_assets.model_training import metrics
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.splits import random_split, tail_split, time_split


def test_every_metric_agrees_with_ir_measures() -> None:
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((40, 60)).astype(np.float32)
    dense = rng.random((40, 60)) < rng.uniform(0.02, 0.4, (40, 1))
    dense[:, 0] |= ~dense.any(1)
    ranked = metrics.top_k(scores, 10)
    ours = metrics.evaluate(ranked, csr_matrix(dense.astype(np.float32)))
    run = [ir_measures.ScoredDoc(str(u), str(d), -float(p)) for u in range(40) for p, d in enumerate(ranked[u])]
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u, i in zip(*np.nonzero(dense), strict=True)]
    theirs = {"recall": R @ 10, "ndcg": nDCG @ 10, "mrr": RR @ 10, "precision": P @ 10, "hit_rate": Success @ 10}
    for name, measure in theirs.items():
        assert abs(np.nanmean(ours[name]) - ir_measures.calc_aggregate([measure], qrels, run)[measure]) < 1e-9, name
    # AP@10 there divides by all relevant items, ours by at most k: equal after that one factor.
    sizes = dense.sum(1)
    rescaled = ours["map"] * np.minimum(sizes, 10) / sizes
    assert abs(rescaled.mean() - ir_measures.calc_aggregate([AP @ 10], qrels, run)[AP @ 10]) < 1e-9


def test_masked_items_are_never_ranked() -> None:
    seen = csr_matrix(np.eye(5, dtype=np.float32))
    ranked = metrics.top_k(np.ones((5, 5), np.float32), 5, seen=seen)
    assert all(user not in ranked[user] for user in range(5))
    assert (ranked[:, -1] == -1).all()


def _dated() -> Interactions:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 20, 600), "item": rng.integers(0, 50, 600), "time": rng.random(600)})
    return Interactions.of(frame)


def test_random_parts_hold_every_row_once_in_their_shares_for_every_user() -> None:
    data = _dated()
    parts = random_split(data, seed=4)
    assert sum(map(len, parts)) == len(data)
    whole = np.bincount(data.users)
    assert (np.abs(np.bincount(parts[0].users, minlength=len(whole)) - 0.8 * whole) <= 1).all()
    again = random_split(data, seed=4)
    assert all(np.array_equal(a.items, b.items) for a, b in zip(parts, again, strict=True))


def test_no_test_row_is_older_than_a_training_row() -> None:
    data = _dated()
    train, test = time_split(data)
    assert train.times.max() < test.times.min()
    train, test = tail_split(data)
    for user in range(data.user_count):
        assert train.times[train.users == user].max() <= test.times[test.users == user].min()
