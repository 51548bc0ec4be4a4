"""The one module every surface asks: recommendations for a history, tracks similar to a track.

A `QuerySnapshot` is loaded from a serving generation and never changes. Answering needs numpy (and LightGBM's
library where a ranking model exists); neither torch nor MLflow. Which tracks may be shown is decided by `rules` alone.
"""

from __future__ import annotations

import json
import logging
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
from ai_assets.recommendation_update.candidates import FEATURES, Sources, candidates
from ai_assets.recommendation_update.diversity import diversify
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.native_ranker import NativeRanker
from ai_assets.recommendation_update.overlay import Room
from ai_assets.recommendation_update.reasons import reasons_for
from ai_assets.recommendation_update.recordings import group_codes, song_keys
from ai_assets.recommendation_update.retrieval import IndexSearch, item_codes
from ai_assets.recommendation_update.rules import ChangedColumns, Columns, Mask, Rule, RuleColumns, allowed_mask
from ai_assets.recommendation_update.serving_folder import check_digests, usable_folders
from resources.vector_index.delta import LiveIndex
from resources.vector_index.generation import EXACT_BELOW

log = logging.getLogger(__name__)

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
        base: the generation as it was written, where this snapshot has later changes (`overlay`); touched: item codes
            of the changed tracks; sequence: of the last change; more: names of tracks that the base does not know.
        hubs: what `similar` takes from the cosines of each track of the generation, where hubs are strong.
    """

    name: str
    catalogue: Mapping[str, NDArray[Any]]
    sources: Sources
    ranker: str | None
    facts: Mapping[str, Any]
    codes: Mapping[str, int] = field(repr=False, default_factory=dict)
    rules: tuple[Rule, ...] = ()
    base: QuerySnapshot | None = field(default=None, repr=False)
    touched: Codes = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    sequence: int = -1
    more: TrackMatcher = field(default_factory=TrackMatcher, repr=False)
    rooms: Mapping[str, Room] = field(default_factory=dict, repr=False)
    hubs: NDArray[np.float32] | None = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: Path, rules: Sequence[Rule] | None = None, *, verify: bool = False) -> QuerySnapshot | None:
        """The current generation below `indices/serving`, or None where there is none yet.

        A generation that cannot be read is passed over, with a warning, for the newest one that can.

        Args:
            rules: the rules of today; by default those for all listeners that held when the generation was written.
            verify: compare every file with its digest.

        Raises:
            ValueError: there are generations, and none of them can be read.
        """
        folders = usable_folders(folder)
        for current in folders:
            try:
                if verify:
                    check_digests(current)
                return cls._read(current, rules)
            except (OSError, ValueError, KeyError) as error:
                log.warning("serving generation %s cannot be read: %s", current.name, error)
        if folders:
            raise ValueError(f"no serving generation in {folder} can be read: run ai-assets run to make a new one")
        return None

    @classmethod
    def _read(cls, current: Path, rules: Sequence[Rule] | None) -> QuerySnapshot:
        import pyarrow.parquet as pq

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
        sequence = int(facts.get("external_sequence", -1))
        hubs = arrays.get("hubs")
        return cls(current.name, columns, sources, text, facts, codes, tuple(held), sequence=sequence, hubs=hubs)

    def with_rules(self, rules: Sequence[Rule]) -> QuerySnapshot:
        """The same generation under other rules; what is already loaded is shared."""
        other = replace(self, rules=tuple(rules))
        known = {item.name for item in fields(self)}
        vars(other).update({name: value for name, value in vars(self).items() if name not in known})
        return other

    def allowed(self, listener: str | None = None, day: date | None = None) -> Mask:
        """(items,) True where a track may be shown to this listener (pseudonym; None = nobody known) on this day."""
        return allowed_mask(self.rule_columns, self.rules, listener=listener, day=day)

    def with_indices(self, content: LiveIndex | None, tower: LiveIndex | None) -> QuerySnapshot:
        """The same snapshot that asks indices in large catalogues; None = none of the models' vectors."""
        outputs = self.sources.tower.outputs if self.sources.tower is not None else None
        sources = replace(
            self.sources,
            content_index=self._searched(content, self.sources.content),
            tower_index=self._searched(tower, outputs),
        )
        kept = ("by_plays", "fold_in", "ials_search", "content_norms")
        vars(sources).update({name: value for name, value in vars(self.sources).items() if name in kept})
        other = replace(self, sources=sources)
        held = ("rule_columns", "matcher", "artist_codes", "song_codes", "songs", "booster", "index_rows")
        vars(other).update({name: value for name, value in vars(self).items() if name in held})
        return other

    def _searched(self, live: LiveIndex | None, vectors: NDArray[np.float32] | None) -> IndexSearch | None:
        if live is None or live.base is None or vectors is None:
            return None
        root = self.base or self
        key = str(live.base.folder)
        if key not in root.index_rows:
            if len(root.index_rows) > 8:
                root.index_rows.clear()
            root.index_rows[key] = item_codes(live.base.ids.tolist(), root.codes)
        return IndexSearch.of(live, root.index_rows[key], self.codes, vectors)

    @cached_property
    def index_rows(self) -> dict[str, Codes]:
        """Item codes of the rows of the indices that were asked, by folder: found once per generation."""
        return {}

    @property
    def large(self) -> bool:
        """Whether the catalogue is large enough to ask indices."""
        return len(self.codes) >= EXACT_BELOW

    @property
    def embedding(self) -> str | None:
        """Version of the embedding that `sources.content` is of, None where the home has none."""
        return self.facts.get("embedding")

    @cached_property
    def rule_columns(self) -> Columns:
        """The catalogue as rules read it."""
        if self.base is None:
            return RuleColumns.of(self.catalogue)
        changed = {name: column[self.touched] for name, column in self.catalogue.items()}
        return ChangedColumns(self.base.rule_columns, RuleColumns.of(changed), self.touched)

    def hub_penalty(self, items: Codes) -> NDArray[np.float32] | float:
        """What is taken from the cosines of these tracks; of tracks newer than the generation, the mean."""
        if self.hubs is None:
            return 0.0
        known = np.minimum(items, len(self.hubs) - 1)
        return np.where(items < len(self.hubs), self.hubs[known], self.hubs.mean()).astype(np.float32)

    @cached_property
    def artist_codes(self) -> dict[str, int]:
        """Artist code by name."""
        return dict(zip(self.catalogue["artist"].tolist(), self.sources.artists.tolist(), strict=True))

    @cached_property
    def songs(self) -> Codes:
        """(items,) group codes: versions of one song share theirs."""
        if self.base is None:
            keys = self.catalogue.get("song")
            held = song_keys(self.catalogue["title"], self.catalogue["artist"]) if keys is None else keys.tolist()
            return group_codes(held, self.song_codes)
        codes = np.concatenate([self.base.songs, np.zeros(len(self.codes) - len(self.base.codes), np.int64)])
        titles, artists = (self.catalogue[name][self.touched] for name in ("title", "artist"))
        codes[self.touched] = group_codes(song_keys(titles, artists), self.base.song_codes)
        return codes

    @cached_property
    def albums(self) -> Codes:
        """(items,) codes of albums: one title in one folder, or by one artist; -1 where a track is on none."""
        if self.base is None:
            return self._albums_of(np.arange(len(self.sources.plays)))
        new = len(self.sources.plays) - len(self.base.sources.plays)
        codes = np.concatenate([self.base.albums, np.full(new, -1)])
        codes[self.touched] = self._albums_of(self.touched)
        return codes

    def _albums_of(self, items: Codes) -> Codes:
        columns = (self.catalogue["album"][items], self.catalogue["path"][items], self.sources.artists[items])
        known = (self.base or self).album_codes
        codes = np.full(len(items), -1)
        for place, (album, path, artist) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            if isinstance(album, str) and album:
                folder = path.rpartition("/")[0] if isinstance(path, str) else ""
                codes[place] = known.setdefault((album, folder or artist), len(known))
        return codes

    @cached_property
    def album_codes(self) -> dict[tuple[str, str | int], int]:
        """Code by album and folder or artist, shared by the snapshots of a generation; codes are only ever added."""
        return {}

    @cached_property
    def song_codes(self) -> dict[str, int]:
        """Group code by song, shared by the snapshots of a generation; codes are only ever added."""
        return {}

    @cached_property
    def booster(self) -> NativeRanker | None:
        """The ranking model, or None."""
        if self.base is not None:
            return self.base.booster
        if not self.ranker:
            return None
        loaded = ranking.load_ranker(self.ranker)
        if loaded.features != len(FEATURES):
            log.warning(
                "the ranking model of %s reads other features; retrieval answers until it is retrained", self.name
            )
            return None
        return loaded

    @cached_property
    def matcher(self) -> TrackMatcher:
        """Finds tracks of the generation by id, path or "artist - title"."""
        if self.base is not None:
            return self.base.matcher
        matcher = TrackMatcher()
        names = ("track", "root", "path", "artist", "title")
        for row in zip(*(self.catalogue[name] for name in names), strict=True):
            matcher.add(dict(zip(names, row, strict=True)), None)
        return matcher

    def find(self, reference: str, mbid: str | None = None) -> int | None:
        """Item code of a track named by id, the caller's id, path or "artist - title"; None for none or several."""
        if reference in self.codes and mbid is None:
            return self.codes[reference]
        found = {track for finder in (self.more, self.matcher) if (track := finder.find(reference, mbid)) is not None}
        return self.codes.get(found.pop()) if len(found) == 1 else None


