"""The API's helpers: so many processes that compute recommendations beside it, and which of them is asked.

Only a catalogue that is large enough to ask indices has helpers: of a small one an answer costs less than a process.
A listener's helper, which remembers what it has found for them, is asked, or the one with the fewest open questions
where others have clearly fewer; one that dies is started again, and meanwhile the API answers by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast

from ai_assets.serving.helper import ANSWER, COLD, KNOWN, NOT_ANSWERED, QUESTION, READY
from ai_assets.serving.live_state import LiveState

log = logging.getLogger(__name__)

MOST = 4
LOOK_SECONDS = 1.0
READY_SECONDS = 60.0
ANSWER_SECONDS = 10.0
END_SECONDS = 10.0

Answer = tuple[bytes, bool]


def usable_cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system says
        return os.cpu_count() or 1


@dataclass(eq=False)
class Helper(asyncio.Protocol):
    """One process, and the questions that are open with it."""

    process: subprocess.Popen[bytes]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    open: dict[int, asyncio.Future[Answer | None]] = field(default_factory=dict)
    alive: bool = True
    _transport: asyncio.Transport | None = None
    _buffer: bytearray = field(default_factory=bytearray)
    _number: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, _error: Exception | None) -> None:
        self.alive = False
        for waiting in self.open.values():
            if not waiting.done():
                waiting.set_result(None)
        self.open.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= ANSWER.size:
            number, status, length = ANSWER.unpack_from(self._buffer)
            end = ANSWER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[ANSWER.size : end])
            del self._buffer[:end]
            if status == READY:
                self.ready.set()
            waiting = self.open.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result((body, status == COLD) if status in (KNOWN, COLD) else None)
            elif status == NOT_ANSWERED:
                log.debug("a helper did not answer")

    def ask(self, pseudonym: str, k: int, events: int, tracks: int) -> asyncio.Future[Answer | None]:
        """Ask; the answer is None where the helper has none."""
        assert self._transport is not None
        self._number = (self._number + 1) % 2**32
        name = pseudonym.encode()
        waiting: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.open[self._number] = waiting
        self._transport.write(QUESTION.pack(self._number, k, events, tracks, len(name)) + name)
        return waiting

    def close(self) -> None:
        """Have the process end by itself, for its socket closes."""
        if self._transport is not None:
            self._transport.close()


class Helpers:
    """The helpers of one API; used in its event loop alone.

    Args:
        count: how many to have, by default one for each usable core, at most four; 0 = none.
    """

    def __init__(self, state: LiveState, count: int | None = None) -> None:
        self._state = state
        self._count = min(usable_cores(), MOST) if count is None else count
        self._helpers: list[Helper] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> int:
        view = self._state.view
        return self._count if view is not None and view.snapshot.large else 0

    @property
    def ready(self) -> list[Helper]:
        return [helper for helper in self._helpers if helper.alive and helper.ready.is_set()]

    async def start(self) -> None:
        """Start them, wait until they are ready, and keep them alive from then on."""
        await self._filled()
        waiting = [asyncio.create_task(helper.ready.wait()) for helper in self._helpers]
        if waiting:
            await asyncio.wait(waiting, timeout=READY_SECONDS)
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End them; one that does not is killed."""
        if self._task is not None:
            self._task.cancel()
        for helper in self._helpers:
            helper.close()
        await asyncio.get_running_loop().run_in_executor(None, self._reap)

    async def ask(self, pseudonym: str, k: int) -> Answer | None:
        """An answer of a helper; None where there is none: answer without them."""
        ready = self.ready
        if not ready:
            return None
        helper = _chosen(ready, pseudonym)
        try:
            return await asyncio.wait_for(helper.ask(pseudonym, k, *self._state.sequences), ANSWER_SECONDS)
        except TimeoutError:
            log.warning("a helper did not answer in %g s and is started again", ANSWER_SECONDS)
            helper.alive = False
            helper.process.kill()
            return None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._filled()

    async def _filled(self) -> None:
        try:
            await self._fill()
        except OSError as error:
            log.warning("no helper could be started: %s", error)

    async def _fill(self) -> None:
        for helper in [each for each in self._helpers if not each.alive]:
            helper.close()
            helper.process.poll()
            self._helpers.remove(helper)
        while len(self._helpers) < self.wanted:
            self._helpers.append(await self._started())

    async def _started(self) -> Helper:
        own, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "ai_assets.serving.helper", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                env={**os.environ, "AI_ASSETS_HOME": str(self._state.platform.home.root)},
            )  # fmt: skip
        own.setblocking(False)
        helper = Helper(process)
        await asyncio.get_running_loop().create_connection(lambda: helper, sock=own)
        return helper

    def _reap(self) -> None:
        for helper in self._helpers:
            try:
                helper.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                helper.process.kill()
                helper.process.wait()


def _chosen(ready: list[Helper], pseudonym: str) -> Helper:
    own = ready[int(sha256(pseudonym.encode()).hexdigest()[:8], 16) % len(ready)]
    idlest = min(ready, key=lambda each: len(each.open))
    return own if len(own.open) <= len(idlest.open) + 1 else idlest
