"""The Celery app of the tasks: broker and results from the settings, JSON only. Tasks are declared by their families.

Start a worker with `ai-assets worker`. Threads, not forked processes: the lake's library does not survive a fork, and
heavy bodies run in subprocesses of their own anyway.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Task

from resources.settings import load_settings

NAME = "ai_tasks"
TASK_MODULES = tuple(
    f"ai_assets.{family}.tasks"
    for family in ("data_processing", "audio_analysis", "model_training", "recommendation_update", "content_generation")
)


class NoBroker(RuntimeError):
    """A task was sent although no broker is configured."""


class SentTask(Task):
    """A task that says which setting is missing, instead of waiting for a broker that nobody named."""

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        if not self.app.conf.task_always_eager and load_settings().broker_url is None:
            raise NoBroker("no broker is configured; set AI_ASSETS_BROKER_URL, for instance redis://127.0.0.1:6379/0")
        return super().apply_async(*args, **kwargs)


def _configuration() -> dict[str, Any]:
    """Read when the app is first used to send or to work."""
    broker = load_settings().broker_url
    url = broker.get_secret_value() if broker is not None else None
    return {
        "broker_url": url,
        "result_backend": url if url is not None and url.startswith("redis") else "rpc://",
        "imports": TASK_MODULES,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_track_started": True,
        "task_default_queue": "ai_tasks",
        "broker_connection_retry_on_startup": True,
        "worker_hijack_root_logger": False,
    }


app = Celery(NAME, set_as_current=True, task_cls=SentTask)
app.set_default()
app.add_defaults(_configuration)
