"""A process that computes recommendations for the API of a large catalogue: one core each, no HTTP.

Questions and answers go over a socket that is handed down; when it closes, because the API has ended in whatever way,
the helper ends too. A question names the sequences of events and tracks that the API knew when it asked: the helper
looks for them before it answers, so that an event or a withdrawal holds in the very next answer of every process.
Frames (little endian): question `id k events tracks length` and the pseudonym, answer `id status length` and JSON.
"""

from __future__ import annotations

import importlib
import signal
import socket
import struct
import sys

from ai_assets.serving.answering import Answerer
from ai_assets.serving.live_state import LiveState
from resources.platform import Platform
from resources.settings import Settings

QUESTION = struct.Struct("<IIqqH")
ANSWER = struct.Struct("<IBI")
KNOWN, COLD, NOT_ANSWERED, READY = 0, 1, 2, 3
SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another waits for it: an answer hands it over a hundred times."""
TABLES = (
    "ai_assets.data_processing.external_tracks", "ai_assets.recommendation_update.rule_store",
    "resources.event_stream", "resources.vector_index.delta", "resources.lake.ledger",
)  # fmt: skip


def answers(answerer: Answerer, state: LiveState, connection: socket.socket) -> None:
    """Answer one question after another until the other side closes."""
    reader = connection.makefile("rb")
    while head := reader.read(QUESTION.size):
        if len(head) < QUESTION.size:
            return
        number, k, events, tracks, length = QUESTION.unpack(head)
        status, body = _answer(answerer, state, reader.read(length).decode(), k, events, tracks)
        connection.sendall(ANSWER.pack(number, status, len(body)) + body)


def _answer(
    answerer: Answerer, state: LiveState, pseudonym: str, k: int, events: int, tracks: int
) -> tuple[int, bytes]:
    try:
        if not state.caught_up(events, tracks):
            return NOT_ANSWERED, b""
        body, cold = answerer.recommendations(pseudonym, k)
    except Exception:  # the API answers by itself, and says what is wrong
        return NOT_ANSWERED, b""
    return (COLD if cold else KNOWN), body


def main() -> None:
    """`python -m ai_assets.serving.helper DESCRIPTOR`, with the environment of the home."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the API then closes the socket
    sys.setswitchinterval(SWITCH_SECONDS)
    for module in TABLES:
        importlib.import_module(module)
    state = LiveState(Platform(Settings()))
    state.start()
    answerer = Answerer(state)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            connection.sendall(ANSWER.pack(0, READY, 0))
            answers(answerer, state, connection)
        except OSError:  # the API has gone
            return
        finally:
            state.stop()
            answerer.stop()


if __name__ == "__main__":
    main()
