"""Tables of audio files and what our analysis makes of the files, for the benchmarks of the audio models.

Belongs here: reading and checking the table, features and log-mels of its files in limited workers. Does not belong
here: models and scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ai_assets.audio_analysis.features import FEATURE_NAMES
from resources.isolation import LimitedPool

Progress = Callable[[int, int, str], None]
WALL_SECONDS = 120.0
MEMORY_BYTES = 1 << 30
_FUNCTION = "ai_assets.audio_analysis.one_pass:analyse_for_pool"


class TableError(ValueError):
    """The table cannot be used; the message names the file and what was expected."""


@dataclass(frozen=True)
class LabelledAudio:
    """The usable rows of a table.

    Attributes
    ----------
    rows : the table's columns for files that could be read, in the table's order.
    X : (n, 518) features; a row of NaN for a silent or very short file, which stays in the test.
    log_mels : (frames, 64) in dB per row; empty without log-mels.
    left_out : reason by path of files that could not be read.
    """

    rows: pd.DataFrame
    X: NDArray[np.float64]
    log_mels: tuple[NDArray[Any], ...]
    left_out: dict[str, str]


def read_table(path: Path, *, needs: tuple[str, ...]) -> pd.DataFrame:
    """The table as text columns, with at least one row.

    Raises
    ------
    TableError : no such file, no CSV, a missing column, an empty cell in a needed column, or no row.
    """
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a CSV table ({error})") from error
    missing = [column for column in needs if column not in frame.columns]
    if missing:
        raise TableError(f"{path}: column {', '.join(missing)} missing; it has {', '.join(map(str, frame.columns))}")
    if frame.empty:
        raise TableError(f"{path}: no rows")
    for column in needs:
        empty = np.flatnonzero(frame[column].str.strip() == "")
        if len(empty):
            raise TableError(f"{path}: line {empty[0] + 2} has no {column}")
    return frame


def analysed(
    frame: pd.DataFrame, folder: Path, *, log_mels: bool, workers: int = 2, progress: Progress | None = None
) -> LabelledAudio:
    """Features (and log-mels) of the files in column `path`, relative to the folder.

    Raises
    ------
    TableError : no file could be read.
    """
    families = ["features", *(["log_mel"] if log_mels else [])]
    items = [{"file": str(folder / path), "families": families} for path in frame["path"]]
    features: list[NDArray[np.float64]] = []
    mels: list[NDArray[Any]] = []
    kept: list[int] = []
    left_out: dict[str, str] = {}
    with LimitedPool(
        workers, memory_bytes=MEMORY_BYTES, wall_seconds=WALL_SECONDS, preload=("ai_assets.audio_analysis.one_pass",)
    ) as pool:
        for outcome in pool.map(_FUNCTION, items):
            path = str(frame["path"].iloc[outcome.item_index])
            analysis = outcome.value
            if analysis is None:
                left_out[path] = f"{outcome.status}: {outcome.error.strip().splitlines()[-1:] or ''}"
            elif analysis.report.status not in ("ok", "short", "partial", "limit"):
                left_out[path] = f"{analysis.report.status}: {analysis.report.reason}"
            else:
                kept.append(outcome.item_index)
                features.append(np.full(len(FEATURE_NAMES), np.nan) if analysis.features is None else analysis.features)
                mels.append(np.empty((0, 64), np.float16) if analysis.log_mel is None else analysis.log_mel)
            if progress is not None:
                progress(len(kept) + len(left_out), len(items), path)
    if not kept:
        first = next(iter(left_out.items()))
        raise TableError(f"none of the {len(items)} files could be read; {first[0]}: {first[1]}")
    order = np.argsort(kept)
    rows = frame.iloc[[kept[at] for at in order]].reset_index(drop=True)
    chosen = tuple(mels[at] for at in order) if log_mels else ()
    return LabelledAudio(rows, np.array([features[at] for at in order], float), chosen, left_out)
