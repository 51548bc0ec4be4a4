"""Between two trainings: the day's plays folded into the item factors of the champion, judged on plays after them.

One half-step of iALS: users from their whole histories, then items from the users. The two-tower model reads histories
and stays as it is. The plays since the champion was fitted are cut at one date: the older ones are folded in, and both
models must name what is played for the first time afterwards. Neither has seen those plays, and both fold listeners in
from the same histories, so that the item factors alone are compared. What is registered has all plays folded in.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics
from ai_assets.model_training.groups import activity, judged_by_group, popularity
from ai_assets.model_training.guards import list_guards
from ai_assets.model_training.ials import half_step
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.listening import Collaborative, K, first_plays, listening_data, over_tracks
from ai_assets.model_training.training_run import Trained

if TYPE_CHECKING:
    import pandas as pd

LEAST_NEW, LEAST_JUDGED = 50, 20
NEW_SHARE = 0.5
SEEN = "seen"


def update_items(interactions: pd.DataFrame, champion: Path | None, folder: Path) -> Trained | str:
    """Write the champion with later plays folded into its items; or a sentence that says why there is nothing to do.

    Args:
        champion: folder of the served `collaborative_model`, None where there is none.
    """
    if champion is None:
        return "no collaborative model yet: it comes with listening events"
    facts = json.loads((champion / "config.json").read_text())
    if SEEN not in facts:
        return "the champion does not say which plays it knows; the next training does"
    standing = Collaborative.load(champion)
    data = over_tracks(listening_data(interactions), standing.tracks)
    fresh = data.times > facts[SEEN]
    if int(fresh.sum()) < LEAST_NEW:
        return f"{int(fresh.sum())} rows since the champion was fitted; it takes {LEAST_NEW}"
    cut = float(np.quantile(data.times[fresh], NEW_SHARE))
    known = data.take(data.times <= cut)
    test = first_plays(known, data.take(data.times > cut))
    if len(np.unique(test.users)) < LEAST_JUDGED:
        return f"later first plays of {len(np.unique(test.users))} listeners; it takes {LEAST_JUDGED} to judge"
    judged, final = _stepped(standing, known), _stepped(standing, data)
    final.save(folder)
    # the next training is compared with the twin of the last one, which is then brought up to date in the same way
    Collaborative.load(champion / "judged").save(folder / "judged")
    kept = {**facts, SEEN: float(data.times.max()), "stepped": True}
    (folder / "config.json").write_text(json.dumps(kept, sort_keys=True))
    return _judged(judged, standing, known, test, rows=int(fresh.sum()))


def _stepped(model: Collaborative, data: Interactions) -> Collaborative:
    return replace(model, ials=half_step(model.ials, data))


def _judged(
    judged: Collaborative, standing: Collaborative, known: Interactions, test: Interactions, *, rows: int
) -> Trained:
    """The stepped items beside those of the champion on `test`, which is later than all that either knows."""
    histories, seen, relevant = known.histories(), known.matrix(), test.matrix()
    plays = np.asarray(seen.sum(0)).ravel().astype(float)

    def lists(model: Collaborative) -> NDArray[np.int64]:
        return metrics.top_k(model.scores(histories), K, seen=seen)

    def of(folder: Path) -> Collaborative:
        """The model in a folder on these tracks; the champion's own, unless another was promoted meanwhile."""
        other = Collaborative.load(folder)
        return other if np.array_equal(other.tracks, standing.tracks) else standing

    ranked, before = lists(judged), lists(standing)
    found, old = metrics.evaluate(ranked, relevant), metrics.evaluate(before, relevant)
    return Trained(
        main_metric="ndcg_at_10",
        scores=found["ndcg"],
        champion_scores=lambda folder: metrics.evaluate(lists(of(folder)), relevant)["ndcg"],
        guards=lambda folder: {
            name: (value, list_guards(lists(of(folder)), relevant, plays)[name])
            for name, value in list_guards(ranked, relevant, plays).items()
        },
        metrics={
            **{f"{name}_at_10": float(np.nanmean(values)) for name, values in found.items()},
            **list_guards(ranked, relevant, plays),
        },
        baselines={"ndcg_at_10_before_the_step": float(np.nanmean(old["ndcg"]))},
        groups=judged_by_group(
            ranked, relevant, users=activity(np.diff(seen.indptr).astype(np.int64)), items=popularity(plays)
        ),
        params={"made_by": "item half-step", "new_rows": rows, "tracks": len(standing.tracks)},
        card=(
            "# collaborative_model\n\nThe champion with later plays folded into its item factors (half-step of iALS).\n"
            f"\n- data: {rows:,} listener-track-days since the last fit; judged on {len(test):,} first plays after "
            "those that were folded in\n- limits: tracks that the last training did not know stay unknown to it\n"
        ),
        signature=(
            np.zeros((1, len(standing.tracks)), np.float32), np.zeros((1, len(standing.tracks)), np.float32),
        ),
        input_example=np.asarray(seen[:1].todense(), np.float32),
    )  # fmt: skip
