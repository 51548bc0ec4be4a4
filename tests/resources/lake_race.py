"""A process that writes to a lake, for tests that race or kill it: lake_race.py FOLDER COMMAND ARGUMENTS."""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

import resources.quarantine  # noqa: F401  (declares its table)
from resources.database import Database
from resources.lake.fence import Attempt, Fenced
from resources.lake.tables import Lake


def lake_of(folder: Path) -> Lake:
    database = Database(f"sqlite:///{folder / 'platform.db'}", folder / "locks")
    database.prepare()
    return Lake(str(folder / "lake"), database)


def main() -> None:
    folder, command, *rest = Path(sys.argv[1]), *sys.argv[2:]
    lake = lake_of(folder)
    if command == "many":  # many KEY…: one write per key, after the start signal
        lake.attempt("warm")
        Path(folder, f"ready-{rest[0]}").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.002)
        for key in rest:
            lake.replace("t", pa.table({"x": [len(key)]}), lake.attempt(f"run-{key}"), column="key", key=key)
    elif command == "race":  # race TOKEN…: one round per token, each for one partition of a table of its own
        for number, token in enumerate(map(int, rest)):
            Path(folder, f"ready-{number}-{token}").touch()
            while not Path(folder, f"go-{number}").exists():
                time.sleep(0.002)
            with suppress(Fenced):
                data = pa.table({"x": [token] * 50})
                lake.replace(f"round{number}", data, Attempt(f"run-{token}", 0, token), column="key", key="a")
    elif command == "big":  # big SEED ROWS: a large write that the test interrupts
        data = pa.table({"x": [random.getrandbits(60) for _ in range(int(rest[1]))]})
        Path(folder, f"ready-{rest[0]}").touch()
        lake.replace("t", data, lake.attempt(f"run-{rest[0]}"), column="key", key="a")


if __name__ == "__main__":
    main()
