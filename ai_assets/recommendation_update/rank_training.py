"""Training and judging the ranking model on the two windows of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.contract import Table, Verdict
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.groups import activity, judged_by_group, popularity
from ai_assets.model_training.guards import list_guards, paired_speed
from ai_assets.model_training.training_plots import dependence, importance
from ai_assets.model_training.training_run import Trained
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import candidate_recall, list_ndcg, retrieval_scores
from ai_assets.recommendation_update.candidates import FEATURES
from ai_assets.recommendation_update.quality import COLUMNS
from resources.platform import Platform

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

LEAST_POSITIVES = 20
LEAST_LISTENERS = 50
EXPLAINED_ROWS = 400
K = 10
LENGTHS = (2, 5, 10, 20, 50)
LENGTH_NAMES = ("1", "2-4", "5-9", "10-19", "20-49", "50 and more")
Values = NDArray[np.float64]


def train_ranker(rows: pd.DataFrame, folder: Path) -> Trained | str:
    """Fit on the training window, judge on the test window, register the fit on both."""
    train, test = rows[rows["window"] == "train"], rows[rows["window"] == "test"]
    if int(train["label"].sum()) < LEAST_POSITIVES or not test["label"].any():
        return f"a ranking model needs at least {LEAST_POSITIVES} later plays, there are {int(train['label'].sum())}"
    judged = ranking.fit_ranker(train)
    final = ranking.fit_ranker(rows)
    (folder / "ranker.txt").write_text(final)
    (folder / "judged.txt").write_text(judged)
    scores = _ndcg(judged, test)
    retrieval = list_ndcg(test, retrieval_scores(test))
    popular = list_ndcg(test, -test["rank_popularity"].to_numpy(float))
    gains = ranking.feature_gains(final)
    shown = test[list(FEATURES)].iloc[:: max(len(test) // EXPLAINED_ROWS, 1)].to_numpy(np.float32)
    shares = ranking.contributions(ranking.load_ranker(final), shown)[:, :-1]
    lists, relevant, plays = _lists(judged, test)

    def guards(other: Path) -> dict[str, tuple[float, float]]:
        text = (other / "judged.txt").read_text()
        ours, theirs = list_guards(lists, relevant, plays), list_guards(_lists(text, test)[0], relevant, plays)
        new, old = ranking.load_ranker(judged), ranking.load_ranker(text)
        speed = paired_speed(lambda: new.predict(shown), lambda: old.predict(shown), work=(len(shown), len(shown)))
        return {name: (ours[name], theirs[name]) for name in ours} | {"rows_per_second": speed}

    return Trained(
        main_metric="ndcg_at_10",
        scores=scores,
        champion_scores=lambda other: _standing((other / "judged.txt").read_text(), test),
        baseline_scores=retrieval,
        guards=guards,
        metrics={
            "ndcg_at_10": float(np.mean(scores)),
            "candidate_recall": candidate_recall(test),
            **list_guards(lists, relevant, plays),
        },
        baselines={
            "ndcg_at_10_retrieval": float(np.mean(retrieval)),
            "ndcg_at_10_popularity": float(np.mean(popular)),
        },
        params={
            "rows": len(rows),
            "listeners": rows["listener"].nunique(),
            **{f"gain_{k}": v for k, v in gains.items()},
        },
        groups=judged_by_group(
            lists, relevant, users=activity(_history_lengths(test)), items=popularity(plays), chosen=("recall", "map")
        ),
        plots={
            "importance.png": importance(gains, unit="total gain"),
            "shap.png": importance(
                dict(zip(FEATURES, np.abs(shares).mean(0).tolist(), strict=True)), unit="mean |TreeSHAP value|"
            ),
            "dependence.png": dependence(shown, shares, FEATURES),
        },
        card=(
            "# ranking_model\n\nLambdaRank over candidates. Judged on days after all it knew: NDCG@10 over all later "
            "first plays, candidates or not. By group, recall and MAP count the later plays that are candidates.\n\n"
            "Limits: it orders what the generators name; what they miss (1 - candidate recall) it cannot bring back.\n"
        ),
        signature=(test[list(FEATURES)].head(2), np.zeros(2)),
        input_example=test[list(FEATURES)].head(1),
    )


def _standing(text: str, rows: pd.DataFrame) -> Values | None:
    """The champion's values; None where it reads other features than this version makes."""
    return _ndcg(text, rows) if ranking.load_ranker(text).features == len(FEATURES) else None


def evaluate_champion(rows: pd.DataFrame, platform: Platform) -> Table:
    """Rows of `ranking_evaluation`: the champion's judged twin beside retrieval, with the difference's interval."""
    import pandas as pd

    test = rows[rows["window"] == "test"] if len(rows) else rows
    champion = platform.registry.champion("ranking_model")
    text = (platform.registry.fetch("ranking_model") / "judged.txt").read_text() if champion is not None else ""
    if not text or test.empty or ranking.load_ranker(text).features != len(FEATURES):
        reason = "no ranking model is served: it comes with enough listening events, and when it beats retrieval"
        empty = pd.DataFrame(columns=list(COLUMNS))
        return Table(empty, verdicts={"beats_retrieval": Verdict(True, reason)})
    scores, retrieval = _ndcg(text, test), list_ndcg(test, retrieval_scores(test))
    frame, verdict = evaluation_rows(scores, retrieval, candidate_recall(test))
    frame = pd.concat([frame, group_rows(text, test, scores, retrieval)], ignore_index=True)
    return Table(frame, verdicts={"beats_retrieval": verdict})


