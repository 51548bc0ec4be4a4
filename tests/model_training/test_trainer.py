"""The trainer: same input, same weights; interrupted, killed and resumed bit for bit; early stopping; bad settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ai_assets.audio_analysis import cnn
from ai_assets.model_training import checkpoint
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.trainer import Progress, Recipe, pick_device
from ai_assets.model_training.two_tower import TowerConfig, TwoTower, fit_two_tower


class Interrupted(Exception):
    """Raised at a planted epoch."""


@pytest.fixture(scope="module")
def listening() -> Interactions:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 120, 2_500), "item": rng.integers(0, 90, 2_500)})
    return Interactions.of(frame)


def _same(first: TwoTower, second: TwoTower) -> bool:
    return (
        np.array_equal(first.inputs, second.inputs)
        and np.array_equal(first.outputs, second.outputs)
        and first.losses == second.losses
    )


def test_the_same_data_and_config_give_the_same_weights_and_another_seed_does_not(listening: Interactions) -> None:
    config = TowerConfig(dim=8, epochs=3, batch=32)
    first = fit_two_tower(listening, config=config)
    assert _same(first, fit_two_tower(listening, config=config))
    assert not _same(first, fit_two_tower(listening, config=config, seed=1))


@pytest.mark.parametrize("at", [1, 4])
def test_an_interrupted_fit_resumes_bit_for_bit(listening: Interactions, tmp_path: Path, at: int) -> None:
    config = TowerConfig(dim=8, epochs=6, batch=32)
    epochs: list[int] = []

    def interrupt(epoch: int, _loss: float) -> None:
        if epoch == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit_two_tower(listening, config=config, checkpoints=tmp_path, progress=interrupt)
    resumed = fit_two_tower(listening, config=config, checkpoints=tmp_path, progress=lambda e, _: epochs.append(e))
    assert epochs == list(range(at + 1, 7)), "only the epochs that were missing are trained"
    assert _same(resumed, fit_two_tower(listening, config=config))


def test_a_checkpoint_of_other_data_or_settings_is_not_resumed(listening: Interactions, tmp_path: Path) -> None:
    config = TowerConfig(dim=8, epochs=2, batch=32)
    fit_two_tower(listening, config=config, checkpoints=tmp_path)
    fewer = listening.take(np.arange(len(listening) - 1))
    other = TowerConfig(dim=8, epochs=2, batch=32, tau=0.2)
    assert _same(fit_two_tower(fewer, config=config, checkpoints=tmp_path), fit_two_tower(fewer, config=config))
    assert _same(fit_two_tower(listening, config=other, checkpoints=tmp_path), fit_two_tower(listening, config=other))


def test_a_damaged_checkpoint_starts_anew(listening: Interactions, tmp_path: Path) -> None:
    config = TowerConfig(dim=8, epochs=2, batch=32)
    right = fit_two_tower(listening, config=config, checkpoints=tmp_path)
    [path] = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    assert _same(fit_two_tower(listening, config=config, checkpoints=tmp_path), right)


@pytest.mark.team
def test_a_killed_training_costs_one_epoch_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    """A real process, killed with -9 in the middle of an epoch; a second process goes on."""
    script = tmp_path / "fit.py"
    script.write_text(
        "import logging, sys\n"
        "from pathlib import Path\n"
        "import numpy as np, pandas as pd\n"
        "from ai_assets.model_training.interactions import Interactions\n"
        "from ai_assets.model_training.two_tower import TowerConfig, fit_two_tower\n"
        "logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stdout)\n"
        "rng = np.random.default_rng(0)\n"
        "frame = pd.DataFrame({'user': rng.integers(0, 400, 8_000), 'item': rng.integers(0, 300, 8_000)})\n"
        "folder = Path(sys.argv[1])\n"
        "tower = fit_two_tower(Interactions.of(frame), config=TowerConfig(dim=16, epochs=8, batch=4),\n"
        "                      checkpoints=folder / 'checkpoints')\n"
        "tower.save(folder / 'model')\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", str(script), str(folder)], stdout=subprocess.PIPE, text=True, env=environment
        )

    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    process = start(killed)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3 of 8"):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "model").exists()
    output, _ = start(killed).communicate()
    [resumed] = [int(line.split()[3]) for line in output.splitlines() if line.startswith("resumed after epoch")]
    assert resumed >= 3
    assert start(undisturbed).wait() == 0
    assert _same(TwoTower.load(killed / "model"), TwoTower.load(undisturbed / "model"))


def test_the_network_on_log_mels_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cnn, "_STEPS_PER_EPOCH", 5)
    rng = np.random.default_rng(0)
    mels = [rng.normal(-40, 10, (230, 64)).astype(np.float16) for _ in range(3)]
    labels = {"genre": ["a", "b", None]}
    training = cnn.Training(steps=10, batch=2)

    def interrupt(state: Progress) -> None:
        if state.epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        cnn.fit(mels, labels, training=training, checkpoints=tmp_path, on_epoch=interrupt)
    seen: list[int] = []
    resumed = cnn.fit(mels, labels, training=training, checkpoints=tmp_path, on_epoch=lambda s: seen.append(s.epoch))
    assert seen == [2]
    np.testing.assert_array_equal(resumed.embed(mels), cnn.fit(mels, labels, training=training).embed(mels))


def test_early_stopping_keeps_the_best_epoch_of_the_held_out_rows() -> None:
    """Few rows and many dimensions: the held-out loss falls, then rises."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"user": rng.integers(0, 60, 900), "item": rng.integers(0, 120, 900)})
    data = Interactions.of(frame)
    part = rng.random(len(data)) < 0.8
    train, held = data.take(part), data.take(~part)
    watched: list[float] = []
    config = TowerConfig(dim=32, epochs=60, batch=16, patience=3)
    stopped = fit_two_tower(train, config=config, held_out=held, progress=lambda _, loss: watched.append(loss))
    assert len(stopped.losses) < 60
    best = int(np.argmin(watched)) + 1
    assert len(watched) == best + 3

    from scipy.sparse import csr_matrix

    users, chances = stopped.user_vectors(train.histories()), csr_matrix(held.matrix())
    logits = users @ stopped.outputs.T / config.tau
    log_shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    kept = -float(log_shares[chances.nonzero()].mean())
    assert kept == pytest.approx(min(watched), rel=1e-4), "the weights kept are those of the best epoch"


