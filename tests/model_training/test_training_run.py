"""What every training leaves behind: a version with its record, a decision with its numbers, a way back."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from ai_assets.audio_analysis import assets as audio_assets  # noqa: F401 - enters contracts
from ai_assets.contract import CONTRACTS, Product
from ai_assets.home import TABLE_MODULES
from ai_assets.model_training import assets  # noqa: F401 - enters contracts
from ai_assets.model_training.gate import compare
from ai_assets.model_training.groups import judged_by_group, popularity
from ai_assets.model_training.guards import calibration, list_guards, paired_speed
from ai_assets.model_training.training_record import git_revision
from ai_assets.model_training.training_run import Trained, train
from ai_assets.recommendation_update import assets as recommendation_assets  # noqa: F401 - enters contracts
from resources.platform import Platform
from resources.settings import load_settings

RECORDED, DECIDED, FAILING = "collaborative_model", ("genre_classifier", "track_embedder"), "outlier_detector"
TWICE = "ranking_model"
STANDING = np.tile([0.2, 0.4], 100)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """One home for all tests here (making MLflow's tables costs seconds); each test has a model name of its own."""
    made = Platform(load_settings(home=tmp_path_factory.mktemp("home")))
    made.home.make()
    for module in TABLE_MODULES:
        importlib.import_module(module)
    made.database.prepare()
    return made


def _train(platform: Platform, name: str, text: str, gain: float = 0.0, guards: Any = None) -> Product:
    """One training whose model is `text`, better by `gain` in every case than the one before."""

    def fit(folder: Path) -> Trained:
        (folder / "model.txt").write_text(text)
        return Trained(
            main_metric="ndcg_at_10",
            scores=STANDING + gain,
            champion_scores=lambda _: STANDING,
            guards=guards,
            metrics={"ndcg_at_10": float((STANDING + gain).mean())},
            baselines={"ndcg_at_10_popularity": 0.1},
            groups={"activity low": {"listeners": 12.0, "ndcg": 0.25, "ndcg_low": 0.2}},
            curve={"loss": [2.0, 1.0]},
            card="# a model\n\nLimits: it knows nothing.",
            signature=(np.zeros((1, 3)), np.zeros((1, 3))),
            input_example=np.zeros((1, 3)),
        )

    run = SimpleNamespace(run_id="r1", root_run_id=None, tags={})
    context: Any = SimpleNamespace(run=run, retry_number=0)
    return train(context, platform, name, fit)


def test_a_version_carries_its_record_and_its_card_says_it(platform: Platform) -> None:
    product = _train(platform, RECORDED, "one")
    (version,) = platform.registry.versions(RECORDED)
    assert version.tags["git_revision"] == git_revision() and len(git_revision().removesuffix("-dirty")) in (4, 40)
    assert version.tags["code_version"] == CONTRACTS[RECORDED].code_version
    assert version.tags["environment.numpy"] == np.__version__
    assert set(version.data_versions) == set(CONTRACTS[RECORDED].dependencies)
    place = Path(platform.registry.artifacts(version).removeprefix("file://"))
    card = (place / "model_card.md").read_text()
    for words in ("Limits: it knows nothing", "| ndcg_at_10 | 0.3000 |", "| activity low | 12 | 0.2500 | 0.2000 |", "95 % interval",
                  "interactions: none yet", f"revision {git_revision()}", f"numpy {np.__version__}"):  # fmt: skip
        assert words in card
    described = (place / "MLmodel").read_text()
    assert "signature" in described and "saved_input_example_info" in described
    assert product.metadata["card"].value == card and product.metadata["plot_learning_curve"][:4] == b"\x89PNG"


def test_decisions_are_verdicts_and_audit_entries_with_the_numbers(platform: Platform) -> None:
    better, other = DECIDED
    _train(platform, better, "one")
    _train(platform, other, "one")
    worse = {"coverage": (0.47, 0.5), "novelty_bits": (1.0, 1.0)}
    allowed = {"coverage": (0.48, 0.5)}
    kept = _train(platform, other, "two", 0.05, guards=lambda _: worse).verdicts["promotion"]
    assert not kept.passed and "coverage worse by more than 5 %" in kept.description
    promoted = _train(platform, better, "two", 0.05, guards=lambda _: allowed).verdicts["promotion"]
    assert promoted.passed and "better by 0.05" in promoted.description
    assert [_champion(platform, name) for name in DECIDED] == [2, 1]
    entries = [one for one in platform.audit.records() if one["subject"].get("model") in DECIDED]
    assert [(one["subject"]["version"], one["details"]["why"]) for one in entries] == [
        (1, "promoted: the first model of its name"), (1, "promoted: the first model of its name"),
        (2, kept.description), (2, promoted.description),
    ]  # fmt: skip
    assert entries[2]["details"]["difference"] == pytest.approx(0.05)
    assert entries[2]["details"]["guard_coverage"] == "0.47 against 0.5"
    assert platform.audit.verify().ok
    platform.registry.rollback(better)
    assert _champion(platform, better) == 1


def _champion(platform: Platform, name: str) -> int:
    champion = platform.registry.champion(name)
    assert champion is not None
    return champion.version


def test_a_training_that_fails_leaves_the_champion(platform: Platform) -> None:
    _train(platform, FAILING, "one")

    def broken(_: Path) -> dict[str, tuple[float, float]]:
        raise RuntimeError("guards cannot be measured")

    with pytest.raises(RuntimeError, match="cannot be measured"):
        _train(platform, FAILING, "two", 0.1, guards=broken)
    assert _champion(platform, FAILING) == 1


def test_two_trainings_of_one_model_work_one_after_the_other(platform: Platform) -> None:
    inside, most = threading.Semaphore(2), []

    def guards(_: Path) -> dict[str, tuple[float, float]]:
        assert inside.acquire(blocking=False)
        most.append(inside._value)
        time.sleep(0.2)
        inside.release()
        return {}

    _train(platform, TWICE, "one")
    threads = [threading.Thread(target=_train, args=(platform, TWICE, text, 0.1, guards)) for text in ("two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1], "never both inside"


def test_the_gate_draws_pairs_so_that_what_all_share_does_not_hide_a_small_gain() -> None:
    """The same small gain in every case is sure; unpaired, the spread of the cases would drown it."""
    rng = np.random.default_rng(0)
    cases = rng.random(500)
    assert compare(cases + 0.002, cases).promoted
    assert not compare(rng.permutation(cases) + 0.002, cases).promoted


def test_guards_see_what_they_name() -> None:
    plays = np.array([50.0, 40.0, 1.0, 0.0])
    relevant = csr_matrix(np.array([[1, 0, 1, 0], [0, 1, 0, 0]], float))
    same, wide = np.array([[0, 1], [0, 1]]), np.array([[2, 0], [1, 3]])
    narrow, broad = list_guards(same, relevant, plays), list_guards(wide, relevant, plays)
    assert (narrow["coverage"], broad["coverage"]) == (0.5, 1.0)
    assert (narrow["cold_item_recall"], broad["cold_item_recall"]) == (0.0, 1.0)
    assert broad["novelty_bits"] > narrow["novelty_bits"] + 1


def test_calibration_falls_when_confidence_lies() -> None:
    truth = np.tile([0, 1], 500)
    sure, fair = np.tile([0.99, 0.01], (1000, 1)), np.tile([0.5, 0.5], (1000, 1))
    assert calibration(fair, truth) == pytest.approx(1.0, abs=0.01)
    assert calibration(sure, truth) == pytest.approx(0.51, abs=0.01)


def test_speed_is_work_over_time() -> None:
    def work(size: int) -> Callable[[], object]:
        return lambda: np.linalg.svd(np.ones((size, size)))

    fast, slow = paired_speed(work(40), work(160), work=(1, 1))
    assert fast > 2 * slow


def test_groups_of_items_are_made_by_plays_and_judged_apart() -> None:
    plays = np.array([30.0, 20.0, 10.0, 9.0, 9.0, 8.0, 3.0, 2.0, 0.0])
    names = popularity(plays)
    assert names[0] == "items head" and names[6] == "items tail" and (names[7:] == "items cold").all()
    relevant = csr_matrix(np.eye(9)[[0, 7, 7]])
    found = judged_by_group(np.array([[0, 1], [0, 1], [0, 7]]), relevant, users=np.array(["a", "a", "b"]), items=names)
    assert found["all"]["recall"] == pytest.approx(2 / 3) and found["a"]["recall"] == 0.5
    assert found["items head"]["recall"] == 1.0 and found["items cold"]["recall"] == 0.5
    assert found["items cold"]["listeners"] == 2 and found["all"]["recall_low"] <= 2 / 3 <= found["all"]["recall_high"]
    assert "items middle" not in found
