"""`why` for the room: in a worker process, for the registry's libraries are too heavy for the answering one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from ai_assets.serving.room_door import Refused
from resources.isolation import LimitedError, run_limited

WALL_SECONDS = 90.0
WAITING = BoundedSemaphore(4)
OBSTACLES = {
    "the track was withdrawn, or its file has vanished": "out_withdrawn",
    "a rule excludes it (ai-assets rules list)": "out_rule",
    "the listener dislikes it": "out_disliked",
    "the listener has heard it": "out_heard",
}


def why(home: Path, listener: str, track: str) -> dict[str, Any]:
    """What led to a track being recommended. Raises Refused where too many ask, or it takes too long."""
    if not WAITING.acquire(blocking=False):
        raise Refused(503, "busy")
    try:
        found: dict[str, Any] = run_limited(partial(asked, str(home), listener, track), wall_seconds=WALL_SECONDS)
    except LimitedError:
        raise Refused(503, "busy") from None
    finally:
        WAITING.release()
    return found


def asked(home: str, listener: str, track: str) -> dict[str, Any]:
    """The answer of `ai-assets why`, in the worker."""
    from ai_assets.recommendation_update.why import why_answer
    from resources.platform import Platform
    from resources.settings import load_settings

    return why_answer(Platform(load_settings(home=home)), listener, track)