def recommend(
    snapshot: QuerySnapshot,
    history: History | Sequence[Play],
    k: int,
    *,
    heard: bool = False,
    day: date | None = None,
    ranked: bool = True,
) -> tuple[list[Recommended], bool]:
    """The k best tracks for a history, best first, and whether the listener is cold.

    Args:
        history: empty for a listener never seen: then popular tracks, and cold.
        heard: allow tracks that were already heard.
        day: whose seasonal rules hold; today (UTC) by default.
        ranked: False leaves the ranking model out (an arm of experiments).
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
    scores = _scores(snapshot, known.recent, pool.items, pool.features if ranked else None, pool.fused)
    chosen = diversify(
        pool.items, scores, snapshot.sources.diversity_vectors, snapshot.sources.artists, k, songs=snapshot.songs,
        albums=snapshot.albums,
    )  # fmt: skip
    items = np.array([item for item, _ in chosen], np.int64)
    titles, artists = snapshot.catalogue["title"], snapshot.catalogue["artist"]
    reasons = reasons_for(snapshot.sources, known.recent, items, titles, artists)
    answers = [
        Recommended(item, score, tuple(sentences)) for (item, score), sentences in zip(chosen, reasons, strict=True)
    ]
    return answers, cold


def _scores(
    snapshot: QuerySnapshot,
    codes: Codes,
    items: Codes,
    features: NDArray[np.float32] | None,
    fused: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Scores in [0, 1] within the pool: the ranking model's, blended with popularity for the first events."""
    if len(codes) == 0 or features is None or snapshot.booster is None:
        learned = fused.astype(float)
    else:
        learned = ranking.predict(snapshot.booster, features)
    return blended(learned, snapshot.sources.plays[items].astype(float), len(codes))


