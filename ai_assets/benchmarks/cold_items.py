"""Items without a play: factors predicted from what is known of the items, judged among items held out with all plays.

A fifth of the items lose all their plays. iALS is fitted on the rest; ridge regression maps the items' facts (TF-IDF of
tags) to its factors; the held-out items get predicted factors and are ranked among themselves for every listener. The
strength of the ridge is chosen on a tenth of the other items, held out in the same way: nothing is tuned on what is
reported.

Source: Z. Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.benchmarks.labelled_audio import TableError
from ai_assets.model_training import metrics
from ai_assets.model_training.ials import Ials, IalsConfig, fit_ials
from ai_assets.model_training.interactions import Interactions, history_matrix

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

K = 10
COLD_SHARE, CHOOSING_SHARE = 0.2, 0.1
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)
MOST_STEPS, PRECISION = 500, 1e-6
Values = dict[str, NDArray[np.float64]]


def cold_items(data: Interactions, facts: csr_matrix, *, seed: int = 0, config: IalsConfig | None = None) -> Values:
    """NDCG@10 per listener among held-out items, by way: `random`, `oracle_popularity`, `cosine`, `ridge`.

    Args:
        facts: (items, features) rows of unit length, zeros where nothing is known; in the order of `data.item_ids`.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(data.item_count)
    cold = order[: round(data.item_count * COLD_SHARE)]
    warm = order[len(cold) :]
    choosing = warm[: round(data.item_count * CHOOSING_SHARE)]
    both = np.union1d(cold, choosing)
    first = _fit(data, both, seed, config)
    chosen = max(
        RIDGES,
        key=lambda strength: _mean(
            _judged(data, choosing, _users(first, data, both) @ _predicted(first, facts, both, choosing, strength).T)
        ),
    )
    model = _fit(data, cold, seed, config)
    users = _users(model, data, cold)
    plays = np.bincount(data.items, minlength=data.item_count)[cold].astype(np.float32)
    seen = history_matrix(_histories(data, cold), data.item_count)
    scores = {
        "random": rng.random((data.user_count, len(cold)), np.float32),
        "oracle_popularity": np.broadcast_to(plays, (data.user_count, len(cold))).copy(),
        "cosine": np.asarray((seen @ facts @ facts[cold].T).todense(), np.float32),
        "ridge": users @ _predicted(model, facts, cold, cold, chosen).T,
    }
    return {way: _judged(data, cold, values) for way, values in scores.items()}


def hetrec(folder: Path, *, least: int = 0) -> tuple[Interactions, csr_matrix]:
    """Plays and TF-IDF of tags of HetRec 2011 Last.fm-2k.

    Args:
        least: leave out artists with fewer listeners, and then those without a tag; 0 keeps every artist.

    Raises TableError where the folder does not hold its files.
    """
    import pandas as pd

    try:
        plays = pd.read_csv(folder / "user_artists.dat", sep="\t")
        tags = pd.read_csv(folder / "user_taggedartists.dat", sep="\t")
    except FileNotFoundError as error:
        raise TableError(f"{folder}: expected user_artists.dat and user_taggedartists.dat: {error}") from None
    if least:
        plays = plays[plays.groupby("artistID")["userID"].transform("nunique") >= least]
        plays = plays[plays["artistID"].isin(tags["artistID"])]
    data = Interactions.of(plays, user="userID", item="artistID", time=None)
    return data, tag_facts(tags, data.item_ids)


def tag_facts(tags: pd.DataFrame, item_ids: NDArray[np.str_]) -> csr_matrix:
    """(items, tags) TF-IDF rows of unit length from rows `artistID, tagID`; other items' tags are left out."""
    from scipy.sparse import csr_matrix, diags

    place = {name: code for code, name in enumerate(item_ids)}
    items = tags["artistID"].astype(str).map(place).to_numpy(float)
    known = np.isfinite(items)
    names, codes = np.unique(tags["tagID"].to_numpy()[known], return_inverse=True)
    counts = csr_matrix((np.ones(len(codes)), (items[known].astype(int), codes)), (len(item_ids), len(names)))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    held = np.maximum(counts.getnnz(0), 1)
    weighted = (counts @ diags(np.log(1.0 + len(item_ids) / held))).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return (diags(1.0 / np.maximum(lengths, 1e-12)) @ weighted).tocsr()


def _fit(data: Interactions, without: NDArray[np.int64], seed: int, config: IalsConfig | None) -> Ials:
    return fit_ials(data.take(~np.isin(data.items, without)), seed=seed, config=config)


def _histories(data: Interactions, without: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return data.take(~np.isin(data.items, without)).histories()


def _users(model: Ials, data: Interactions, without: NDArray[np.int64]) -> NDArray[np.float32]:
    return model.user_vectors(_histories(data, without))


def _predicted(
    model: Ials, facts: csr_matrix, without: NDArray[np.int64], wanted: NDArray[np.int64], strength: float
) -> NDArray[np.float32]:
    """(wanted, dim) factors from facts, by ridge regression over the items that have both."""
    known = np.setdiff1d(np.flatnonzero((model.items != 0).any(1) & (facts.getnnz(1) > 0)), without)
    rows = facts[known]
    mean = model.items[known].mean(0)
    weights = _ridge(rows, (model.items[known] - mean).astype(np.float64), strength)
    return np.asarray(facts[wanted] @ weights + mean, np.float32)


def _ridge(rows: csr_matrix, targets: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """(features, dim) weights of ridge regression by conjugate gradients, each column on its own."""
    found = np.zeros((rows.shape[1], targets.shape[1]))
    left = np.asarray(rows.T @ targets)
    step, size = left.copy(), (left * left).sum(0)
    for _ in range(MOST_STEPS):
        if size.max() <= PRECISION**2 * max(float((targets * targets).sum()), 1e-30):
            break
        image = rows.T @ (rows @ step) + strength * step
        length = size / np.maximum((step * image).sum(0), 1e-300)
        found += length * step
        left -= length * image
        before, size = size, (left * left).sum(0)
        step = left + size / np.maximum(before, 1e-300) * step
    return found


def _judged(data: Interactions, cold: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    relevant = data.matrix()[:, cold].tocsr()
    nothing = relevant.copy()
    nothing.data[:] = 0.0
    nothing.eliminate_zeros()
    return metrics.evaluate(metrics.top_k(scores, K, seen=nothing), relevant)["ndcg"]


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))
