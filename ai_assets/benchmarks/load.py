"""A load generator for the API in a process of its own: requests at fixed times, whether or not the last has answered.

A request's time counts from when it was due, so a server that falls behind cannot hide it (no coordinated omission).
Run by `ai-assets benchmark serve`; prints one JSON value.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

CONNECTIONS = 64


@dataclass
class Measured:
    """Milliseconds from due to answered, and the requests that were not answered with 200."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0


async def run(port: int, token: str, rate: float, seconds: float, paths: list[str]) -> Measured:
    """Ask for `paths` in turn, `rate` times a second."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    measured, start = Measured(), time.perf_counter()

    async def one(number: int, due: float) -> None:
        reader, writer = await idle.get()
        try:
            path = paths[number % len(paths)]
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            measured.errors += int(b" 200 " not in head.split(b"\r\n")[0])
            measured.milliseconds.append((time.perf_counter() - due) * 1e3)
            idle.put_nowait((reader, writer))
        except (OSError, asyncio.IncompleteReadError, IndexError, ValueError):
            measured.errors += 1
            idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    tasks = []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return measured


def main() -> None:
    """`python -m ai_assets.benchmarks.load` with its arguments as JSON on standard input."""
    asked = json.load(sys.stdin)
    start = time.perf_counter()
    measured = asyncio.run(run(**asked))
    spent = time.perf_counter() - start
    answer = {"milliseconds": measured.milliseconds, "errors": measured.errors, "seconds": spent}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
