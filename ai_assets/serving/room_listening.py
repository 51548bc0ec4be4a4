"""Being a listener in the room: who there is to be, what is recommended, and what a visitor does with it.

Asks and tells exactly as the API does: the same answer, the same check of events, the same stream.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ai_assets.serving.answering import Answerer
from ai_assets.serving.api import checked_events
from ai_assets.serving.live_state import LiveState, View
from ai_assets.serving.room_door import Refused, Session

SHOWN = 8
MOST_DEEDS = 6
MOST_DEMO = 24
LONGEST_NAME = 256
ACTIONS = ("played", "skipped", "liked", "disliked")
SOURCE = "listening room"


@dataclass(frozen=True)
class DemoListener:
    """A listener of the synthesised library: raw id, and the style it likes best with its share."""

    name: str
    style: str
    share: float


def demo_listeners(state: LiveState) -> list[DemoListener]:
    """The first simulated listeners of a demo home; none in any other home."""
    place = state.platform.home.truth / "listeners.jsonl"
    if not place.is_file():
        return []
    found = []
    with place.open(encoding="utf-8") as file:
        for line, _ in zip(file, range(MOST_DEMO), strict=False):
            row = json.loads(line)
            styles = row.get("styles_after_drift") or row.get("styles") or {"": 0.0}
            style = max(styles, key=styles.__getitem__)
            found.append(DemoListener(str(row["listener"]), style, float(styles[style])))
    return found


class Listening:
    """Recommendations and events of visitors."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._answerer = Answerer(state)

    def pseudonym(self, session: Session) -> str | None:
        """The pseudonym of the listener whose place the visitor takes."""
        return None if session.listener is None else self._state.platform.pseudonyms.of(session.listener)

    def choose(self, session: Session, name: str) -> None:
        """Take the place of a listener. Raises Refused for an impossible name."""
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise Refused(422, "bad_listener")
        session.listener, session.shown, session.deeds = name, (), []

    def answer(self, view: View, session: Session) -> dict[str, Any]:
        """What is recommended now; each row with `new` where it was not in the list before."""
        pseudonym = self.pseudonym(session)
        assert pseudonym is not None
        answer = json.loads(self._answerer.recommendations(pseudonym, SHOWN)[0])
        history = self._state.history(view, pseudonym)
        before = session.shown
        rows = [row | {"new": bool(before) and row["track"] not in before} for row in answer["recommendations"]]
        session.shown = tuple(row["track"] for row in rows)
        titles = view.snapshot.catalogue["title"]
        recent = [str(titles[code]) for code in dict.fromkeys(history.recent[::-1].tolist())][:MOST_DEEDS]
        return answer | {"recommendations": rows, "plays": len(history), "recent": recent}

    def tell(self, view: View, session: Session, form: Mapping[str, str]) -> str:
        """Take in what the visitor did with a track; durable, and in the very next answer. Returns the title.

        Raises Refused for a track that may not be shown, or a form that is not ours; StreamUnavailable.
        """
        pseudonym = self.pseudonym(session)
        code = view.snapshot.codes.get(form.get("track", ""))
        action, list_id = form.get("action", ""), form.get("list_id", "")
        if pseudonym is None or action not in ACTIONS or len(list_id) > 64 or not (list_id.isalnum() or not list_id):
            raise Refused(422, "bad_form")
        if code is None or not view.snapshot.allowed(pseudonym)[code]:
            raise Refused(404, "no_track")
        track, title = (str(view.snapshot.catalogue[name][code]) for name in ("track", "title"))
        length = float(view.snapshot.catalogue["duration_seconds"][code] or 0.0)
        seconds = _seconds(form.get("seconds", ""), length, action)
        now = datetime.now(UTC)
        event: dict[str, Any] = {
            "event_id": uuid.uuid4().hex, "listener": session.listener, "track": track, "source": SOURCE,
            "played_at": (now - timedelta(seconds=seconds)).isoformat(), "seconds_played": seconds,
            "skipped": action == "skipped",
        }  # fmt: skip
        if action in ("liked", "disliked"):
            event["liked"] = action == "liked"
        if list_id and form.get("position", "").isdigit():
            event |= {"list_id": list_id, "position": int(form["position"])}
        records = checked_events(json.dumps([event]).encode(), self._state.platform.pseudonyms.of)
        self._state.platform.event_stream.append(records)
        self._state.follow_events()
        session.deeds = [(action, title), *session.deeds][:MOST_DEEDS]
        return title


def _seconds(given: str, length: float, action: str) -> float:
    """Seconds played: what the player says, else the whole track, of a skipped one the beginning; within its length."""
    most = length if math.isfinite(length) and length > 0 else 240.0
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        seconds = min(3.0, most) if action in ("skipped", "disliked") else most
    return round(min(seconds, most), 1)
