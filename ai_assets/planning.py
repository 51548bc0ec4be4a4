"""What is missing, stale or failed: our own comparison of the ledger with the declared graph. Nothing is run here.

A partition is stale when its code version or the content of any of its inputs differs from what it was made of.
Dagster's own stale mark is slower and does not look through an edge with more than a hundred partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ai_assets.contract.lineage import Entries, inputs_digest
from ai_assets.contract.spec import CONTRACTS, AssetContract
from ai_assets.data_processing.batches import AudioInbox
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.track_matching import TrackMatcher
from ai_assets.data_processing.unresolved import Unresolved
from resources.platform import Platform

MISSING, CODE, INPUTS, PENDING, RETRY = "missing", "code changed", "inputs changed", "new events", "tracks arrived"
CHANGED = "changed since it was made"
LONGEST_RANGE = {"batch": 8, "day": 366}
MOST_ROWS = 300_000
"""Raw event rows of one run over days: what a run holds in memory at once (a day alone may have more)."""


@dataclass(frozen=True)
class Item:
    """One partition ("" of an unpartitioned asset) that wants work, and why."""

    asset: str
    key: str
    reason: str
    digest: str


@dataclass(frozen=True)
class RunPlan:
    """One run: assets of one partitioning, over a range of keys (empty for unpartitioned assets)."""

    assets: tuple[str, ...]
    keys: tuple[str, ...]


def event_inbox(platform: Platform) -> EventInbox:
    return EventInbox(platform)


def topological(contracts: Mapping[str, AssetContract]) -> list[str]:
    """Names in an order in which every asset comes after its inputs; equal ranks keep the declared order."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name not in contracts:
            return
        seen.add(name)
        for dependency in contracts[name].dependencies:
            visit(dependency)
        order.append(name)

    for name in contracts:
        visit(name)
    return order


class Planner:
    """Plans over one home."""

    def __init__(self, platform: Platform, *, today: Callable[[], str] | None = None) -> None:
        self._platform = platform
        self._today = today or (lambda: f"{datetime.now(UTC):%Y-%m-%d}")
        self.order = topological(CONTRACTS)

    def items(self, entries: Entries | None = None) -> list[Item]:
        """Everything that wants work, in the order of the lineage."""
        entries = self._platform.lake.ledger.all() if entries is None else entries
        expected = self._expected(entries)
        retry = set(self._days_to_retry())
        found: list[Item] = []
        for name in self.order:
            contract = CONTRACTS[name]
            held = entries.get(name, {})
            for key in expected[contract.partitioning.column if contract.partitioning else ""]:
                reason, digest = self._reason(contract, key, held, entries, retry)
                if reason:
                    found.append(Item(name, key, reason, digest))
        return found

    def rows_by_day(self) -> dict[str, int]:
        """Raw event rows of every day."""
        return {day: entry.rows or 0 for day, entry in self._platform.lake.ledger.entries("raw_events").items()}

    def forced(self, names: Sequence[str]) -> list[Item]:
        """Items that make unpartitioned assets anew, stale or not, in the order of the lineage."""
        return [Item(name, "", "asked for", f"asked for {name}") for name in self.order if name in names]

    def select(self, assets: Sequence[str], *, first: str | None, last: str | None, everything: bool) -> list[Item]:
        """Items of a backfill: named or all partitioned assets, within a range of keys, stale ones or all.

        Raises LookupError naming an asset or partition that does not exist.
        """
        unknown = sorted(set(assets) - set(CONTRACTS))
        if unknown:
            raise LookupError(f"there is no asset {unknown[0]!r}; there are: {', '.join(sorted(CONTRACTS))}")
        chosen = set(assets) or {name for name, contract in CONTRACTS.items() if contract.partitioning}
        stale = {(item.asset, item.key): item for item in self.items() if item.asset in chosen}
        expected = self._expected(self._platform.lake.ledger.all())
        items = []
        for name in self.order:
            contract = CONTRACTS[name]
            if name not in chosen:
                continue
            for key in expected[contract.partitioning.column if contract.partitioning else ""]:
                if key and ((first and key < first) or (last and key > last)):
                    continue
                found = stale.get((name, key)) or (Item(name, key, "asked for", "asked for") if everything else None)
                if found is not None:
                    items.append(found)
        return items

    def _reason(
        self, contract: AssetContract, key: str, held: Mapping, entries: Entries, retry: set[str]
    ) -> tuple[str, str]:
        digest = inputs_digest(contract, key, entries)
        if contract.name == "raw_events":
            pending = event_inbox(self._platform).pending()
            return (PENDING if pending else "" if key in held else MISSING), ",".join(pending)
        if key not in held:
            return MISSING, digest
        if contract.outdated is not None and contract.outdated(self._platform):
            return CHANGED, digest + "changed"
        if held[key].code_version != contract.code_version:
            return CODE, digest
        if held[key].inputs_digest != digest:
            return INPUTS, digest
        if contract.name == "listening_events" and key in retry:
            return RETRY, digest + "retry"
        return "", digest

    def _expected(self, entries: Entries) -> dict[str, list[str]]:
        inbox = AudioInbox(self._platform.database, self._platform.home.root)
        # an event may be dated a few minutes ahead: a day that has not begun has no partition, and waits until it has
        days = sorted(key for key in entries.get("raw_events", {}) if key and key <= self._today())
        return {"": [""], "batch": inbox.batches(), "day": days}

    def _days_to_retry(self) -> list[str]:
        unresolved = Unresolved(self._platform.database)
        table = self._platform.lake.table("track_identities")
        if not unresolved.any() or not table.exists:
            return []
        return unresolved.days_to_retry(TrackMatcher.of(table.frame(), self._platform.home.root))


