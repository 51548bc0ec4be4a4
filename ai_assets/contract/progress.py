"""Who listens to steps while they work: the command line's progress display; nobody in Dagster's own processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """One piece of news: a step began, went on (`done` of `total`) or ended."""

    step: str
    phase: Literal["start", "work", "end"]
    done: int = 0
    total: int = 0
    detail: str = ""


_LISTENERS: list[Callable[[Progress], None]] = []


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def tell(news: Progress) -> None:
    """Tell all listeners; bodies with long work call it with `phase="work"`."""
    for listener in _LISTENERS:
        listener(news)
