"""The Celery app: broker and results from the settings, JSON only, every message signed and checked.

Tasks are declared by their families (`ai_tasks.<name>`), the one that works on a step by `resources.celery.steps`.
Start a worker with `ai-assets worker`. Threads, not forked processes: the lake's library does not survive a fork, and
heavy bodies run in subprocesses of their own anyway.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from celery.utils import uuid

from resources.celery import signing
from resources.settings import load_settings

NAME = "ai_tasks"
TASK_QUEUE = "ai_tasks"
TASK_MODULES = (
    "resources.celery.steps",
    *(
        f"ai_assets.{family}.tasks"
        for family in (
            "data_processing",
            "audio_analysis",
            "model_training",
            "recommendation_update",
            "content_generation",
        )
    ),
)


class NoBroker(RuntimeError):
    """A task was sent although no broker is configured."""


class Forged(RuntimeError):
    """A message without the signature of this platform; nothing was done."""


class SignedCelery(Celery):
    """Celery whose messages are signed when they are sent."""

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        settings = load_settings()
        if settings.broker_url is None:
            raise NoBroker("no broker is configured; set AI_ASSETS_BROKER_URL, for instance redis://127.0.0.1:6379/0")
        task_id = options.pop("task_id", None) or uuid()
        signature = signing.sign(signing.worker_key(settings), name, task_id, args or (), kwargs or {})
        headers = {**(options.pop("headers", None) or {}), signing.HEADER: signature}
        return super().send_task(name, args, kwargs, task_id=task_id, headers=headers, **options)


class CheckedTask(Task):
    """A task whose messages a worker checks before anything of theirs is looked at."""

    unsigned_may_pass = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if not request.called_directly and not request.is_eager:
            self._refuse_forged(request, args, kwargs)
        return self.run(*args, **kwargs)

    def _refuse_forged(self, request: Any, args: Any, kwargs: Any) -> None:
        settings = load_settings()
        signature = (request.headers or {}).get(signing.HEADER) or request.get(signing.HEADER)
        if signature is None and self.unsigned_may_pass and settings.unsigned_tasks == "accept":
            return
        key = signing.worker_key(settings)
        if signing.is_signed(key, self.name, request.id, args, kwargs, signature):
            return
        from resources.platform import Platform

        reason = "no signature" if signature is None else "wrong signature"
        subject = {"task": self.name, "id": str(request.id)[:64]}
        Platform(settings).audit.append("refuse_task", "unknown", subject, reason=reason, origin=str(request.origin))
        raise Forged(
            f"{self.name} was refused: {reason}. Send it through resources.celery.app, sign it with the platform's "
            "worker key, or set AI_ASSETS_UNSIGNED_TASKS=accept (docs/how-to/team.md)"
        )


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
        "task_default_queue": TASK_QUEUE,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a broker that is away for an hour is waited for
        "broker_transport_options": {"socket_timeout": 10, "socket_connect_timeout": 5},
        # A worker takes no more than it works on, or what it holds back waits although others are idle.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": url is not None and url.startswith("redis"),
        "worker_hijack_root_logger": False,
    }


app = SignedCelery(NAME, set_as_current=True, task_cls=CheckedTask)
app.set_default()
app.add_defaults(_configuration)
