"""One recommendation as the API gives it: arm, history, answer, and a note of what was shown. Every process uses it.

The raw listener id stays in the process that was asked; here there are pseudonyms only.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ai_assets.recommendation_update.answers import recommended
from ai_assets.recommendation_update.experiments import Experiments
from ai_assets.recommendation_update.impressions import ImpressionLog
from ai_assets.serving.live_state import LiveState


class NotReady(Exception):
    """There is nothing to answer from."""


class Answerer:
    """Answers from one state."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._home = state.platform.home.root
        self._experiments = Experiments(state.platform.database)
        self._log = ImpressionLog(state.platform.database)

    def recommendations(self, pseudonym: str, k: int) -> tuple[bytes, bool]:
        """The answer's JSON without the listener, and whether the listener is cold. Raises NotReady."""
        view = self._state.view
        if view is None:
            raise NotReady
        experiment, arm = self._experiments.assigned(pseudonym)
        history = self._state.history(view, pseudonym)
        answer = recommended(view.snapshot, history, k, home=self._home, arm=arm)
        self._log.shown(answer, pseudonym, experiment=experiment, arm=arm)
        return as_json(answer), bool(answer["cold"])

    def stop(self) -> None:
        """Write what was noted."""
        self._log.flush()


def as_json(value: Any) -> bytes:
    """A value as JSON text in UTF-8."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return body.encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else str(value)
