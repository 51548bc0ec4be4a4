"""Training and judging the ranking model on the two windows of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.contract import Table, Verdict
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.training_run import Trained
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import candidate_recall, list_ndcg, retrieval_scores
from ai_assets.recommendation_update.candidates import FEATURES
from resources.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

LEAST_POSITIVES = 20
LEAST_LISTENERS = 50
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
    return Trained(
        main_metric="ndcg_at_10",
        scores=scores,
        champion_scores=lambda other: _ndcg((other / "judged.txt").read_text(), test),
        baseline_scores=retrieval,
        metrics={"ndcg_at_10": float(np.mean(scores)), "candidate_recall": candidate_recall(test)},
        baselines={
            "ndcg_at_10_retrieval": float(np.mean(retrieval)),
            "ndcg_at_10_popularity": float(np.mean(popular)),
        },
        params={
            "rows": len(rows),
            "listeners": rows["listener"].nunique(),
            **{f"gain_{k}": v for k, v in gains.items()},
        },
        plots={"importance.png": importance(gains)},
        card=(
            "# ranking_model\n\nLambdaRank over candidates. Judged on days after all it knew: NDCG@10 over all later "
            f"first plays {np.mean(scores):.4f}, retrieval alone {np.mean(retrieval):.4f}, popularity "
            f"{np.mean(popular):.4f}; candidate recall {candidate_recall(test):.4f}.\n"
        ),
        signature=(test[list(FEATURES)].head(2), np.zeros(2)),
        input_example=test[list(FEATURES)].head(1),
    )


def evaluate_champion(rows: pd.DataFrame, platform: Platform) -> Table:
    """Rows of `ranking_evaluation`: the champion's judged twin beside retrieval, with the difference's interval."""
    import pandas as pd

    test = rows[rows["window"] == "test"] if len(rows) else rows
    if platform.registry.champion("ranking_model") is None or test.empty:
        reason = "no ranking model is served: it comes with enough listening events, and when it beats retrieval"
        empty = pd.DataFrame(columns=["metric", "group", "value", "baseline"])
        return Table(empty, verdicts={"beats_retrieval": Verdict(True, reason)})
    scores = _ndcg((platform.registry.fetch("ranking_model") / "judged.txt").read_text(), test)
    frame, verdict = evaluation_rows(scores, list_ndcg(test, retrieval_scores(test)), candidate_recall(test))
    return Table(frame, verdicts={"beats_retrieval": verdict})


def evaluation_rows(scores: Values, retrieval: Values, found: float) -> tuple[pd.DataFrame, Verdict]:
    """The table and the verdict: ranking is better only where the interval's lower bound is above zero.

    Args:
        scores, retrieval: (listeners,) NDCG@10 of the same listeners.
        found: candidate recall, which bounds both.
    """
    import pandas as pd

    low, high = paired_bootstrap(scores - retrieval)
    ours, theirs = float(np.mean(scores)), float(np.mean(retrieval))
    values = [
        ("ndcg_at_10", ours, theirs),
        ("difference_low", low, 0.0),
        ("difference_high", high, 0.0),
        ("candidate_recall", found, found),
        ("listeners", float(len(scores)), None),
    ]
    frame = pd.DataFrame([(name, "all", value, base) for name, value, base in values],
                         columns=["metric", "group", "value", "baseline"])  # fmt: skip
    text = (
        f"NDCG@10 {ours:.4f} against {theirs:.4f}; difference in [{low:.4f}, {high:.4f}]; candidate recall {found:.3f}"
    )
    if len(scores) < LEAST_LISTENERS:
        return frame, Verdict(True, f"too few listeners to decide ({len(scores)} of {LEAST_LISTENERS}); {text}")
    return frame, Verdict(low > 0, text)


def _ndcg(text: str, rows: pd.DataFrame) -> Values:
    features = rows[list(FEATURES)].to_numpy(np.float32)
    return list_ndcg(rows, ranking.predict(ranking.load_ranker(text), features))


def importance(gains: dict[str, float]) -> bytes:
    """Total gain per feature as a PNG."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3), layout="constrained")
    axis = figure.subplots()
    names = sorted(gains, key=lambda name: gains[name])
    axis.barh(names, [gains[name] for name in names], color="#2a6f97")
    axis.set_xlabel("total gain")
    axis.tick_params(labelsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
