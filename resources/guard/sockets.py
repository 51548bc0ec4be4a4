"""Messages of an open WebSocket: subscriptions pass, everything else is answered with an error and goes no further."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from resources.guard.documents import BadRequest, read_request

Message = MutableMapping[str, Any]


@dataclass
class SubscriptionsOnly:
    """Stands between a socket and the application.

    Args:
        inner: the socket's receive.
        send: towards the client.
        largest: characters of one message.
        note: called with the reason of each refusal.
    """

    inner: Callable[[], Awaitable[Message]]
    send: Callable[[Message], Awaitable[None]]
    largest: int
    note: Callable[[str], Awaitable[None]]

    async def receive(self) -> Message:
        """The next message that the application may see."""
        while True:
            message = await self.inner()
            if message["type"] != "websocket.receive":
                return message
            value: dict[str, Any] = {}
            try:
                value = self._read(message)
                if value.get("type") == "start":
                    asked = read_request(value.get("payload"))
                    if asked.kinds != {"subscription"}:
                        raise BadRequest(f"only subscriptions over a socket {' '.join(asked.mutations)}".strip())
                return {"type": "websocket.receive", "text": json.dumps(value)}
            except BadRequest as refusal:
                await self.note(str(refusal))
                answer = {"type": "error", "id": value.get("id"), "payload": {"message": str(refusal)}}
                await self.send({"type": "websocket.send", "text": json.dumps(answer)})

    def _read(self, message: Message) -> dict[str, Any]:
        raw = message.get("text") or message.get("bytes") or ""
        if len(raw) > self.largest:
            raise BadRequest("the message is too large")
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            raise BadRequest("the message is not JSON") from None
        if not isinstance(value, dict):
            raise BadRequest("expected one JSON object")
        return value
