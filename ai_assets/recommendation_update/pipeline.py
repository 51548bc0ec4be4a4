"""The whole pipeline as one model with `fit` and `scores`, for judging it on any table beside other models.

Candidates from two-tower, iALS and popularity, ordered by a ranker that is trained and gated on later rows than the
retrievers it reads knew. Where the gate finds no sure gain, retrieval alone is the answer, as on the platform: with the
last events counted apart (`recent`), or the fusion of tower and iALS on whole histories (`plain`), whichever named more
of those later rows. Without times there are no last events, and nothing is fused but whole histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.ials import IalsConfig
from ai_assets.model_training.interactions import Codes, Histories, Interactions
from ai_assets.model_training.listening import Collaborative, first_plays, fit
from ai_assets.model_training.splits import random_split, time_split
from ai_assets.model_training.two_tower import TowerConfig
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import list_ndcg, retrieval_scores
from ai_assets.recommendation_update.candidates import CONSTANT, FEATURES, Sources, candidates
from ai_assets.recommendation_update.histories import WINDOW
from ai_assets.recommendation_update.native_ranker import NativeRanker

if TYPE_CHECKING:
    import pandas as pd

CANDIDATES = 200
EARLY_SHARE, GATE_SHARE = 0.4, 0.5
LEAST_POSITIVES = 20


@dataclass(frozen=True)
class Pipeline:
    """Fitted retrievers, and the ranking model's text where it passed its gate.

    Attributes:
        retrieval: how candidates are ordered without a ranking model.
        gain: 95 % interval of the ranker's NDCG@10 over retrieval on the gate's rows; None where nothing was judged.
    """

    sources: Sources
    ranker: str | None
    retrieval: Literal["recent", "plain"] = "recent"
    gain: tuple[float, float] | None = None
    name: str = "pipeline"

    @cached_property
    def booster(self) -> NativeRanker | None:
        return ranking.load_ranker(self.ranker) if self.ranker else None

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(users, items): candidates in the order of the pipeline, above all else; below them the most played first.

        Heard items are no candidates.
        """
        items = len(self.sources.plays)
        rest = np.empty(items, np.float32)
        rest[self.sources.by_plays] = -np.arange(items, dtype=np.float32) / max(items, 1)
        found = np.tile(rest, (len(histories), 1))
        for row, history in enumerate(histories):
            codes = np.asarray(history, np.int64)
            mask = np.ones(items, bool)
            mask[codes] = False
            pool = candidates(self.sources, codes[-WINDOW:], mask, CANDIDATES)
            values = pool.fused.astype(float) if self.retrieval == "recent" else plain_fusion(pool.features)
            if self.booster is not None and len(codes):
                values = ranking.predict(self.booster, pool.features)
            order = np.lexsort((pool.items, -values))
            found[row, pool.items[order]] = 1.0 + np.arange(len(order), 0, -1)
        return found


def fit_pipeline(
    data: Interactions, *, seed: int = 0, settings: tuple[TowerConfig, IalsConfig] | None = None
) -> Pipeline:
    """Fit retrievers and ranker; deterministic by seed.

    Rows with times are cut at two dates: retrievers of the first 60 % give candidates labelled with the next 20 % (the
    ranker learns), retrievers of the first 80 % such with the last 20 % (the gate decides). Rows without times are cut
    at random in the same shares.
    """
    import pandas as pd

    early, middle, late = _parts(data, seed)
    known = _joined(early, middle)
    learn, judge = _rows(early, middle, seed, settings), _rows(known, late, seed, settings)
    ranker, gain = None, None
    retrieval: Literal["recent", "plain"] = "plain"
    if int(learn["label"].sum()) >= LEAST_POSITIVES and judge["label"].any():
        alone = list_ndcg(judge, plain_fusion(judge[list(FEATURES)].to_numpy(np.float32)))
        if _timed(data):
            recent = list_ndcg(judge, retrieval_scores(judge))
            if np.nanmean(recent) > np.nanmean(alone):
                alone, retrieval = recent, "recent"
        trial = ranking.load_ranker(ranking.fit_ranker(learn))
        predicted = ranking.predict(trial, judge[list(FEATURES)].to_numpy(np.float32))
        gain = paired_bootstrap(list_ndcg(judge, predicted) - alone)
        if gain[0] > 0:
            ranker = ranking.fit_ranker(pd.concat([learn, judge], ignore_index=True))
    model, _ = fit(data, seed=seed, settings=settings)
    return Pipeline(collaborative_sources(model, data), ranker, retrieval, gain)


def plain_fusion(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Reciprocal rank fusion of tower and iALS on whole histories, from the features of candidates."""
    places = features[:, [FEATURES.index("rank_tower"), FEATURES.index("rank_ials")]].astype(float)
    return np.asarray(np.nan_to_num(1.0 / (CONSTANT + 1.0 + places)).sum(1))


def collaborative_sources(model: Collaborative, data: Interactions) -> Sources:
    """Sources without a catalogue: plays are rows, every item is its own artist."""
    plays = np.bincount(data.items, minlength=data.item_count).astype(np.float32)
    return Sources(plays=plays, artists=np.arange(data.item_count), tower=model.tower, ials=model.ials)


def _parts(data: Interactions, seed: int) -> tuple[Interactions, Interactions, Interactions]:
    if _timed(data):
        early, rest = time_split(data, EARLY_SHARE)
        middle, late = time_split(rest, GATE_SHARE)
        return early, middle, late
    early, middle, late = random_split(data, (0.6, 0.2, 0.2), seed=seed)
    return early, middle, late


def _timed(data: Interactions) -> bool:
    return bool(len(data)) and float(np.ptp(data.times)) > 0


def _joined(first: Interactions, second: Interactions) -> Interactions:
    return Interactions(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        np.concatenate([first.times, second.times]),
        np.concatenate([first.weights, second.weights]),
        first.user_ids,
        first.item_ids,
    )


def _rows(
    before: Interactions, after: Interactions, seed: int, settings: tuple[TowerConfig, IalsConfig] | None
) -> pd.DataFrame:
    """Candidates of everybody who has a history and plays something new afterwards."""
    import pandas as pd

    columns = ["listener", "item", *FEATURES, "label", "relevant"]
    labels = first_plays(before, after)
    if not len(before) or not len(labels):
        return pd.DataFrame(columns=columns)
    model, _ = fit(before, seed=seed, settings=settings)
    sources = collaborative_sources(model, before)
    later: dict[int, Codes] = {int(user): labels.items[labels.users == user] for user in np.unique(labels.users)}
    mask = np.ones(before.item_count, bool)
    frames = [
        ranking.training_rows(sources, str(before.user_ids[user]), history, later[user], mask, CANDIDATES)
        for user, history in enumerate(before.histories())
        if user in later and len(history)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
