"""One process of a distributed training: what torch's elastic launcher, or `torchrun` on another machine, starts.

    torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
        --max-restarts 0 -m ai_assets.model_training.rank JOB_FOLDER

Belongs here: joining the process group, building the learner from the job's folder, writing the result. Does not belong
here: launching (`distributed`), the loop (`trainer`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from ai_assets.model_training import checkpoint
from ai_assets.model_training.distributed import CHECKPOINTS, RESULT, Job
from ai_assets.model_training.trainer import Part, pick_device, train

_PEERS_SECONDS = 60
_PR_SET_PDEATHSIG = 1


def main(folder: Path) -> None:
    """Train this process's part of the job in `folder`; process 0 writes the result there."""
    import torch

    _die_with_launcher()
    job = Job.read(folder)
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    device = pick_device(job.recipe, local)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    torch.distributed.init_process_group(backend, timeout=timedelta(seconds=_PEERS_SECONDS))
    try:
        found = train(job.learner(), job.recipe, checkpoints=folder / CHECKPOINTS, part=Part(rank, world, device))
        if rank == 0:
            facts = {"losses": found.losses, "resumed_at": found.resumed_at, "world": world, "device": device}
            checkpoint.write(folder / RESULT, checkpoint.encode(found.module.state_dict(), facts))
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def _die_with_launcher() -> None:
    """Have the kernel end this process with its parent: a rank must not train on when its launcher was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: torchrun [options] -m ai_assets.model_training.rank JOB_FOLDER")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]))
