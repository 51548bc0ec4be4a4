"""What an asset promises: the value that every duty of the contract reads. No behaviour here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

    from resources.platform import Platform

# Partitioned checks are in preview and single-run backfills in beta in dagster 1.13; both are pinned and tested here.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

Owner = Literal["architecture", "backend", "machine-learning", "data-engineering", "security", "platform"]
Outdated = Callable[["Platform"], bool]
Policy = Literal["keep_fresh", "sensor_led", "on_request", "source"]


@dataclass(frozen=True)
class Partitioning:
    """A partitions definition and the column of the tables that holds its keys."""

    definition: dg.PartitionsDefinition
    column: str


@dataclass(frozen=True)
class Verdict:
    """What a check found. `metadata` is shown beside it in the UI."""

    passed: bool
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", bool(self.passed))  # numpy's truth values are not taken by Dagster


@dataclass(frozen=True)
class Check:
    """A check beyond the schema. Without `function` the asset's body gives the verdict itself (`Table.verdicts`)."""

    name: str
    description: str
    function: Callable[[pd.DataFrame], Verdict] | None = None
    blocking: bool = False


@dataclass(frozen=True)
class Table:
    """A body's answer when it has more to say than the frame: metadata for the UI and verdicts of its own checks."""

    frame: pd.DataFrame
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Product:
    """The answer of an asset that is no table (a model, an index): what identifies its content, and what to show."""

    content_hash: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetContract:
    """Everything declared about one asset; `step` is the function that makes it (and, of a multi-asset, its siblings).

    `ledger_column` is the column by which the ledger keeps its partitions: usually the one of `partitioning`, but
    `raw_events` is one asset whose days are kept apart. A change of a `quiet` dependency alone makes nothing stale.
    `outdated` tells of a table that mirrors the platform database whether it holds something else now.
    """

    name: str
    step: str
    group: str
    owner: Owner
    kinds: frozenset[str]
    policy: Policy
    code_version: str
    description: str
    schema: type[pa.DataFrameModel] | None
    partitioning: Partitioning | None
    ledger_column: str | None
    dependencies: tuple[str, ...]
    quiet: tuple[str, ...]
    checks: tuple[Check, ...]
    outdated: Outdated | None = None


CONTRACTS: dict[str, AssetContract] = {}


def register(contract: AssetContract) -> None:
    """Enter a contract. A name declared twice from different places is an error of the code."""
    known = CONTRACTS.get(contract.name)
    if known is not None and known.description != contract.description:
        raise ValueError(f"two assets are called {contract.name}")
    CONTRACTS[contract.name] = contract
