"""The collaborative model of a home: what it is fitted on, how it is judged, what lies in its folder.

Judged on the days after one date: the model is fitted on what was known before, and must name the tracks that a
listener plays for the first time afterwards. What is registered is fitted on everything; the judged twin lies beside it
(`judged/`), so that a later candidate is compared with it on newer days that neither has seen.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.ials import Ials, IalsConfig, fit_ials
from ai_assets.model_training.interactions import Codes, Interactions
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.model_training.splits import time_split
from ai_assets.model_training.training_run import Trained
from ai_assets.model_training.two_tower import TowerConfig, TwoTower, fit_two_tower

if TYPE_CHECKING:
    import pandas as pd

K = 10
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


def fit(data: Interactions, *, seed: int = 0) -> tuple[Collaborative, list[float]]:
    """Fit both models; returns the training losses of the tower beside them."""
    tower_config, ials_config = configs(data)
    tower = fit_two_tower(data, seed=seed, config=tower_config)
    return Collaborative(data.item_ids, tower, fit_ials(data, seed=seed, config=ials_config)), list(tower.losses)


def first_plays(before: Interactions, after: Interactions) -> Interactions:
    """Rows of `after` whose listener had not played that track before."""
    known = before.matrix()
    new = np.asarray(known[after.users, after.items]).ravel() == 0 if len(after) else np.empty(0, bool)
    return after.take(new)


def train_collaborative(interactions: pd.DataFrame, folder: Path) -> Trained | str:
    """Fit, judge and save; or a sentence that says why there is too little to learn from."""
    data = listening_data(interactions)
    if data.user_count < LEAST_LISTENERS or len(data) < LEAST_ROWS:
        return (
            f"a listening model needs at least {LEAST_LISTENERS} listeners and {LEAST_ROWS} rows, there are "
            f"{data.user_count} and {len(data)}"
        )
    before, after = time_split(data, TEST_SHARE)
    test = first_plays(before, after)
    judged, _ = fit(before)
    final, losses = fit(data)
    final.save(folder)
    judged.save(folder / "judged")
    (folder / "config.json").write_text(
        json.dumps({"ials": asdict(final.ials.config), "until": float(before.times.max())}, sort_keys=True)
    )
    histories, seen, relevant = before.histories(), before.matrix(), test.matrix()

    def per_listener(scores: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        return metrics.evaluate(metrics.top_k(scores, K, seen=seen), relevant)

    fused = per_listener(judged.scores(histories))
    parts = {
        "popularity": per_listener(fit_popularity(before).scores(histories))["ndcg"],
        "two_tower": per_listener(judged.tower.scores(histories))["ndcg"],
        "ials": per_listener(judged.ials.scores(histories))["ndcg"],
    }

    def champion(other: Path) -> NDArray[np.float64] | None:
        return champion_scores(other, before, per_listener)

    return Trained(
        main_metric="ndcg_at_10",
        scores=fused["ndcg"],
        champion_scores=champion,
        metrics={f"{name}_at_10": _mean(values) for name, values in fused.items()},
        baselines={f"ndcg_at_10_{name}": _mean(values) for name, values in parts.items()},
        params={
            "listeners": data.user_count,
            "tracks": data.item_count,
            "rows": len(data),
            **asdict(final.tower.config),
        },
        plots={"learning_curve.png": learning_curve(losses)},
        curve={"loss": losses},
        card=_card(data, test, _mean(fused["ndcg"]), _mean(parts["popularity"])),
        signature=(np.zeros((1, data.item_count), np.float32), np.zeros((1, data.item_count), np.float32)),
    )


def champion_scores(folder: Path, before: Interactions, per_listener) -> NDArray[np.float64] | None:  # type: ignore[no-untyped-def]
    """The champion's judged twin on today's held-out days; None when it has seen some of them."""
    if json.loads((folder / "config.json").read_text())["until"] > before.times.max():
        return None
    standing = Collaborative.load(folder / "judged")
    place = {track: code for code, track in enumerate(standing.tracks)}
    known = np.array([place.get(str(track), -1) for track in before.item_ids])
    histories = [known[part][known[part] >= 0] for part in before.histories()]
    scores = np.full((before.user_count, before.item_count), -np.inf, np.float32)
    scores[:, known >= 0] = standing.scores(histories)[:, known[known >= 0]]
    return np.asarray(per_listener(np.where(np.isfinite(scores), scores, -1e9))["ndcg"])


def learning_curve(losses: list[float]) -> bytes:
    """Loss per epoch as a PNG."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(range(1, len(losses) + 1), losses, color="#2a6f97")
    axis.set_xlabel("epoch")
    axis.set_ylabel("loss, nats per item")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _card(data: Interactions, test: Interactions, ndcg: float, popular: float) -> str:
    return (
        "# collaborative_model\n\nTwo-tower model and iALS, fused by reciprocal rank.\n\n"
        f"- data: {len(data):,} listener-track-days of {data.user_count:,} listeners and {data.item_count:,} tracks\n"
        f"- judged on the last {TEST_SHARE:.0%} of rows (one date for all): {len(test):,} first plays, full ranking\n"
        f"- NDCG@10 {ndcg:.4f}; popularity {popular:.4f}\n"
        "- limits: tracks without plays are unknown to it; those come from the sound (content index)\n"
    )
