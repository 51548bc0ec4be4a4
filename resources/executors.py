"""The one place where a home's executor is chosen: steps in their run's process, or on Celery workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resources.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

QUEUE_TAG = "ai_assets/queue"
QUEUES = ("cpu", "gpu", "io")


def step_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of every job that names none.

    In-process by default: a spawned step costs about 28 times as much, and heavy bodies run in limited subprocesses.
    """
    if settings.executor == "celery":
        from resources.celery.executor import celery_executor

        return celery_executor
    from resources.instance.in_process import in_process_executor

    return in_process_executor


def works_elsewhere(settings: Settings) -> bool:
    """Whether steps leave the run's process, so that a launcher has to name its definitions by module."""
    return settings.executor != "in_process"


def queue_name(settings: Settings, queue: str) -> str:
    """The broker's name of a queue of steps: two teams on one broker have queues of their own."""
    from resources.celery.signing import fingerprint, worker_key

    return f"ai_steps.{fingerprint(worker_key(settings))}.{queue}"