def test_bad_settings_name_their_field() -> None:
    for wrong in ({"epochs": 0}, {"learning_rate": -1}, {"optimizer": "sgdd"}, {"lerning_rate": 0.1}, {"seed": -1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Recipe(**wrong)


def test_a_device_that_is_not_there_is_refused_and_auto_falls_back() -> None:
    import torch

    if torch.cuda.is_available():
        assert pick_device(Recipe()).startswith("cuda:")
        return
    assert pick_device(Recipe()) == "cpu"
    with pytest.raises(ValueError, match="no GPU"):
        pick_device(Recipe(device="cuda"))


def test_a_loss_that_is_no_number_ends_the_training_with_the_remedy(listening: Interactions) -> None:
    with pytest.raises(ValueError, match=r"epoch 1 is .*learning rate"):
        fit_two_tower(listening, config=TowerConfig(dim=8, epochs=2, tau=float("nan")))


def test_checkpoints_hold_no_pickle_and_facts_come_back_exactly(tmp_path: Path) -> None:
    import torch

    facts = {"loss": 0.1 + 0.2, "nested": {"list": [1e-300, 3]}}
    checkpoint.write(tmp_path / "c.safetensors", checkpoint.encode({"a": torch.arange(3)}, facts))
    tensors, found = checkpoint.decode((tmp_path / "c.safetensors").read_bytes())
    assert found == facts and tensors["a"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]
    with pytest.raises(ValueError, match="no readable checkpoint"):
        checkpoint.decode(b"\x80\x04K\x01.")
