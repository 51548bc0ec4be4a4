"""The collaborative model of a home: what it is fitted on, how it is judged, what lies in its folder.

Judged on the days after one date: the model is fitted on what was known before, and must name the tracks that a
listener plays for the first time afterwards. What is registered is fitted on everything; the judged twin lies beside it
(`judged/`), so that a later candidate is compared with it on newer days that neither has seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics
from ai_assets.model_training.distributed import Launch, fit_two_tower_distributed
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.groups import activity, judged_by_group, popularity
from ai_assets.model_training.guards import list_guards, paired_speed
from ai_assets.model_training.ials import Ials, IalsConfig, fit_ials, half_step
from ai_assets.model_training.interactions import Codes, Interactions
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.model_training.splits import time_split
from ai_assets.model_training.training_run import Trained
from ai_assets.model_training.two_tower import TowerConfig, TwoTower, fit_two_tower

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

K = 10
SPEED_LISTENERS = 200
LEAST_LISTENERS, LEAST_ROWS = 5, 50
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Collaborative:
    """Two-tower and iALS over the same tracks, fused by rank."""

    tracks: NDArray[np.str_]
    tower: TwoTower
    ials: Ials

    def scores(self, histories: list[Codes]) -> NDArray[np.float32]:
        """(users, tracks) fused scores of histories."""
        return reciprocal_rank_fusion([self.tower.scores(histories), self.ials.scores(histories)])

    def save(self, folder: Path) -> None:
        self.tower.save(folder)
        self.ials.save(folder)
        (folder / "tracks.json").write_text(json.dumps(self.tracks.tolist()))

    @classmethod
    def load(cls, folder: Path) -> Collaborative:
        tracks = np.array(json.loads((folder / "tracks.json").read_text()), dtype=str)
        return cls(tracks, TwoTower.load(folder), Ials.load(folder))


def listening_data(interactions: pd.DataFrame) -> Interactions:
    """Rows of `interactions` with a positive strength; time is the last play of the day."""
    rows = interactions[interactions["strength"] > 0]
    times = rows["last_played_at"].to_numpy("datetime64[us]").astype("int64") / 1e6
    frame = rows[["listener", "track", "strength"]].assign(time=times)
    return Interactions.of(frame, user="listener", item="track", weight="strength")


def configs(data: Interactions) -> tuple[TowerConfig, IalsConfig]:
    """Sizes that fit the data: small catalogues need few dimensions and more passes."""
    dim = 64 if data.item_count >= 1_000 else 32
    epochs = 40 if len(data) < 200_000 else 20
    batch = 256 if data.user_count >= 1_000 else 64
    return TowerConfig(dim=dim, epochs=epochs, batch=batch), IalsConfig(dim=dim)


def with_settings(
    standard: tuple[TowerConfig, IalsConfig], chosen: Mapping[str, Any]
) -> tuple[TowerConfig, IalsConfig]:
    """The standard configurations with the values of a study: `tower.NAME` and `ials.NAME`.

    Raises ValueError for a name that neither has.
    """
    parts: dict[str, dict[str, Any]] = {"tower": {}, "ials": {}}
    for name, value in chosen.items():
        part, _, field = name.partition(".")
        if part not in parts or field not in vars(standard[part == "ials"]):
            raise ValueError(f"no setting is called {name!r}")
        parts[part][field] = value
    return replace(standard[0], **parts["tower"]), replace(standard[1], **parts["ials"])


def fit(
    data: Interactions,
    *,
    seed: int = 0,
    settings: tuple[TowerConfig, IalsConfig] | None = None,
    place: Path | None = None,
    launch: Launch | None = None,
) -> tuple[Collaborative, list[float]]:
    """Fit both models; returns the training losses of the tower beside them.

    Args:
        place: folder in which an interrupted training of the tower is resumed.
        launch: train the tower on several processes (needs `place`).
    """
    tower_config, ials_config = settings or configs(data)
    if launch is not None and place is not None and launch.processes * launch.nodes > 1:
        tower = fit_two_tower_distributed(data, place, launch, seed=seed, config=tower_config)
    else:
        tower = fit_two_tower(data, seed=seed, config=tower_config, checkpoints=place)
    return Collaborative(data.item_ids, tower, fit_ials(data, seed=seed, config=ials_config)), list(tower.losses)


def first_plays(before: Interactions, after: Interactions) -> Interactions:
    """Rows of `after` whose listener had not played that track before."""
    known = before.matrix()
    new = np.asarray(known[after.users, after.items]).ravel() == 0 if len(after) else np.empty(0, bool)
    return after.take(new)


def over_tracks(data: Interactions, tracks: NDArray[np.str_]) -> Interactions:
    """The same rows over other item ids, in their order; rows of items that are not among them are left out."""
    place = {str(track): code for code, track in enumerate(tracks)}
    codes = np.array([place.get(str(track), -1) for track in data.item_ids], np.int64)[data.items]
    kept = data.take(codes >= 0)
    return replace(kept, items=codes[codes >= 0], item_ids=tracks)


def train_collaborative(
    interactions: pd.DataFrame,
    folder: Path,
    *,
    place: Path | None = None,
    launch: Launch | None = None,
    tuned: Mapping[str, Any] | None = None,
) -> Trained | str:
    """Fit, judge and save; or a sentence that says why there is too little to learn from.

    Args:
        place: folder for checkpoints; a training that was killed goes on from there, a finished one leaves nothing.
        launch: processes and machines of the training; None trains in this process.
        tuned: the best configuration of a study (`tuning`), None for the defaults.
    """
    data = listening_data(interactions)
    if data.user_count < LEAST_LISTENERS or len(data) < LEAST_ROWS:
        return (
            f"a listening model needs at least {LEAST_LISTENERS} listeners and {LEAST_ROWS} rows, there are "
            f"{data.user_count} and {len(data)}"
        )
    before, after = time_split(data, TEST_SHARE)
    test = first_plays(before, after)
    settings = None if tuned is None else with_settings(configs(data), tuned)
    judged, _ = fit(before, settings=settings, launch=launch, place=place and place / "judged")
    final, losses = fit(data, settings=settings, launch=launch, place=place and place / "final")
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)
    final.save(folder)
    judged.save(folder / "judged")
    (folder / "config.json").write_text(
        json.dumps(
            {"ials": asdict(final.ials.config), "until": float(before.times.max()), "seen": float(data.times.max())},
            sort_keys=True,
        )
    )
    return _judged(data, before, test, judged, final, losses)


def _judged(
    data: Interactions, before: Interactions, test: Interactions, judged: Collaborative, final: Collaborative,
    losses: list[float],
) -> Trained:  # fmt: skip
    """What the twin that knows `before` is worth on `test`, beside its parts and beside a champion."""
    histories, seen, relevant = before.histories(), before.matrix(), test.matrix()

    def lists(scores: NDArray[np.float32]) -> NDArray[np.int64]:
        return metrics.top_k(scores, K, seen=seen)

    def ndcg(scores: NDArray[np.float32]) -> NDArray[np.float64]:
        return metrics.evaluate(lists(scores), relevant)["ndcg"]

    ranked = lists(judged.scores(histories))
    fused = metrics.evaluate(ranked, relevant)
    parts = {
        "popularity": ndcg(fit_popularity(before).scores(histories)),
        "two_tower": ndcg(judged.tower.scores(histories)),
        "ials": ndcg(judged.ials.scores(histories)),
    }
    plays = np.asarray(seen.sum(0)).ravel().astype(float)

    def champion(other: Path) -> NDArray[np.float64] | None:
        scores = champion_scores(other, before)
        return None if scores is None else ndcg(scores)

    def guards(other: Path) -> dict[str, tuple[float, float]]:
        scores = champion_scores(other, before)
        return {} if scores is None else _guards(judged, other, (ranked, lists(scores)), before, relevant)

    return Trained(
        main_metric="ndcg_at_10",
        scores=fused["ndcg"],
        champion_scores=champion,
        guards=guards,
        metrics={
            **{f"{name}_at_10": _mean(values) for name, values in fused.items()},
            **list_guards(ranked, relevant, plays),
        },
        baselines={f"ndcg_at_10_{name}": _mean(values) for name, values in parts.items()},
        groups=judged_by_group(
            ranked, relevant, users=activity(np.diff(seen.indptr).astype(np.int64)), items=popularity(plays)
        ),
        params={
            "listeners": data.user_count,
            "tracks": data.item_count,
            "rows": len(data),
            **asdict(final.tower.config),
        },
        curve={"loss": losses},
        card=_card(data, test),
        signature=(np.zeros((1, data.item_count), np.float32), np.zeros((1, data.item_count), np.float32)),
        input_example=np.asarray(seen[:1].todense(), np.float32),
    )


def _guards(
    judged: Collaborative,
    other: Path,
    lists: tuple[NDArray[np.int64], NDArray[np.int64]],
    before: Interactions,
    relevant: csr_matrix,
) -> dict[str, tuple[float, float]]:
    """Coverage, novelty, cold items and speed of this model and of the champion's judged twin."""
    plays = np.asarray(before.matrix().sum(0)).ravel().astype(float)
    ours, theirs = (list_guards(ranked, relevant, plays) for ranked in lists)
    standing, some = Collaborative.load(other / "judged"), before.histories()[:SPEED_LISTENERS]
    known = [part[part < len(standing.tracks)] for part in some]
    speed = paired_speed(
        lambda: judged.scores(some), lambda: standing.scores(known),
        work=(len(some) * len(judged.tracks), len(some) * len(standing.tracks)),
    )  # fmt: skip
    return {name: (ours[name], theirs[name]) for name in ours} | {"pairs_per_second": speed}


