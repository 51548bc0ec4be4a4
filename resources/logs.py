"""Logs: one JSON object a line on standard error or in a file, redacted, with trace, run, step and attempt.

Modules log through `logging.getLogger(__name__)`; this room decides the form. Nothing here chooses what is logged.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.redaction import REDACTOR, RedactFilter, Redactor

MARK = "_ai_assets_handler"
MAX_BYTES = 20 * 2**20
BACKUPS = 5


def configure_logs(
    *, folder: Path | None = None, level: int | str = logging.INFO, redactor: Redactor = REDACTOR, console: bool = True
) -> None:
    """Send all logging (standard and structlog) through one JSON form; safe to call again.

    Args:
        folder: also write `ai-assets.jsonl` there (20 MB, five older ones kept; several processes may append).
        level: lowest level that is written.
        console: write to standard error.
    """
    import structlog

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Redact(redactor),
            structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=True),
        ],
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if getattr(one, MARK, False)]:
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if console else []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "ai-assets.jsonl"
        handlers.append(logging.handlers.WatchedFileHandler(path, encoding="utf-8", delay=True))
        rotate(path)
    for handler in handlers:
        setattr(handler, MARK, True)
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(level)
    # Celery's workers log whole step events at INFO, HTTP clients whole URLs.
    for name in ("celery.worker.strategy", "celery.app.trace", "httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def rotate(path: Path, *, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> bool:
    """Rename a log that has grown past `max_bytes`; whoever has it open reopens it at the next line."""
    try:
        if path.stat().st_size < max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(backups - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
    return True


@contextmanager
def log_context(
    *, trace_id: str = "", run_id: str = "", step: str = "", attempt: int | None = None, **more: Any
) -> Iterator[None]:
    """Every line written inside the block, by any module, carries these."""
    import structlog

    given = {"trace_id": trace_id, "run_id": run_id, "step": step, "attempt": attempt, **more}
    with structlog.contextvars.bound_contextvars(**{key: one for key, one in given.items() if one not in ("", None)}):
        yield


def protect(logger: logging.Logger, redactor: Redactor = REDACTOR) -> None:
    """Put the redacting filter on a logger whose handlers are not ours (Dagster's `context.log`), once."""
    if not any(isinstance(one, RedactFilter) for one in logger.filters):
        logger.addFilter(RedactFilter(redactor))


class _Redact:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        return self._redactor.value(event)
