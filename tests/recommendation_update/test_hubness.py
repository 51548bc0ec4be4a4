"""Strong hubs are measured, found by the check, and stand back when similar tracks are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ai_assets.recommendation_update import checks
from ai_assets.recommendation_update.hubness import BOUND, correction, measure, penalties
from ai_assets.recommendation_update.query import QuerySnapshot, similar


@pytest.fixture(scope="module")
def hubby() -> np.ndarray:
    """Vectors with an offset common to all: those near the offset are near everything."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((600, 40)) * rng.gamma(2.0, 1.0, (600, 1)) + 0.8).astype(np.float32)


@pytest.fixture(scope="module")
def fair() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((600, 4)).astype(np.float32)


def test_the_check_turns_red_for_hubs_and_green_where_all_are_alike(hubby: np.ndarray, fair: np.ndarray) -> None:
    strong, weak = measure(hubby), measure(fair)
    assert strong.skewness > BOUND > weak.skewness and strong.never > weak.never and strong.most > 3 * weak.most
    assert not checks.hubs(strong, None).passed and checks.hubs(weak, None).passed


def test_counts_agree_with_a_full_sort(fair: np.ndarray) -> None:
    unit = fair[:80] / np.linalg.norm(fair[:80], axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    counts = np.bincount(np.argsort(-cosines, axis=1)[:, :10].ravel(), minlength=80).astype(float)
    skewness = (((counts - counts.mean()) / counts.std()) ** 3).mean()
    found = measure(np.vstack([fair[:80], np.zeros((3, 4), np.float32)]))
    assert found.skewness == pytest.approx(skewness) and found.most == counts.max() / 80


def test_the_correction_weakens_hubs_and_is_made_only_where_they_are_strong(
    hubby: np.ndarray, fair: np.ndarray
) -> None:
    penalty = correction(hubby)
    assert penalty is not None and correction(fair) is None
    before, after = measure(hubby), measure(hubby, penalty)
    assert after.skewness < 0.7 * before.skewness and after.never < before.never and after.most < before.most / 2
    assert (penalties(np.zeros((5, 3), np.float32)) == 0).all()


def test_similar_names_the_hub_less_often(snapshot: QuerySnapshot) -> None:
    content = snapshot.sources.content
    assert content is not None
    plain = {item: [code for code, _ in similar(snapshot, item, 5)] for item in range(0, 240, 7)}
    hub = int(np.bincount(np.concatenate(list(plain.values()))).argmax())
    hubs = np.zeros(len(content), np.float32)
    hubs[hub] = 0.5
    corrected = replace(snapshot, hubs=hubs)
    before = sum(hub in found for found in plain.values())
    assert sum(hub in [code for code, _ in similar(corrected, item, 5)] for item in plain) < before
    assert corrected.hub_penalty(np.array([hub, len(hubs) + 5])).tolist() == pytest.approx([0.5, hubs.mean()])
