"""Every writer of the platform as three functions, for tests that kill, race and starve it: writers.py NAME FOLDER SEED.

`write` does one write; `read` is what a reader sees, and raises when it is torn. Values are of one seed throughout, so
that a mixture of two writes shows.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

import resources.quarantine  # noqa: F401  (declares its table)
from resources.audit_log import AuditLog
from resources.blobs import Blobs
from resources.database import METADATA, Database, upsert
from resources.lake.tables import Lake

ROWS = 20_000
PAIR = sa.Table(
    "pair", METADATA, sa.Column("side", sa.Integer, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)


def database(folder: Path) -> Database:
    found = Database(f"sqlite:///{folder / 'platform.db'}", folder / "locks")
    found.prepare()
    return found


def whole(values: list[Any], expected: int) -> Any:
    """The one value of a partition. Raises ValueError for a mixture or a part."""
    if len(set(values)) != 1 or len(values) != expected:
        raise ValueError(f"torn: {len(values)} values of {sorted(set(values))[:3]}, expected {expected} of one")
    return values[0]


def write_lake(folder: Path, seed: int) -> None:
    lake = Lake(str(folder / "lake"), database(folder))
    data = pa.table({"x": pa.array([seed] * ROWS, pa.int64()), "noise": np.random.default_rng(seed).random(ROWS)})
    lake.replace("t", data, lake.attempt(f"run-{seed}"), column="key", key="a")


def read_lake(folder: Path) -> int:
    return whole(Lake(str(folder / "lake"), database(folder)).read("t")["x"].to_pylist(), ROWS)


def write_blob(folder: Path, seed: int) -> None:
    Blobs(folder / "blobs").put(np.random.default_rng(seed).bytes(2_000_000))


def read_blob(folder: Path) -> int:
    blobs = Blobs(folder / "blobs")
    names = [path.name for path in folder.glob("blobs/*/*") if not path.name.startswith(".aside-")]
    for name in names:
        blobs.get(name)  # raises when its bytes do not match its name
    return len(names)


def write_index(folder: Path, seed: int) -> None:
    from resources.vector_index.builder import build

    vectors = np.random.default_rng(seed).standard_normal((300, 8)).astype(np.float32)
    names = [f"{seed}-{number}" for number in range(300)]
    with database(folder).lock("index"):  # a build is one writer's: the assets hold a lock too
        build(folder / "index", names, vectors, model_version=str(seed), watermark=0)


def read_index(folder: Path) -> str:
    from resources.vector_index.generation import current, open_generation

    found = current(folder / "index")
    if found is None:
        raise ValueError("no generation")
    again = open_generation(found.folder, verify=True)
    return whole([str(name).partition("-")[0] for name in again.ids], 300)


def write_database(folder: Path, seed: int) -> None:
    with database(folder).begin() as connection:
        text = hashlib.sha256(str(seed).encode()).hexdigest() * 2000
        upsert(connection, PAIR, [{"side": side, "value": text} for side in range(20)], update={"value": "new"})


def read_database(folder: Path) -> str:
    return whole([row["value"][:64] for row in database(folder).query(sa.select(PAIR))], 20)


def write_audit(folder: Path, seed: int) -> None:
    AuditLog(folder / "audit", folder / "secrets").append("test", "writer", {"seed": seed}, padding="x" * 50_000)


def read_audit(folder: Path) -> int:
    found = AuditLog(folder / "audit", folder / "secrets").verify()
    if not found.ok:
        raise ValueError(found.problem)
    return found.records


@dataclass(frozen=True)
class Writer:
    write: Callable[[Path, int], None]
    read: Callable[[Path], Any]


WRITERS = {
    "lake": Writer(write_lake, read_lake),
    "blobs": Writer(write_blob, read_blob),
    "index": Writer(write_index, read_index),
    "database": Writer(write_database, read_database),
    "audit": Writer(write_audit, read_audit),
}

if __name__ == "__main__":
    name, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    WRITERS[name].write(folder, 0) if seed == 0 else None
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, int(sys.argv[4]) + 1):
        WRITERS[name].write(folder, seed * 1000 + number)
