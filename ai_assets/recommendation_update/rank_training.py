"""Training and judging the ranking model on the two windows of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ai_assets.contract import Table, Verdict
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.training_run import Trained
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import list_ndcg, retrieval_scores
from ai_assets.recommendation_update.candidates import FEATURES
from resources.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

LEAST_POSITIVES = 20


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
    booster = ranking.load_ranker(final)
    gains = dict(zip(FEATURES, booster.feature_importance("gain").tolist(), strict=True))
    return Trained(
        main_metric="ndcg_at_10",
        scores=scores,
        champion_scores=lambda other: _ndcg((other / "judged.txt").read_text(), test),
        metrics={"ndcg_at_10": float(np.nanmean(scores))},
        baselines={
            "ndcg_at_10_retrieval": float(np.nanmean(retrieval)),
            "ndcg_at_10_popularity": float(np.nanmean(popular)),
        },
        params={
            "rows": len(rows),
            "listeners": rows["listener"].nunique(),
            **{f"gain_{k}": v for k, v in gains.items()},
        },
        plots={"importance.png": importance(gains)},
        card=(
            "# ranking_model\n\nLambdaRank over candidates. Judged on days after all it knew: NDCG@10 within the pool "
            f"{np.nanmean(scores):.4f}, retrieval alone {np.nanmean(retrieval):.4f}, popularity "
            f"{np.nanmean(popular):.4f}.\n"
        ),
        signature=(test[list(FEATURES)].head(2), np.zeros(2)),
        input_example=test[list(FEATURES)].head(1),
    )


def evaluate_champion(rows: pd.DataFrame, platform: Platform) -> Table:
    """Rows of `ranking_evaluation`: the champion's judged twin beside retrieval, with the difference's interval."""
    import pandas as pd

    columns = ["metric", "group", "value", "baseline"]
    test = rows[rows["window"] == "test"] if len(rows) else rows
    if platform.registry.champion("ranking_model") is None or test.empty:
        reason = "no ranking model yet: it comes with enough listening events"
        return Table(pd.DataFrame(columns=columns), verdicts={"beats_retrieval": Verdict(True, reason)})
    scores = _ndcg((platform.registry.fetch("ranking_model") / "judged.txt").read_text(), test)
    retrieval = list_ndcg(test, retrieval_scores(test))
    low, high = paired_bootstrap(scores - retrieval)
    values = [
        {
            "metric": "ndcg_at_10",
            "group": "all",
            "value": float(np.nanmean(scores)),
            "baseline": float(np.nanmean(retrieval)),
        },
        {"metric": "difference_low", "group": "all", "value": low, "baseline": 0.0},
        {"metric": "difference_high", "group": "all", "value": high, "baseline": 0.0},
    ]
    text = (
        f"NDCG@10 {values[0]['value']:.4f} against {values[0]['baseline']:.4f}; difference in [{low:.4f}, {high:.4f}]"
    )
    return Table(pd.DataFrame(values, columns=columns), verdicts={"beats_retrieval": Verdict(high >= 0, text)})


def _ndcg(text: str, rows: pd.DataFrame) -> np.ndarray:
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
