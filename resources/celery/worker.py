"""Running a worker: which queues it listens to, and its sign of life for those who wait for one."""

from __future__ import annotations

import os
from contextlib import ExitStack

from resources.celery.app import TASK_QUEUE, app
from resources.celery.steps import WORKER, make_leases
from resources.executors import queue_name
from resources.settings import Settings


def work(settings: Settings, *, tasks: bool, steps: list[str], concurrency: int) -> None:
    """Work until SIGTERM or SIGINT (what is begun is finished first); threads, each step in a process of its own."""
    os.environ["AI_ASSETS_HOME"] = str(settings.home)
    os.environ["DAGSTER_HOME"] = str(settings.places.dagster)
    names = [TASK_QUEUE] if tasks else []
    with ExitStack() as stack:
        if steps and settings.redis_url is not None:
            names += [queue_name(settings, queue) for queue in steps]
            stack.enter_context(make_leases(settings).listening(WORKER, steps))
        arguments = ["-P", "threads", "-c", str(concurrency), "-Q", ",".join(names), "-l", "WARNING"]
        app.worker_main(["worker", "-n", f"{os.getpid()}@%h", "--without-gossip", "--without-mingle", *arguments])
