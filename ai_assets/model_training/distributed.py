"""Data-parallel training: a job folder, its launch through torch's elastic launcher, and fresh launches after a death.

In-place restarts of the elastic launcher are unreliable on gloo (a survivor may wait for its dead peer for minutes), so
a launch that loses a process ends as a whole, and a new one goes on from the last checkpoint. A launch runs in a
process of its own under a hard wall-time limit. What one process does stands in `rank`, the loop in `trainer`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ai_assets.model_training import checkpoint
from ai_assets.model_training.trainer import Learner, Recipe
from resources.isolation import LimitedError, run_limited

if TYPE_CHECKING:
    from ai_assets.model_training.interactions import Interactions
    from ai_assets.model_training.two_tower import TowerConfig, TwoTower

log = logging.getLogger(__name__)

FACTS, DATA, RESULT, CHECKPOINTS = "job.json", "data.npz", "result.safetensors", "checkpoints"


class Launch(BaseModel):
    """How a job is spread: processes on this machine, machines, and where these meet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(default=2, ge=1, le=64)
    nodes: int = Field(default=1, ge=1)
    rendezvous: str = Field(default="localhost:0", pattern=r"^[^\s:]+:\d+$", description="HOST:PORT; 0 = any free one.")
    wall_seconds: float = Field(default=3_600, gt=0, description="Hard limit of all launches together.")
    launches: int = Field(default=4, ge=1, description="How often a job is launched before it counts as failed.")


class DistributedFailure(RuntimeError):
    """The job did not end within its launches or its time."""


@dataclass(frozen=True)
class Job:
    """A training as files: what every process reads. Only learners named here can be trained so."""

    kind: str
    recipe: Recipe
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / DATA).open("wb") as file:
            arrays: dict[str, Any] = dict(self.arrays)
            np.savez(file, **arrays)
        text = json.dumps({"kind": self.kind, "recipe": self.recipe.model_dump(), "facts": dict(self.facts)})
        checkpoint.write(folder / FACTS, text.encode())

    @classmethod
    def read(cls, folder: Path) -> Job:
        text = json.loads((folder / FACTS).read_text())
        with np.load(folder / DATA, allow_pickle=False) as data:
            return cls(text["kind"], Recipe(**text["recipe"]), text["facts"], dict(data))

    def learner(self) -> Learner:
        """The learner of this job. Raises ValueError for a kind that is not known."""
        from scipy.sparse import csr_matrix

        from ai_assets.model_training.two_tower import TowerConfig, TowerLearner

        if self.kind != "two_tower":
            raise ValueError(f"no learner is called {self.kind!r}; there is: two_tower")
        indices, indptr = self.arrays["indices"], self.arrays["indptr"]
        matrix = csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=tuple(self.facts["shape"]))
        return TowerLearner(matrix, TowerConfig(**self.facts["config"]))


def fit_two_tower_distributed(
    interactions: Interactions, folder: Path, launch: Launch, *, seed: int = 0, config: TowerConfig | None = None
) -> TwoTower:
    """`fit_two_tower` on several processes; `folder` keeps job, checkpoint and result.

    Raises DistributedFailure when the job does not end.
    """
    from dataclasses import asdict

    from ai_assets.model_training.two_tower import TowerConfig, arrays_of, recipe_of

    config = config or TowerConfig()
    matrix = interactions.matrix()
    facts = {"shape": list(matrix.shape), "config": asdict(config)}
    arrays = {"indices": matrix.indices, "indptr": matrix.indptr}
    Job("two_tower", recipe_of(config, seed=seed), facts, arrays).write(folder)
    tensors, told = run_job(folder, launch)
    return arrays_of(tensors["inputs"], tensors["outputs"], config, told["losses"])


def run_job(
    folder: Path, launch: Launch, *, on_line: Callable[[str], None] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Launch the job until it ends; its tensors and facts.

    Raises DistributedFailure with the last launch's error.
    """
    (folder / RESULT).unlink(missing_ok=True)
    deadline, reason = time.monotonic() + launch.wall_seconds, ""
    if launch.nodes > 1:
        log.info("on each other machine run: %s", " ".join(command_elsewhere(folder, launch)))
    for attempt in range(1, launch.launches + 1):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            run_limited(
                "ai_assets.model_training.distributed:elastic", str(folder), launch.model_dump(), attempt,
                wall_seconds=left, environment=_environment(launch), on_line=on_line,
            )  # fmt: skip
            content = checkpoint.read(folder / RESULT)
            if content is not None:
                return checkpoint.decode(content)
            reason = "it ended without a result"
        except LimitedError as error:
            reason = str(error)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
        log.warning("launch %d of %d ended: %s; the next goes on from the checkpoint", attempt, launch.launches, reason)
    raise DistributedFailure(f"distributed training in {folder} did not end ({launch.launches} launches): {reason}")


def command_elsewhere(folder: Path, launch: Launch) -> list[str]:
    """What joins this job from another machine that sees the same folder."""
    return [
        "torchrun", f"--nnodes={launch.nodes}", f"--nproc-per-node={launch.processes}", "--max-restarts=0",
        "--rdzv-backend=c10d", f"--rdzv-endpoint={launch.rendezvous}", f"--rdzv-id={folder.name}",
        "-m", "ai_assets.model_training.rank", str(folder),
    ]  # fmt: skip


def elastic(folder: str, launch: dict[str, Any], attempt: int) -> None:
    """One launch, in a process of its own: starts this machine's ranks and waits for all. Raises when one dies."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    how = Launch(**launch)
    several = how.nodes > 1
    config = LaunchConfig(
        min_nodes=how.nodes,
        max_nodes=how.nodes,
        nproc_per_node=how.processes,
        # On one machine each launch meets under a name of its own: nothing of a dead one can be met again.
        run_id=Path(folder).name if several else f"{Path(folder).name}-{os.getpid()}-{attempt}",
        rdzv_backend="c10d",
        rdzv_endpoint=how.rendezvous,
        max_restarts=0,
        monitor_interval=0.2,
    )
    elastic_launch(config, sys.executable)("-u", "-m", "ai_assets.model_training.rank", folder)


def _environment(launch: Launch) -> dict[str, str]:
    """Ranks on one machine talk over loopback: host names that resolve elsewhere cannot hinder them."""
    return {"GLOO_SOCKET_IFNAME": "lo"} if launch.nodes == 1 and sys.platform == "linux" else {}