def next_run(
    items: Sequence[Item], order: Sequence[str], batches: Sequence[str], rows: Mapping[str, int] | None = None
) -> RunPlan | None:
    """The next run to launch: the first asset that wants work, and all of its partitioning that can go along.

    Args:
        batches: all batches in the order of their partitions.
        rows: raw event rows by day; a run over days is bounded by them.
    """
    wanting: dict[str, list[str]] = {}
    for item in items:
        wanting.setdefault(item.asset, []).append(item.key)
    first = next((name for name in order if name in wanting), None)
    if first is None:
        return None
    partitioning = CONTRACTS[first].partitioning
    if CONTRACTS[first].policy == "source" and partitioning is None:
        return RunPlan((first,), ())  # only what it brings says which partitions there are
    keys = _range(wanting[first], partitioning.column if partitioning else "", batches, rows or {})
    chosen: list[str] = []
    dirty: set[str] = set()
    for name in order:
        contract = CONTRACTS[name]
        wants = name in wanting
        blocked = any(dependency in dirty for dependency in contract.dependencies)
        alike = contract.partitioning is partitioning or contract.partitioning == partitioning
        if wants and alike and not blocked and set(wanting[name]) & set(keys):
            chosen.append(name)
        elif wants or blocked:
            dirty.add(name)
    chosen = _whole_steps(chosen)
    return RunPlan(tuple(chosen), tuple(keys) if partitioning else ())


def _whole_steps(names: Iterable[str]) -> list[str]:
    """Names with all tables of the steps that make them."""
    steps = {CONTRACTS[name].step for name in names}
    return [name for name in CONTRACTS if CONTRACTS[name].step in steps]


def day_ranges(days: Sequence[str], rows: Mapping[str, int]) -> list[list[str]]:
    """Sorted days cut into ranges without a gap, none with too many raw event rows (`rows` by day)."""
    ranges: list[list[str]] = []
    left = list(days)
    while left:
        ranges.append(_range(left, "day", (), rows))
        left = left[len(ranges[-1]) :]
    return ranges


def _range(keys: Sequence[str], column: str, batches: Sequence[str], rows: Mapping[str, int]) -> list[str]:
    """The longest beginning of `keys` without a gap in the order of their partitions definition, bounded."""
    if not column:
        return [""]
    place = {key: index for index, key in enumerate(batches)} if column == "batch" else None
    chosen, held = [keys[0]], rows.get(keys[0], 0)
    for key in keys[1:]:
        held += rows.get(key, 0)
        follows = place[key] == place[chosen[-1]] + 1 if place is not None else key == _next_day(chosen[-1])
        if not follows or len(chosen) >= LONGEST_RANGE[column] or held > MOST_ROWS:
            break
        chosen.append(key)
    return chosen


def _next_day(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
