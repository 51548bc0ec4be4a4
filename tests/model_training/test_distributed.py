"""Data-parallel training on real processes: the same curve as one process, a killed rank, two nodes, hard limits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from pydantic import ValidationError

from ai_assets.model_training import checkpoint
from ai_assets.model_training.distributed import (
    RESULT,
    DistributedFailure,
    Job,
    Launch,
    command_elsewhere,
    fit_two_tower_distributed,
    run_job,
)  # fmt: skip
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.two_tower import TowerConfig, fit_two_tower, recipe_of

CONFIG = TowerConfig(dim=8, epochs=10, batch=8)


@pytest.fixture(scope="module")
def listening() -> Interactions:
    rng = np.random.default_rng(0)
    return Interactions.of(pd.DataFrame({"user": rng.integers(0, 600, 9_000), "item": rng.integers(0, 200, 9_000)}))


def _ranks(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "ai_assets.model_training.rank" in line and str(folder) in line and "torchrun" not in " ".join(line):
            found.append(process)
    return found


def _job(listening: Interactions, folder: Path) -> Path:
    matrix = listening.matrix()
    facts = {"shape": list(matrix.shape), "config": vars(CONFIG)}
    Job("two_tower", recipe_of(CONFIG), facts, {"indices": matrix.indices, "indptr": matrix.indptr}).write(folder)
    return folder


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    tensors, _ = checkpoint.decode((folder / RESULT).read_bytes())
    return {name: value.numpy() for name, value in tensors.items()}


@pytest.mark.team
def test_two_processes_give_the_curve_of_one(listening: Interactions, tmp_path: Path) -> None:
    alone = fit_two_tower(listening, config=CONFIG)
    two = fit_two_tower_distributed(listening, tmp_path / "job", Launch(wall_seconds=120), config=CONFIG)
    np.testing.assert_allclose(two.losses, alone.losses, rtol=1e-4)
    np.testing.assert_allclose(two.outputs, alone.outputs, atol=5e-3)


@pytest.mark.team
def test_a_killed_rank_is_answered_by_a_fresh_launch_and_the_weights_are_those_of_an_undisturbed_run(
    listening: Interactions, tmp_path: Path
) -> None:
    undisturbed, disturbed = _job(listening, tmp_path / "a"), _job(listening, tmp_path / "b")
    run_job(undisturbed, Launch(wall_seconds=120))
    killed: list[int] = []
    lines: list[str] = []

    def watch(line: str) -> None:
        lines.append(line)
        if re.search(r"epoch 4 of 10", line) and not killed:
            victim = max(_ranks(disturbed), key=lambda process: process.pid)
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    _, facts = run_job(disturbed, Launch(wall_seconds=180), on_line=watch)
    assert killed and facts["resumed_at"] >= 4
    right, found = _tensors(undisturbed), _tensors(disturbed)
    assert right.keys() == found.keys()
    for name, value in right.items():
        np.testing.assert_array_equal(found[name], value)
    assert not _ranks(disturbed)


@pytest.mark.team
def test_a_training_that_takes_too_long_is_killed_with_all_its_ranks(listening: Interactions, tmp_path: Path) -> None:
    folder = _job(listening, tmp_path / "job")
    job = Job.read(folder)
    slow = Job(job.kind, job.recipe.model_copy(update={"epochs": 10_000}), job.facts, job.arrays)
    slow.write(folder)
    with pytest.raises(DistributedFailure, match="did not end"):
        run_job(folder, Launch(wall_seconds=15, launches=2))
    limit = time.monotonic() + 60
    while _ranks(folder) and time.monotonic() < limit:
        time.sleep(0.2)
    assert not _ranks(folder)


@pytest.mark.team
def test_two_nodes_meet_at_a_rendezvous(listening: Interactions, tmp_path: Path) -> None:
    """Two torchrun processes, as on two machines, with the command that the log gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = _job(listening, tmp_path / "job")
    launch = Launch(processes=1, nodes=2, rendezvous=f"127.0.0.1:{port}")
    torchrun = Path(sys.executable).with_name("torchrun")
    command = [str(torchrun), *command_elsewhere(folder, launch)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    nodes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for node in nodes:
            _, errors = node.communicate(timeout=120)
            assert node.returncode == 0, errors[-2000:]
    finally:
        for node in nodes:
            node.kill()
    _, facts = checkpoint.decode((folder / RESULT).read_bytes())
    assert facts["world"] == 2
    np.testing.assert_allclose(facts["losses"], fit_two_tower(listening, config=CONFIG).losses, rtol=1e-4)


def test_impossible_launches_are_refused() -> None:
    for wrong in ({"processes": 0}, {"rendezvous": "nowhere"}, {"wall_seconds": 0}, {"ranks": 2}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Launch(**wrong)


def test_a_job_of_an_unknown_kind_is_refused(listening: Interactions, tmp_path: Path) -> None:
    job = Job.read(_job(listening, tmp_path / "job"))
    with pytest.raises(ValueError, match=r"no learner is called 'os\.system'"):
        Job("os.system", job.recipe, job.facts, job.arrays).learner()