def champion_scores(folder: Path, before: Interactions) -> NDArray[np.float32] | None:
    """Scores of the champion's judged twin for today's histories; None when it has seen days that judge today.

    Where the champion's items were brought up to date since (`item_update`), so are the twin's, with `before`.
    """
    facts = json.loads((folder / "config.json").read_text())
    if facts["until"] > before.times.max():
        return None
    standing = Collaborative.load(folder / "judged")
    if facts.get("stepped"):
        standing = replace(standing, ials=half_step(standing.ials, over_tracks(before, standing.tracks)))
    place = {track: code for code, track in enumerate(standing.tracks)}
    known = np.array([place.get(str(track), -1) for track in before.item_ids])
    histories = [known[part][known[part] >= 0] for part in before.histories()]
    scores = np.full((before.user_count, before.item_count), -1e9, np.float32)
    scores[:, known >= 0] = standing.scores(histories)[:, known[known >= 0]]
    return scores


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _card(data: Interactions, test: Interactions) -> str:
    return (
        "# collaborative_model\n\nTwo-tower model and iALS, fused by reciprocal rank.\n\n"
        f"- data: {len(data):,} listener-track-days of {data.user_count:,} listeners and {data.item_count:,} tracks\n"
        f"- judged on the last {TEST_SHARE:.0%} of rows (one date for all): {len(test):,} first plays, full ranking\n"
        "- limits: tracks without plays are unknown to it; those come from the sound (content index)\n"
    )
