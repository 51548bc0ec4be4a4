"""The learned order of candidates: LightGBM LambdaRank on rank features, deterministic, kept as text.

Source: C. Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.candidates import FEATURES, Pool, Sources, candidates
from ai_assets.recommendation_update.histories import WINDOW
from ai_assets.recommendation_update.native_ranker import NativeRanker

if TYPE_CHECKING:
    import pandas as pd

ROUNDS = 120
PARAMETERS = {
    "objective": "lambdarank",
    "metric": "ndcg",
    "eval_at": [10],
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 100,
    "lambdarank_truncation_level": 25,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
    "seed": 0,
}


def training_rows(
    sources: Sources,
    listener: str,
    history: NDArray[np.int64],
    later: NDArray[np.int64],
    mask: NDArray[np.bool_],
    size: int,
) -> pd.DataFrame:
    """Candidates of one listener at one date with features and label (1 = played for the first time afterwards).

    `relevant` is the number of distinct tracks in `later`, also of those that are no candidates.
    `sources` must have been fitted before that date, so that no feature knows the label.
    """
    import pandas as pd

    own = mask.copy()
    own[history] = False
    pool: Pool = candidates(sources, history[-WINDOW:], own, size)
    frame = pd.DataFrame(pool.features, columns=list(FEATURES))
    frame.insert(0, "listener", listener)
    frame.insert(1, "item", pool.items)
    frame["label"] = np.isin(pool.items, later).astype(np.int64)
    frame["relevant"] = len(np.unique(later))
    return frame


def fit_ranker(rows: pd.DataFrame, *, rounds: int = ROUNDS) -> str:
    """Fit on rows of `training_rows`, one listener's at one date after another; returns LightGBM's text.

    A list is a run of rows of one listener (and one `window`, where there is one); `weight` counts where it is there.
    """
    import lightgbm as lgb

    names = [name for name in ("listener", "window") if name in rows]
    starts = np.flatnonzero((rows[names] != rows[names].shift()).any(axis=1).to_numpy())
    weight = rows["weight"].to_numpy(float) if "weight" in rows else None
    data = lgb.Dataset(rows[list(FEATURES)].to_numpy(np.float32), rows["label"].to_numpy(), weight=weight,
                       group=np.diff([*starts, len(rows)]), feature_name=list(FEATURES),
                       free_raw_data=False)  # fmt: skip
    return str(lgb.train(PARAMETERS, data, num_boost_round=rounds).model_to_string())


def feature_gains(text: str) -> dict[str, float]:
    """Total gain of every feature over all splits."""
    import lightgbm as lgb

    gains = lgb.Booster(model_str=text).feature_importance("gain")
    return dict(zip(FEATURES, gains.tolist(), strict=True))


def load_ranker(text: str) -> NativeRanker:
    """The model of a text. Raises ValueError where it is none."""
    return NativeRanker(text)


def predict(ranker: NativeRanker, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) scores, higher is better."""
    return ranker.predict(features)


def contributions(ranker: NativeRanker, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, len(FEATURES) + 1) TreeSHAP contributions; each row sums to its score (Lundberg et al., 2020)."""
    return ranker.predict(features, contributions=True)