def group_rows(text: str, rows: pd.DataFrame, scores: Values, retrieval: Values) -> pd.DataFrame:
    """NDCG by activity of the listener and by length of the history, recall and MAP by popularity of the track.

    The lengths make the curve of quality over the number of events. Recall and MAP count candidates alone.
    """
    import pandas as pd

    found: list[tuple[str, str, float, float | None, float | None, float | None]] = []
    lengths = _history_lengths(rows)
    bins = np.array([f"events {name}" for name in LENGTH_NAMES])[np.digitize(lengths, LENGTHS)]
    for names in (activity(lengths), bins):
        for name in np.unique(names):
            own = scores[names == name]
            low, high = paired_bootstrap(own)
            value, theirs = float(np.nanmean(own)), float(np.nanmean(retrieval[names == name]))
            found += [("ndcg_at_10", str(name), value, low, high, theirs),
                      ("listeners", str(name), float(len(own)), None, None, None)]  # fmt: skip
    ranked, relevant, plays = _lists(text, rows)
    same = np.zeros(len(ranked), int).astype(str)
    judged = judged_by_group(ranked, relevant, users=same, items=popularity(plays), chosen=("recall", "map"))
    for name, values in judged.items():
        if name != "0":
            found += [
                (f"{metric}_at_10_of_candidates", name, values[metric], values[f"{metric}_low"],
                 values[f"{metric}_high"], None)
                for metric in ("recall", "map")
            ]  # fmt: skip
    return pd.DataFrame(found, columns=list(COLUMNS))


def evaluation_rows(scores: Values, retrieval: Values, found: float) -> tuple[pd.DataFrame, Verdict]:
    """The table and the verdict: ranking is better only where the interval's lower bound is above zero.

    Args:
        scores, retrieval: (listeners,) NDCG@10 of the same listeners.
        found: candidate recall, which bounds both.
    """
    import pandas as pd

    low, high = paired_bootstrap(scores - retrieval)
    ours, theirs = float(np.mean(scores)), float(np.mean(retrieval))
    bounds = paired_bootstrap(scores)
    values = [
        ("ndcg_at_10", ours, *bounds, theirs),
        ("difference", ours - theirs, low, high, 0.0),
        ("candidate_recall", found, None, None, found),
        ("listeners", float(len(scores)), None, None, None),
    ]
    frame = pd.DataFrame([(name, "all", *rest) for name, *rest in values], columns=list(COLUMNS))
    text = (
        f"NDCG@10 {ours:.4f} against {theirs:.4f}; difference in [{low:.4f}, {high:.4f}]; candidate recall {found:.3f}"
    )
    if len(scores) < LEAST_LISTENERS:
        return frame, Verdict(True, f"too few listeners to decide ({len(scores)} of {LEAST_LISTENERS}); {text}")
    return frame, Verdict(low > 0, text)


def _ndcg(text: str, rows: pd.DataFrame) -> Values:
    features = rows[list(FEATURES)].to_numpy(np.float32)
    return list_ndcg(rows, ranking.predict(ranking.load_ranker(text), features))


def _history_lengths(rows: pd.DataFrame) -> NDArray[np.int64]:
    """(listeners,) in the order of `list_ndcg`."""
    return rows.groupby("listener", sort=False)["history_length"].first().to_numpy(np.int64)


def _lists(text: str, rows: pd.DataFrame) -> tuple[NDArray[np.int64], csr_matrix, Values]:
    """(listeners, 10) item codes as a model orders the candidates, (listeners, items) later plays among them, plays."""
    from scipy.sparse import csr_matrix

    scores = ranking.predict(ranking.load_ranker(text), rows[list(FEATURES)].to_numpy(np.float32))
    tracks, items = np.unique(rows["track"].to_numpy(str), return_inverse=True)
    users = rows.groupby("listener", sort=False).ngroup().to_numpy()
    order = np.lexsort((items, -scores, users))
    place = np.arange(len(rows)) - np.searchsorted(users[order], users[order])
    chosen = order[place < K]
    ranked = np.full((int(users.max()) + 1, K), -1, np.int64)
    ranked[users[chosen], place[place < K]] = items[chosen]
    liked = rows["label"].to_numpy() == 1
    relevant = csr_matrix((np.ones(int(liked.sum())), (users[liked], items[liked])), (len(ranked), len(tracks)))
    plays = np.zeros(len(tracks))
    plays[items] = np.expm1(rows["log_popularity"].to_numpy(float))
    return ranked, relevant, np.round(plays)
