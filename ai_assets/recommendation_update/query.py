"""The one module every surface asks: recommendations for a history, tracks similar to a track.

A `QuerySnapshot` is loaded from a serving generation and never changes. Answering needs numpy (and LightGBM's
library where a ranking model exists); neither torch nor MLflow. Which tracks may be shown is decided by `rules` alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.track_matching import TrackMatcher
from ai_assets.model_training.ials import Ials, IalsConfig
from ai_assets.model_training.two_tower import TowerConfig, TwoTower
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.candidates import Sources, candidates
from ai_assets.recommendation_update.diversity import diversify
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.native_ranker import NativeRanker
from ai_assets.recommendation_update.reasons import reasons_for
from ai_assets.recommendation_update.rules import Mask, Rule, RuleColumns, allowed_mask
from ai_assets.recommendation_update.serving_folder import current_folder

Codes = NDArray[np.int64]
WARM_EVENTS = 20
CANDIDATES = 200


@dataclass(frozen=True)
class Recommended:
    """One answer: item code, score, reasons in words."""

    item: int
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class QuerySnapshot:
    """Everything an answer needs, immutable.

    Attributes:
        catalogue: column name -> array, in the order of item codes.
        sources: the models' arrays.
        ranker: LightGBM text, or None.
        facts: the manifest of the generation.
        rules: the rules that hold; every mask comes from `allowed`.
    """

    name: str
    catalogue: Mapping[str, NDArray[Any]]
    sources: Sources
    ranker: str | None
    facts: Mapping[str, Any]
    codes: Mapping[str, int] = field(repr=False, default_factory=dict)
    rules: tuple[Rule, ...] = ()

    @classmethod
    def load(cls, folder: Path, rules: Sequence[Rule] | None = None) -> QuerySnapshot | None:
        """The current generation below `indices/serving`, or None where there is none yet.

        Args:
            rules: the rules of today; by default those for all listeners that held when the generation was written.
        """
        import pyarrow.parquet as pq

        current = current_folder(folder)
        if current is None:
            return None
        table = pq.read_table(current / "catalogue.parquet")
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
        with np.load(current / "model.npz", allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        ranker = current / "ranker.txt"
        facts = json.loads((current / "manifest.json").read_text())
        sources = Sources(
            plays=columns["plays"].astype(np.float32),
            artists=np.unique(columns["artist"].astype(str), return_inverse=True)[1],
            tower=TwoTower(arrays["tower_inputs"], arrays["tower_outputs"], TowerConfig())
            if "tower_inputs" in arrays
            else None,
            ials=Ials(arrays["ials_items"], IalsConfig(**facts["ials_config"])) if "ials_items" in arrays else None,
            content=arrays.get("content"),
        )
        codes = {str(track): code for code, track in enumerate(columns["track"])}
        text = ranker.read_text() if ranker.exists() else None
        held = [Rule(**row) for row in facts.get("rules", ())] if rules is None else rules
        return cls(current.name, columns, sources, text, facts, codes, tuple(held))

    def with_rules(self, rules: Sequence[Rule]) -> QuerySnapshot:
        """The same generation under other rules; what is already loaded is shared."""
        other = replace(self, rules=tuple(rules))
        known = {item.name for item in fields(self)}
        vars(other).update({name: value for name, value in vars(self).items() if name not in known})
        return other

    def allowed(self, listener: str | None = None, day: date | None = None) -> Mask:
        """(items,) True where a track may be shown to this listener (pseudonym; None = nobody known) on this day."""
        return allowed_mask(self.rule_columns, self.rules, listener=listener, day=day)

    @cached_property
    def rule_columns(self) -> RuleColumns:
        """The catalogue as rules read it."""
        return RuleColumns.of(self.catalogue)

    @cached_property
    def booster(self) -> NativeRanker | None:
        """The ranking model, or None."""
        return ranking.load_ranker(self.ranker) if self.ranker else None

    @cached_property
    def matcher(self) -> TrackMatcher:
        """Finds tracks by id, path or "artist - title"."""
        matcher = TrackMatcher()
        names = ("track", "root", "path", "artist", "title")
        for row in zip(*(self.catalogue[name] for name in names), strict=True):
            matcher.add(dict(zip(names, row, strict=True)), None)
        return matcher

    def find(self, reference: str) -> int | None:
        """Item code of a track, or None."""
        track = self.matcher.find(reference)
        return None if track is None else self.codes.get(track)


def recommend(
    snapshot: QuerySnapshot, history: History | Sequence[Play], k: int, *, heard: bool = False, day: date | None = None
) -> tuple[list[Recommended], bool]:
    """The k best tracks for a history, best first, and whether the listener is cold.

    Args:
        history: empty for a listener never seen: then popular tracks, and cold.
        heard: allow tracks that were already heard.
        day: whose seasonal rules hold; today (UTC) by default.
    """
    known = history if isinstance(history, History) else History.of(history)
    mask = snapshot.allowed(known.listener, day)
    mask[known.disliked] = False
    if not heard:
        mask[known.heard] = False
    cold = len(known) == 0
    if not mask.any():
        return [], cold
    pool = candidates(snapshot.sources, known.recent, mask, max(CANDIDATES, 2 * k))
    scores = _scores(snapshot, known.recent, pool.items, pool.features, pool.fused)
    chosen = diversify(pool.items, scores, snapshot.sources.diversity_vectors, snapshot.sources.artists, k)
    items = np.array([item for item, _ in chosen], np.int64)
    titles, artists = snapshot.catalogue["title"], snapshot.catalogue["artist"]
    reasons = reasons_for(snapshot.sources, known.recent, items, titles, artists)
    answers = [
        Recommended(item, score, tuple(sentences)) for (item, score), sentences in zip(chosen, reasons, strict=True)
    ]
    return answers, cold


def _scores(
    snapshot: QuerySnapshot, codes: Codes, items: Codes, features: NDArray[np.float32], fused: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Scores in [0, 1] within the pool: the ranking model's, blended with popularity for the first events."""
    if len(codes) == 0 or snapshot.booster is None:
        learned = fused.astype(float)
    else:
        learned = ranking.predict(snapshot.booster, features)
    warm = min(len(codes) / WARM_EVENTS, 1.0)
    popular = np.log1p(snapshot.sources.plays[items].astype(float))
    return warm * _unit(learned) + (1.0 - warm) * _unit(popular)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values from 1 (best) down to 0, distances kept: places instead would make the best ten all but equal."""
    spread = float(np.ptp(values)) if len(values) else 0.0
    return (values - values.min()) / spread if spread else np.ones(len(values))


def similar(
    snapshot: QuerySnapshot, item: int, k: int, *, listener: str | None = None, day: date | None = None
) -> list[tuple[int, float]]:
    """The k tracks most alike in sound (by listening, where the track has no audio), best first, with cosines."""
    vectors, norms = snapshot.sources.content, snapshot.sources.content_norms
    if vectors is None or norms is None or not norms[item]:
        vectors = snapshot.sources.tower.outputs if snapshot.sources.tower is not None else None
        if vectors is None:
            return []
        norms = np.linalg.norm(vectors, axis=1)
    if not norms[item]:
        return []  # neither heard by anybody nor audible: nothing is like it
    cosines = (vectors @ vectors[item]) / np.maximum(norms * norms[item], 1e-12)
    mask = snapshot.allowed(listener, day) & (norms > 0)
    mask[item] = False
    found = np.flatnonzero(mask)
    if len(found) > 4 * k:
        found = found[np.argpartition(-cosines[found], k)[: k + 1]]
    order = found[np.lexsort((found, -cosines[found]))][:k]
    return [(int(code), float(cosines[code])) for code in order]
