"""Plan, launch, wait: the one engine behind `run`, `demo`, `backfill`, `plan` and the tasks.

It takes new files into batches, asks the planner what wants work, and launches run after run in this process until
nothing is left that could be done. It alone reaches the definitions, at run time.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ai_assets.audio_status import ACCEPTED
from ai_assets.contract.errors import PermanentError
from ai_assets.contract.progress import Progress, listening
from ai_assets.contract.spec import CONTRACTS
from ai_assets.contract.trace import TRACE_TAG
from ai_assets.data_processing.batches import CANARY, AudioInbox, newest_of_files
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.presence import Presence
from ai_assets.home import open_instance, prepare_home
from ai_assets.on_workers import PARTITION, execute_on_workers
from ai_assets.partitions import AUDIO_BATCHES
from ai_assets.planning import Item, Planner, RunPlan, event_inbox, next_run
from resources.alerts import Alert
from resources.executors import works_elsewhere
from resources.platform import Platform
from resources.settings import load_settings

if TYPE_CHECKING:
    import dagster as dg

LAUNCH_TAG = "ai_assets/launch"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MOST_FAILURES = 8
QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Failure:
    """A step that failed, or a blocking check that stopped its output."""

    asset: str
    keys: tuple[str, ...]
    message: str
    run_id: str


@dataclass(frozen=True)
class Done:
    """One run that ended."""

    plan: RunPlan
    run_id: str
    success: bool
    seconds: float


@dataclass
class Summary:
    """What a launch did. `run_id` is that of its first run; all its runs carry it as a tag."""

    run_id: str
    trace_id: str
    runs: list[Done] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "failed" if self.failures else "done"


@dataclass(frozen=True)
class Taken:
    """Audio files of the looked-at roots: all that are there, and those taken into batches now."""

    files: int
    waiting: int
    batches: tuple[str, ...]
    roots: tuple[str, ...]


class Launcher:
    """Launches over one home; a context manager that holds the Dagster instance.

    Args:
        platform: of a prepared home.
        progress: told of every step's beginning, work and end.
        overrides: resources that replace the platform's own (tests).
        here: work on steps in this process although the home has workers (a task is on one of them already).
    """

    def __init__(
        self,
        platform: Platform,
        *,
        progress: Callable[[Progress], None] | None = None,
        on_run: Callable[[RunPlan, Sequence[Item]], None] | None = None,
        overrides: Mapping[str, Any] | None = None,
        here: bool = False,
    ) -> None:
        self.platform = platform
        self._distributed = works_elsewhere(platform.settings) and not here
        self._progress = progress
        self._on_run = on_run
        self._overrides = dict(overrides or {})

    def __enter__(self) -> Launcher:
        self.instance = open_instance(self.platform)
        self.definitions = load_definitions(self.platform, self._overrides)
        self.planner = Planner(self.platform)
        self.register_batches()
        return self

    def __exit__(self, *_: object) -> None:
        self.instance.dispose()

    def inbox(self) -> AudioInbox:
        return AudioInbox(self.platform.database, self.platform.home.root)

    def event_inbox(self) -> EventInbox:
        return event_inbox(self.platform)

    # -- inputs ------------------------------------------------------------------------------------------------

    def take_audio(self, roots: Iterable[str] | None = None, *, settle_seconds: float = 0.0) -> Taken:
        """Freeze new, settled files of the roots into batches and register their partitions."""
        inbox = self.inbox()
        roots = tuple(roots if roots is not None else inbox.roots())
        files, waiting, batches = 0, 0, []
        for root in roots:
            seen = inbox.look(root, settle_seconds=settle_seconds)
            if root != CANARY:  # it is no file of the user's
                files += seen.known + len(seen.ready) + len(seen.waiting)
                waiting += len(seen.waiting)
            batches += inbox.freeze(root, seen.ready)
        self.register_batches()
        return Taken(files, waiting, tuple(batches), tuple(root for root in roots if root != CANARY))

    def note_missing_files(
        self, roots: Iterable[str] | None = None, *, confirmed: bool = False, alert: bool = True
    ) -> bool:
        """Mark files that are no longer there; a root that lost a fifth of its files at once only alerts.

        Without `alert` nothing is said yet: new files that are still to be analysed may be the lost ones. Returns
        whether something waits for confirmation.
        """
        presence = Presence(self.platform.database, self.platform.lake, self.platform.home.root)
        looks = [presence.look(root, confirmed=confirmed) for root in roots or self.inbox().roots()]
        for look in looks:
            if not look.suspended:
                self.platform.alerts.resolve(f"vanished:{look.root}")
            elif alert:
                look.warn()
                self.platform.alerts.raise_alert(Alert(f"vanished:{look.root}", "files_vanished", look.message))
        return any(look.suspended for look in looks)

    def register_batches(self) -> list[str]:
        """Add the partitions of frozen batches that Dagster does not know yet; returns all keys in its order."""
        name = AUDIO_BATCHES.definition.name  # type: ignore[attr-defined]
        known = self.instance.get_dynamic_partitions(name)
        new = [key for key in self.inbox().batches() if key not in set(known)]
        if new:
            self.instance.add_dynamic_partitions(name, new)
        return [*known, *new]

    # -- runs --------------------------------------------------------------------------------------------------

    def is_audio_table(self, name: str) -> bool:
        """Whether an asset is kept by audio batch, or is the catalogue made from those."""
        partitioning = CONTRACTS[name].partitioning
        return (partitioning is not None and partitioning.column == "batch") or name in ("track_identities", "tracks")

    def bring_up_to_date(
        self,
        *,
        only: Iterable[str] | None = None,
        trace_id: str | None = None,
        items: Sequence[Item] | None = None,
        run_id: str | None = None,
    ) -> Summary:
        """Launch runs until nothing (of the assets in `only`) wants work any more, or only what has just failed.

        With `items` exactly these are made, once, whether or not they are stale.
        """
        first = run_id or str(uuid.uuid4())
        summary = Summary(first, trace_id or "")
        wanted = set(only) if only is not None else None
        tried: set[tuple[str, str, str]] = set()
        forced = list(items) if items is not None else None
        while True:
            found = forced if forced is not None else self.planner.items()
            left = [
                item
                for item in found
                if (item.asset, item.key, item.digest) not in tried and (wanted is None or item.asset in wanted)
            ]
            plan = next_run(left, self.planner.order, self.register_batches(), self.planner.rows_by_day())
            if plan is None:
                self._follow(summary)
                return summary
            chosen = [item for item in left if item.asset in plan.assets and (not plan.keys or item.key in plan.keys)]
            tried |= {(item.asset, item.key, item.digest) for item in chosen}
            if self._on_run is not None:
                self._on_run(plan, chosen)
            self._launch(plan, summary)

    def _follow(self, summary: Summary) -> None:
        """Bring the audit log and the traces up to date with what the event log now says."""
        from resources.audit_follower import follow_materializations
        from resources.tracing_replay import replay_run

        if summary.runs:
            follow_materializations(self.instance, self.platform.audit)
        for done in summary.runs:
            replay_run(self.instance, done.run_id, self.platform.tracing)
        self.platform.tracing.flush()

    def _launch(self, plan: RunPlan, summary: Summary) -> None:
        """One run; a range that fails is halved until the bad partitions stand alone, so that they hold up no other."""
        run_id = summary.run_id if not summary.runs else str(uuid.uuid4())
        run_id = free_run_id(self.instance, run_id)
        success = self.execute(plan, run_id=run_id, tags=self._tags(summary))
        summary.runs.append(Done(plan, run_id, success, _seconds(self.instance, run_id)))
        if success:
            return
        middle = len(plan.keys) // 2
        if middle == 0 or len(summary.failures) >= MOST_FAILURES:
            summary.failures += failures(self.instance, run_id, plan)
            return
        self._launch(RunPlan(plan.assets, plan.keys[:middle]), summary)
        self._launch(RunPlan(plan.assets, plan.keys[middle:]), summary)

    def check_counts(self) -> dict[str, str]:
        """Asset -> "passed/all" of the latest result of each of its checks."""
        graph = self.definitions.resolve_asset_graph()
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
        found: dict[str, list[bool]] = {}
        for key, record in latest.items():
            found.setdefault(key.asset_key.path[-1], []).append(record.status.value == "SUCCEEDED")
        return {name: f"{sum(results)}/{len(results)}" for name, results in found.items()}

    def failed_checks(self, summary: Summary) -> list[dict[str, Any]]:
        """Checks that did not pass in the runs of a launch, blocking ones first."""
        found = []
        for done in summary.runs:
            for record in self.instance.all_logs(done.run_id):
                event = record.dagster_event
                if event is None or event.event_type_value != "ASSET_CHECK_EVALUATION":
                    continue
                result: Any = event.event_specific_data
                if not result.passed and result.partition is None:
                    found.append(
                        {
                            "asset": result.asset_key.path[-1],
                            "check": result.check_name,
                            "severity": "error" if result.blocking else "warning",
                            "description": result.description or "",
                        }
                    )
        return sorted(found, key=lambda row: (row["severity"], row["asset"], row["check"]))

    def _tags(self, summary: Summary) -> dict[str, str]:
        tags = {LAUNCH_TAG: summary.run_id}
        return tags | {TRACE_TAG: summary.trace_id} if summary.trace_id else tags

    def execute(self, plan: RunPlan, *, run_id: str, tags: Mapping[str, str]) -> bool:
        """Execute one run, led by this process, on workers where the home is so configured; whether it succeeded."""
        import dagster as dg

        job = self.definitions.resolve_implicit_global_asset_job_def()
        ranged = {RANGE_START: plan.keys[0], RANGE_END: plan.keys[-1]} if len(plan.keys) > 1 else {}
        if self._distributed:
            single = {PARTITION: plan.keys[0]} if len(plan.keys) == 1 else {}
            return execute_on_workers(
                job.name,
                instance=self.instance,
                assets=plan.assets,
                run_id=run_id,
                tags={**tags, **ranged, **single},
                run_config=QUIET_LOGS,
                progress=self._progress,
            )
        observe = listening(self._progress) if self._progress is not None else nullcontext()
        with observe, self.platform.run_leases.leading(run_id):
            return job.execute_in_process(
                asset_selection=[dg.AssetKey(name) for name in plan.assets],
                partition_key=plan.keys[0] if len(plan.keys) == 1 else None,
                instance=self.instance,
                run_id=run_id,
                tags={**tags, **ranged},
                run_config=QUIET_LOGS,
                raise_on_error=False,
            ).success


def free_run_id(instance: dg.DagsterInstance, run_id: str) -> str:
    """The id itself, or a new one where a failed run has it already: a task tried again with its key is a new run."""
    return run_id if instance.get_run_by_id(run_id) is None else str(uuid.uuid4())


@contextmanager
def launched() -> Iterator[Launcher]:
    """A launcher over the home of the environment: what tasks use."""
    with Launcher(prepare_home(load_settings()), here=True) as launcher:
        yield launcher


def run_op_job(name: str, config: Mapping[str, Any], *, run_id: str, trace_id: str) -> dict[str, Any]:
    """Run a job of one op here and return what the op returned. Raises PermanentError with its message."""
    with launched() as launcher:
        job = launcher.definitions.resolve_job_def(name)
        run_id = free_run_id(launcher.instance, run_id)
        op = job.nodes[0].name
        with launcher.platform.run_leases.leading(run_id):
            result = job.execute_in_process(
                run_config={"ops": {op: {"config": dict(config)}}, **QUIET_LOGS},
                instance=launcher.instance,
                run_id=run_id,
                tags={TRACE_TAG: trace_id},
                raise_on_error=False,
            )
        if not result.success:
            raise PermanentError(failures(launcher.instance, run_id, RunPlan((name,), ()))[0].message)
        return dict(result.output_for_node(op))


def answer(platform: Platform, summary: Summary, taken: Taken | None, sources: Sequence[str] | None) -> dict[str, Any]:
    """What a launch did with its inputs, as `run --json` prints it."""
    return {
        "run_id": summary.run_id if summary.runs else None,
        "status": summary.status,
        "audio": audio_counts(platform, taken),
        "events": event_counts(platform, [done.run_id for done in summary.runs], sources),
        "skipped": skipped(platform),
        "failures": [{"asset": item.asset, "message": item.message} for item in summary.failures],
    }


def audio_counts(platform: Platform, taken: Taken | None) -> dict[str, int]:
    """files = accepted + refused + waiting, over the looked-at roots."""
    if taken is None:
        return {"files": 0, "accepted": 0, "refused": 0, "waiting": 0}
    accepted = 0
    quality = platform.lake.table("audio_quality")
    if quality.exists:
        frame = quality.frame(["batch", "root", "path", "status"])
        frame = newest_of_files(frame[frame["root"].isin(taken.roots)])
        gone = AudioInbox(platform.database, platform.home.root).gone()
        here = [place not in gone for place in zip(frame["root"], frame["path"], strict=True)]
        accepted = int(frame.loc[here, "status"].isin(ACCEPTED).sum())
    refused = max(taken.files - taken.waiting - accepted, 0)
    return {"files": taken.files, "accepted": accepted, "refused": refused, "waiting": taken.waiting}


def event_counts(platform: Platform, run_ids: list[str], sources: Sequence[str] | None) -> dict[str, int]:
    """read = accepted + quarantined + duplicates, over the given sources (all that these runs read when None)."""
    readings = event_inbox(platform).reports(run_ids)
    chosen = [item for item in readings if sources is None or item.source in sources]
    names = tuple(f"{item.source}:" for item in chosen)
    unknown = (
        sum(row["source"].startswith(names) for row in platform.quarantine.rows("listening_events")) if names else 0
    )
    accepted = sum(item.accepted for item in chosen)
    return {
        "read": sum(item.read for item in chosen),
        "accepted": accepted - min(unknown, accepted),
        "quarantined": sum(item.quarantined for item in chosen) + min(unknown, accepted),
        "duplicates": sum(item.duplicates for item in chosen),
    }


def skipped(platform: Platform) -> list[str]:
    """Which half of the graph has no input, in words."""
    remarks = []
    if not AudioInbox(platform.database, platform.home.root).has_audio():
        remarks.append("no audio yet: the catalogue is made from events alone; audio analysis was skipped")
    if not platform.lake.table("raw_events").exists:
        remarks.append("no listening events yet: listening models and personal recommendations were skipped")
    return remarks


def load_definitions(platform: Platform, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions over this platform's home."""
    module = importlib.import_module("ai_assets.definitions")
    return module.build_definitions(platform.settings, **dict(overrides or {}))


def failures(instance: dg.DagsterInstance, run_id: str, plan: RunPlan) -> list[Failure]:
    """Why a run failed, one entry per failed step."""
    found = []
    for record in instance.all_logs(run_id):
        event = record.dagster_event
        if event is None or event.event_type_value not in ("STEP_FAILURE", "RESOURCE_INIT_FAILURE"):
            continue
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        message = (error.message if error is not None else event.message or "").strip()
        names = [name for name in plan.assets if name in CONTRACTS and CONTRACTS[name].step == event.step_key] or list(
            plan.assets
        )
        found.append(
            Failure(names[0], plan.keys, message.removeprefix("dagster._core.definitions.events.Failure: "), run_id)
        )
    return found or [Failure(plan.assets[0], plan.keys, "the run failed before any step", run_id)]


def _seconds(instance: dg.DagsterInstance, run_id: str) -> float:
    stats = instance.get_run_stats(run_id)
    return (stats.end_time or 0.0) - (stats.start_time or stats.launch_time or stats.end_time or 0.0)
