"""A small dated world of listening with drift, made here and not by the product's simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

STYLES, PER_STYLE = 12, 20
LIVE = (200, 205, 210, 215)
START = pd.Timestamp("2026-01-01", tz="UTC")


class ArrowTable:
    """A table in memory with the reading half of the lake's interface."""

    def __init__(self, frame: pd.DataFrame | None) -> None:
        self._frame = frame

    @property
    def exists(self) -> bool:
        return self._frame is not None

    def arrow(self, columns: list[str] | None = None) -> pa.Table:
        table = pa.Table.from_pandas(self._frame, preserve_index=False)
        return table if columns is None else table.select(columns)

    def dataset(self) -> Any:
        return ds.dataset(self.arrow())


def drifting_events(*, listeners: int = 150, days: int = 30, seed: int = 0) -> pd.DataFrame:
    """Sessions of about eight plays in one style; each listener's style wanders off every few days for good."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, PER_STYLE + 1) ** 0.5
    rows = []
    for listener in range(listeners):
        style = int(rng.integers(STYLES))
        for day in range(days):
            if rng.random() < 0.22:
                style = int(rng.integers(STYLES))
            if rng.random() > 0.5:
                continue
            clock = START + pd.Timedelta(days=day, seconds=int(rng.integers(0, 80_000)))
            chosen = rng.choice(PER_STYLE, size=int(rng.integers(3, 7)), replace=False, p=weights / weights.sum())
            for step, place in enumerate(chosen):
                own = style if rng.random() < 0.9 else int(rng.integers(STYLES))
                rows.append(
                    (f"l{listener:03}", f"t{own * PER_STYLE + place:04}", clock + pd.Timedelta(minutes=4 * step))
                )
    frame = pd.DataFrame(rows, columns=["listener", "track", "played_at"])
    frame["event_id"] = [f"e{row}" for row in range(len(frame))]
    frame["day"] = frame["played_at"].dt.strftime("%Y-%m-%d")
    return frame.assign(seconds_played=200.0, skipped=False, liked=None).astype({"liked": object})


def catalogue_of(count: int = STYLES * PER_STYLE) -> pd.DataFrame:
    codes = np.arange(count)
    return pd.DataFrame(
        {
            "track": [f"t{code:04}" for code in codes],
            "title": [f"Song {code}" + ("(Live)" if code in LIVE else "") for code in codes],
            "artist": [f"Artist {code // 5}" for code in codes],
            "album": [f"Album {code // 5}" for code in codes],
            "genre": [f"style{code // PER_STYLE}" for code in codes],
            "root": "landing/audio",
            "path": [f"style{code // PER_STYLE}/{code}.flac" for code in codes],
            "duration_seconds": 100.0 + codes,
            "deleted": False,
            "has_audio": True,
            "audio_hash": [f"h{code}" for code in codes],
        }
    )


def embeddings_of(catalogue: pd.DataFrame, *, seed: int = 1) -> pd.DataFrame:
    """Sound that clusters by style."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((STYLES, 16))
    style = np.arange(len(catalogue)) // PER_STYLE
    vectors = centres[style] + 0.5 * rng.standard_normal((len(catalogue), 16))
    rows = [vector.astype(np.float32) for vector in vectors]
    return pd.DataFrame({"audio_hash": catalogue["audio_hash"], "vector": rows, "model": "sound/1"})


@dataclass(frozen=True)
class World:
    events: pd.DataFrame
    interactions: pd.DataFrame
    catalogue: pd.DataFrame
    content: np.ndarray