def blended(learned: NDArray[np.float64], plays: NDArray[np.float64], events: int) -> NDArray[np.float64]:
    """What was learned, mixed with popularity for a listener's first events; scores in [0, 1].

    Args:
        learned, plays: (n,) scores and numbers of plays of the same tracks.
        events: of the listener so far; from `WARM_EVENTS` on popularity counts for nothing.
    """
    warm = min(events / WARM_EVENTS, 1.0)
    return warm * _unit(learned) + (1.0 - warm) * _unit(np.log1p(plays))


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values from 1 (best) down to 0, distances kept: places instead would make the best ten all but equal."""
    spread = float(np.ptp(values)) if len(values) else 0.0
    return (values - values.min()) / spread if spread else np.ones(len(values))


def similar(
    snapshot: QuerySnapshot, item: int, k: int, *, listener: str | None = None, day: date | None = None
) -> list[tuple[int, float]]:
    """The k tracks most alike in sound (by listening, where the track has no audio), best first, with cosines.

    Other versions of the same song are left out, and of each song one version at most is named. Tracks that are near
    to everything (`hubness`) stand further down than their cosine says.
    """
    sources = snapshot.sources
    by_sound = True
    vectors, norms, search = sources.content, sources.content_norms, sources.content_search
    if vectors is None or norms is None or not norms[item]:
        vectors = sources.tower.outputs if sources.tower is not None else None
        norms, search, by_sound = sources.tower_norms, sources.tower_search, False
    if vectors is None or norms is None or search is None:
        return []
    if not norms[item]:
        return []  # neither heard by anybody nor audible: nothing is like it
    mask = snapshot.allowed(listener, day) & (norms > 0)
    mask[snapshot.songs == snapshot.songs[item]] = False
    wanted = 2 * k + 10
    while True:
        found = np.sort(search.best(vectors[item : item + 1], mask, wanted)[0])
        cosines = (vectors[found] @ vectors[item]) / np.maximum(norms[found] * norms[item], 1e-12)
        order = np.lexsort((found, -(cosines - snapshot.hub_penalty(found) if by_sound else cosines)))
        order = order[np.sort(np.unique(snapshot.songs[found[order]], return_index=True)[1])]
        if len(order) >= k or len(found) < wanted:
            return [(int(found[place]), float(cosines[place])) for place in order[:k]]
        wanted *= 2
