"""Every check of quality turns red for a case made to fail it, and stays green beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ai_assets.contract import Verdict
from ai_assets.recommendation_update import checks
from ai_assets.recommendation_update.rank_training import LEAST_LISTENERS, evaluation_rows


def _dataset(labels: list[int], relevant: int) -> pd.DataFrame:
    return pd.DataFrame({"window": "test", "listener": "a", "label": labels, "relevant": relevant})


def _lists(tracks: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"listener": "a", "track": tracks})


def _coverage(value: float) -> pd.DataFrame:
    return pd.DataFrame({"metric": ["coverage"], "group": ["all"], "value": [value]})


def _ranking(gain: float, listeners: int = 200) -> Verdict:
    base = np.random.default_rng(0).random(listeners)
    return evaluation_rows(base + gain, base, 0.5)[1]


def _function(check: Any) -> Callable[[pd.DataFrame], Verdict]:
    assert check.function is not None
    return check.function  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("good", "planted"),
    [
        (checks.recall({"recall": 0.951, "count": 9}), checks.recall({"recall": 0.949, "count": 9})),
        (_function(checks.COVERAGE)(_coverage(0.5)), _function(checks.COVERAGE)(_coverage(0.05))),
        (_function(checks.POSITIVES)(_dataset([1, 0], 1)), _function(checks.POSITIVES)(_dataset([0, 0], 1))),
        (
            _function(checks.CANDIDATE_RECALL)(_dataset([1, 1, 0], 4)),
            _function(checks.CANDIDATE_RECALL)(_dataset([1, 0, 0], 10)),
        ),
        (_function(checks.NO_REPEATS)(_lists(["t1", "t2"])), _function(checks.NO_REPEATS)(_lists(["t1", "t1"]))),
        (_ranking(0.02), _ranking(-0.02)),
        (_ranking(-0.02, LEAST_LISTENERS - 1), _ranking(0.0)),
    ],
    ids=["recall", "coverage", "positives", "candidate_recall", "no_repeats", "beats_retrieval", "no_sure_gain"],
)
def test_a_planted_case_turns_the_check_red(good: Verdict, planted: Verdict) -> None:
    assert good.passed and not planted.passed and planted.description


def test_nothing_to_judge_yet_is_not_red() -> None:
    empty = pd.DataFrame(columns=["window", "listener", "label", "relevant", "track", "metric", "group", "value"])
    for check in (checks.COVERAGE, checks.POSITIVES, checks.CANDIDATE_RECALL, checks.NO_REPEATS):
        assert _function(check)(empty).passed
