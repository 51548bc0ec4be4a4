"""Tables of who took what, for `benchmark recommend`: read, cleaned, and split under a named protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.splits import random_split, tail_split, time_split

if TYPE_CHECKING:
    import pandas as pd

Protocol = Literal["random", "user-time", "time", "fixed"]
MOST_BYTES = 8 * 2**30


class TableError(ValueError):
    """A table that cannot be used; the message names the file and what was expected."""


@dataclass(frozen=True)
class Split:
    """What a model may learn from, what it is tuned on, and what it is judged on; one set of ids.

    Attributes:
        learn: the training part without `tune`.
        tune: the part of the training data on which settings and the served model are chosen.
        train: `learn` and `tune` together.
        test: judged once, at the end.
    """

    learn: Interactions
    tune: Interactions
    train: Interactions
    test: Interactions


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Distinct (user, item) rows with their first time, and how many rows were read, duplicate and unusable.

    CSV, TSV or any single-character separator, Parquet, or JSON Lines; columns `user,item[,rating][,time]`, every row a
    positive. Times are seconds since 1970 or ISO 8601.

    Raises:
        TableError: no such columns, no usable row, or not a table at all.
    """
    import pandas as pd

    frame = _frame(path)
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    missing = [name for name in ("user", "item") if name not in frame]
    if missing:
        raise TableError(
            f"{path}: expected columns user,item[,rating][,time]; {' and '.join(missing)} not among "
            f"{', '.join(map(str, frame.columns[:12]))}"
        )
    read = len(frame)
    kept = frame[["user", "item"]].astype("string").apply(lambda column: column.str.strip())
    usable = kept.notna().all(axis=1) & (kept != "").all(axis=1)
    if "time" in frame:
        times = _times(frame["time"], path)
        usable &= times.notna()
        kept["time"] = times
    kept = kept[usable]
    if kept.empty:
        wanted = "a user, an item and a time" if "time" in frame else "a user and an item"
        raise TableError(f"{path}: none of its {read:,} rows has {wanted}")
    if "time" in kept:
        kept = kept.sort_values("time", kind="stable")
    distinct = kept.drop_duplicates(["user", "item"]).reset_index(drop=True)
    distinct["user"], distinct["item"] = distinct["user"].astype(str), distinct["item"].astype(str)
    counts = {"read": read, "duplicate": len(kept) - len(distinct), "unusable": read - len(kept)}
    return pd.DataFrame(distinct), counts


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.stat().st_size > MOST_BYTES:
        raise TableError(f"{path}: larger than {MOST_BYTES // 2**30} GiB")
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True, dtype=False)
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max(",\t;|", key=head.count) if any(mark in head for mark in ",\t;|") else r"\s+"
        return pd.read_csv(path, sep=separator, dtype="string", encoding="utf-8-sig", on_bad_lines="skip")
    except (ValueError, OSError) as error:
        raise TableError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from None


def _times(column: pd.Series, path: Path) -> pd.Series:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().mean() > 0.5:
        return numbers.astype(float)
    stamps = pd.to_datetime(column.astype("string"), utc=True, errors="coerce", format="ISO8601")
    if stamps.notna().mean() <= 0.5:
        raise TableError(f"{path}: column time is neither seconds since 1970 nor ISO 8601")
    return (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def split_table(
    frame: pd.DataFrame, test: pd.DataFrame | None, protocol: Protocol, ratios: Sequence[float], seed: int
) -> Split:
    """The parts of a protocol.

    `random`: every user's rows at random. `user-time`: the tail of every user's rows. `time`: one date for all.
    `fixed`: the given test table. The tuning part is cut from the training part by the same protocol (`fixed`: by time
    where there are times, else at random).

    Raises:
        TableError: the protocol needs a time or a test table that is not there, or a part has no row.
    """
    timed = "time" in frame
    if protocol in ("user-time", "time") and not timed:
        raise TableError(f"--protocol {protocol} needs a column time")
    if (protocol == "fixed") != (test is not None):
        raise TableError("--protocol fixed and --test belong together")
    total = float(sum(ratios))
    tune_share = ratios[1] / (ratios[0] + ratios[1])
    if test is not None:
        import pandas as pd

        both = pd.concat([frame, test.drop(columns="time", errors="ignore")], ignore_index=True)
        users, items = sorted(both["user"].unique()), sorted(both["item"].unique())
        train = Interactions.of(frame, user_ids=users, item_ids=items)
        seen = set(zip(frame["user"], frame["item"], strict=True))
        new = [pair not in seen for pair in zip(test["user"], test["item"], strict=True)]
        held = Interactions.of(test[new], time=None, user_ids=users, item_ids=items)
        if not len(held):
            raise TableError("every row of the test table is in the training table too, so nothing new is left to find")
        cut = "user-time" if timed else "random"
    else:
        data = Interactions.of(frame)
        train, held = _cut(data, protocol, (ratios[0] + ratios[1]) / total, seed)
        cut = protocol
    learn, tune = _cut(train, cut, 1.0 - tune_share, seed + 1)
    for name, part in (("training", learn), ("tuning", tune), ("test", held)):
        if not len(part):
            alike = " or its times are too alike" if protocol == "time" else ""
            raise TableError(
                f"the {name} part of protocol {protocol} has no row; the table is too small{alike} for {ratios}"
            )
    return Split(learn, tune, train, held)


def _cut(data: Interactions, protocol: str, share: float, seed: int) -> tuple[Interactions, Interactions]:
    if protocol == "random":
        first, second = random_split(data, (share, 1.0 - share), seed=seed)
    elif protocol == "user-time":
        first, second = tail_split(data, (share, 1.0 - share))
    else:
        first, second = time_split(data, 1.0 - share)
    return first, second


def times_differ(data: Interactions) -> bool:
    """Whether the order of a history means anything."""
    return bool(len(data)) and float(np.ptp(data.times)) > 0
