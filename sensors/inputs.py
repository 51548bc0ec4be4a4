"""New audio, new events, vanished files: what comes in from outside.

Cursors hold nothing that could be lost: which file belongs to which batch, and how far an event file was read, stands
in the platform database. A tick that dies anywhere is repeated without losing or doubling a file.
"""

import hashlib
import time
from collections.abc import Collection, Iterator

import dagster as dg

from ai_assets.contract.spec import CONTRACTS
from ai_assets.data_processing.batches import AudioInbox
from ai_assets.data_processing.presence import LANDING_FILES, Presence
from ai_assets.jobs import audio_batches_job, catalogue_job
from ai_assets.partitions import AUDIO_BATCHES
from ai_assets.planning import Planner, day_ranges, event_inbox
from resources.alerts import Alert
from resources.platform import Platform
from resources.roots import StorageFault
from sensors.described import sensor
from sensors.upkeep import UNFINISHED

CATALOGUE = ("track_identities", "tracks", "tracks_history", "content_index")
PURPOSE = "ai_assets/purpose"
PURPOSES = READING, DAYS = ("read_events", "rebuild_days")
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def input_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @sensor(jobs=[audio_batches_job, catalogue_job], minimum_interval_seconds=seconds)
    def new_audio(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Puts settled audio files of the landing folder and the registered roots into a batch and has it analysed."""
        return take_new_audio(context.instance, platform)

    @sensor(
        target=dg.AssetSelection.assets("raw_events", "listening_events", "interactions"),
        minimum_interval_seconds=seconds,
    )
    def new_events(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Reads new lines of event files and of the event stream, and rebuilds the days they belong to, late ones too.

        One run of each kind at a time, so that a stream under constant load piles up no runs and starves no day.
        """
        unfinished = context.instance.get_runs(dg.RunsFilter(tags={PURPOSE: list(PURPOSES)}, statuses=UNFINISHED))
        requests = list(event_requests(platform, busy={run.tags[PURPOSE] for run in unfinished}))
        if not requests:
            return dg.SensorResult(skip_reason=dg.SkipReason("no new events"))
        return dg.SensorResult(run_requests=requests)

    @sensor(target=dg.AssetSelection.assets("tracks"), minimum_interval_seconds=max(seconds, 15))
    def vanished_files(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Marks files that are gone, brings back those that returned; a folder that lost a fifth only alerts."""
        return look_for_vanished(context.cursor, platform)

    return [new_audio, new_events, vanished_files]


def take_new_audio(instance: dg.DagsterInstance, platform: Platform) -> dg.SensorResult:
    """Freeze what is ready and request one run per batch that Dagster does not know yet."""
    inbox = AudioInbox(platform.database, platform.home.root)
    waiting, faults = 0, []
    for root in inbox.roots():
        try:
            seen = inbox.look(root, settle_seconds=platform.settings.settle_seconds)
        except StorageFault as fault:
            faults.append(str(fault))
            platform.alerts.raise_alert(Alert(f"storage:{root}", "storage_fault", str(fault)))
            continue
        platform.alerts.resolve(f"storage:{root}")
        waiting += len(seen.waiting)
        inbox.freeze(root, seen.ready)
    known = set(instance.get_dynamic_partitions(AUDIO_BATCHES.definition.name))  # type: ignore[attr-defined]
    made = platform.lake.ledger.entries("audio_manifest")
    new = [key for key in inbox.batches() if key not in known]
    unmade = [key for key in inbox.batches() if key not in made]
    catalogue = [] if unmade else catalogue_requests(platform)
    if catalogue:
        return dg.SensorResult(run_requests=catalogue)
    if not unmade and not new:
        remark = f"{waiting} files are still being written" if waiting else "no new files"
        return dg.SensorResult(skip_reason=dg.SkipReason("; ".join([remark, *faults])))
    # With the selection named, automation knows that these assets were made together and asks for none again.
    kept = [dg.AssetKey(name) for name, item in CONTRACTS.items() if item.ledger_column == AUDIO_BATCHES.column]
    requests = [
        dg.RunRequest(run_key=f"batch:{key}", job_name="audio_batches_job", partition_key=key, asset_selection=kept)
        for key in unmade
    ]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[AUDIO_BATCHES.definition.build_add_request(new)] if new else [],  # type: ignore[attr-defined]
    )


def catalogue_requests(platform: Platform) -> list[dg.RunRequest]:
    """One run over identities, catalogue and content index when the ledger says that they are stale."""
    stale = [item for item in Planner(platform).items() if item.asset in CATALOGUE]
    if not stale or not AudioInbox(platform.database, platform.home.root).has_audio():
        return []
    digest = hashlib.sha256("".join(item.digest for item in stale).encode()).hexdigest()[:16]
    return [
        dg.RunRequest(
            run_key=f"catalogue:{digest}",
            job_name="catalogue_job",
            asset_selection=[dg.AssetKey(name) for name in CATALOGUE],
        )
    ]


def event_requests(platform: Platform, *, busy: Collection[str] = ()) -> Iterator[dg.RunRequest]:
    """A run that reads what is pending, and runs over the days that are stale; none of a kind that is `busy`.

    A reading that failed for good is asked for again after ten minutes: what is in a file or stream must not be lost.
    """
    pending = event_inbox(platform).pending_digest()
    if pending and READING not in busy:
        yield dg.RunRequest(
            run_key=f"events:{pending}:{int(time.time() // 600)}",
            asset_selection=[dg.AssetKey("raw_events")],
            tags={PURPOSE: READING},
        )
    if DAYS in busy:
        return
    planner = Planner(platform)
    items = [item for item in planner.items() if item.asset == "listening_events"]
    digests = {item.key: item.digest for item in items}
    for days in day_ranges(sorted(digests), planner.rows_by_day()):
        digest = hashlib.sha256("".join(digests[day] for day in days).encode()).hexdigest()[:16]
        ranged = {RANGE_START: days[0], RANGE_END: days[-1]} if len(days) > 1 else {}
        yield dg.RunRequest(
            run_key=f"days:{days[0]}:{days[-1]}:{digest}",
            asset_selection=[dg.AssetKey("listening_events"), dg.AssetKey("interactions")],
            partition_key=days[0] if len(days) == 1 else None,
            tags={PURPOSE: DAYS, **ranged},
        )


def look_for_vanished(cursor: str | None, platform: Platform) -> dg.SensorResult:
    """Mark what is gone or back; the catalogue follows when the set of absent files has changed."""
    presence = Presence(platform.database, platform.lake, platform.home.root)
    inbox = AudioInbox(platform.database, platform.home.root)
    if not inbox.has_audio():
        return dg.SensorResult(skip_reason=dg.SkipReason("no audio yet"))
    looks = [presence.look(root) for root in inbox.roots()]
    for look in looks:
        if not look.suspended:
            platform.alerts.resolve(f"vanished:{look.root}")
        elif not presence.unanalysed(look.root):
            look.warn()
            platform.alerts.raise_alert(Alert(f"vanished:{look.root}", "files_vanished", look.message))
    entry = platform.lake.ledger.entry(LANDING_FILES)
    digest = entry.content_hash if entry else ""
    if cursor is None or digest == cursor:
        gone = sum(look.gone for look in looks if look.suspended)
        remark = (
            f"{gone} files are gone; waiting for ai-assets run --confirm-removed" if gone else "all files are there"
        )
        return dg.SensorResult(cursor=digest, skip_reason=dg.SkipReason(remark))
    event = dg.AssetMaterialization(LANDING_FILES, tags={"dagster/data_version": digest[:32]})
    return dg.SensorResult(
        cursor=digest,
        asset_events=[event],
        run_requests=[dg.RunRequest(run_key=f"tracks:{digest[:32]}", asset_selection=[dg.AssetKey("tracks")])],
    )
