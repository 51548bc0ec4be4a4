"""Data processing: from landed files and events to validated tables of events, listeners and tracks.

Datenverarbeitung: aus abgelegten Dateien und Hörereignissen werden geprüfte Tabellen der Ereignisse, Hörer und Titel.

Traitement des données : les fichiers déposés et les écoutes deviennent des tables validées d'écoutes, d'auditeurs et
de titres.
"""

import hashlib
from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from ai_assets.audio_status import ACCEPTED
from ai_assets.contract import Product, Table, accept, platform_asset, reject
from ai_assets.contract.validation import column_schema
from ai_assets.data_processing import catalogue, checks, feature_assets, identities, schemas
from ai_assets.data_processing.batches import AudioInbox, source_name
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.events import people_only, rebuild_day
from ai_assets.data_processing.external_tracks import ExternalTracks, with_external
from ai_assets.data_processing.fingerprint_match import match_candidates
from ai_assets.data_processing.interactions import LISTENERS_QUERY, activity_groups, daily_interactions
from ai_assets.data_processing.manifest import read_manifest
from ai_assets.data_processing.track_matching import TrackMatcher, event_track_id
from ai_assets.data_processing.unresolved import Unresolved
from ai_assets.partitions import AUDIO_BATCHES, EVENT_DAYS
from resources.lake.tables import LakeTable, reading
from resources.platform import Platform

GROUP = "data_processing"
ARRIVALS = (
    "landing"  # a group of its own: what came in stands before the analysis in the lineage, the catalogue after it
)


@platform_asset(
    group=ARRIVALS, owner="data-engineering", policy="source", schema=schemas.AudioManifest, partitions=AUDIO_BATCHES,
    kinds=["deltalake"], checks=[checks.MANIFEST_INVENTORY],
)  # fmt: skip
def audio_manifest(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Table:
    """The frozen list of an audio batch: place, size, hash and tags of every file. Audio starts here."""
    inbox = AudioInbox(platform.database, platform.home.root)
    listed = {batch: inbox.files(batch) for batch in context.partition_keys}
    frame, refused = read_manifest(listed, platform.home.root)
    for item in refused:
        reject(source_name(item.root, item.path), table="audio_manifest", reason=item.reason, code=item.code)
    for row in frame.itertuples():
        accept(source_name(row.root, row.path), table="audio_manifest")
    expected = sum(len(files) for files in listed.values())
    return Table(
        frame,
        metadata={"files_listed": expected, "files_refused": len(refused)},
        verdicts={"inventory": checks.inventory(expected, len(frame), len(refused))},
    )


@platform_asset(
    group=ARRIVALS, owner="data-engineering", policy="source", ledger_column="day", kinds=["deltalake"],
    checks=[checks.EVENT_INVENTORY],
)  # fmt: skip
def raw_events(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Product:
    """Every event row that ever landed, appended exactly once per place in its file, listeners as pseudonyms."""
    inbox = EventInbox(platform)
    readings = inbox.ingest(context.run.run_id)
    days = inbox.record_days(platform.lake.attempt(context.run.run_id, context.retry_number))
    shown = {name: sum(getattr(item, name) for item in readings) for name in checks.READING_COLUMNS}
    return Product(
        hashlib.sha256(repr(sorted(days.items())).encode()).hexdigest(),
        metadata={
            "files": len(readings),
            **shown,
            "rows_in_total": sum(days.values()),
            "days": len(days),
            "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(schemas.RawEvents)),
        },
        verdicts={"inventory": checks.event_inventory(readings)},
    )


@platform_asset(
    group=GROUP, owner="data-engineering", policy="sensor_led", schema=schemas.ListeningEvents,
    partitions=EVENT_DAYS, kinds=["deltalake"],
    quiet=["track_identities"], checks=[checks.DISTINCT_TRACKS],
)  # fmt: skip
def listening_events(
    context: dg.AssetExecutionContext,
    raw_events: LakeTable,
    track_identities: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:
    """The events of a UTC day, each once and with its track found: a pure rebuild from the raw rows of that day."""
    keys = list(context.partition_keys)
    raw = platform.lake.table("raw_events", keys=keys, column="day")
    if not raw.exists:
        return pd.DataFrame(columns=list(schemas.ListeningEvents.to_schema().columns))
    matcher = TrackMatcher.of(track_identities, platform.home.root)
    ExternalTracks(platform.database).teach(matcher)
    has_audio = AudioInbox(platform.database, platform.home.root).has_audio()

    def resolve(rows: pd.DataFrame) -> pd.Series:
        found = matcher.resolve(rows["track_reference"], rows["recording_mbid"])
        return found if has_audio else found.where(found.notna(), rows["track_reference"].map(event_track_id))

    events, unknown = rebuild_day(people_only(raw.frame()), resolve)
    held = platform.quarantine.sources("listening_events", "")
    for file, line in zip(events["file"], events["line"], strict=True) if held else ():
        if f"{file}:{line}" in held:
            accept(f"{file}:{line}", table="listening_events")
    for row in unknown.itertuples():
        reason = "no track of the catalogue matches; tried again when audio arrives"
        reject(f"{row.file}:{row.line}", table="listening_events", reason=reason, code="unknown_track")
    tentative = events[~events["track"].isin(set(track_identities["track"]))] if len(events) else events
    Unresolved(platform.database).remember(keys, pd.concat([unknown, tentative]))
    return events[list(schemas.ListeningEvents.to_schema().columns)]


@platform_asset(
    group=GROUP, owner="data-engineering", schema=schemas.Interactions, partitions=EVENT_DAYS, kinds=["deltalake"],
    checks=[checks.SKIP_RATE],
)  # fmt: skip
def interactions(listening_events: pd.DataFrame) -> pd.DataFrame:
    """Who played what on a day, how often and how completely: what every listening model learns from."""
    return daily_interactions(listening_events)


@platform_asset(group=GROUP, owner="data-engineering", schema=schemas.Listeners, kinds=["deltalake", "duckdb"])
def listeners(interactions: LakeTable) -> pd.DataFrame:
    """One row per listener: activity, variety, skips and likes, over all days."""
    if not interactions.exists:
        return pd.DataFrame(columns=list(schemas.Listeners.to_schema().columns))
    with reading(interactions) as connection:
        frame = connection.execute(LISTENERS_QUERY).df()
    return frame.assign(activity_group=activity_groups(frame["plays"]))


@platform_asset(
    group=GROUP, owner="data-engineering", policy="sensor_led", schema=schemas.TrackIdentities,
    kinds=["deltalake"], code_version="3",
    checks=[checks.ONE_TRACK_PER_AUDIO],
)  # fmt: skip
def track_identities(
    audio_manifest: pd.DataFrame,
    audio_quality: pd.DataFrame,
    audio_fingerprints: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:
    """Which track each accepted file holds; ids come from the decoded audio and survive moving, renaming, re-encoding.

    What stands in quarantine is no track: a file that is cut or damaged waits there until it is repaired.
    """
    accepted = audio_quality[audio_quality["audio_hash"].notna() & audio_quality["status"].isin(ACCEPTED)]
    files = accepted[["batch", "root", "path", "audio_hash", "duration_seconds"]].merge(
        audio_manifest[["batch", "root", "path", "file_hash", "mbid", "isrc", "title", "artist"]],
        on=["batch", "root", "path"],
    )
    prints = audio_fingerprints.drop_duplicates("audio_hash").set_index("audio_hash")["fingerprint"].to_dict()

    def duplicates(distinct: pd.DataFrame) -> list[tuple[str, str]]:
        return match_candidates(
            {name: bytes.fromhex(prints[name]) for name in distinct["audio_hash"] if name in prints}
        )

    external = ExternalTracks(platform.database).after()
    entered = {row.file_hash: row.track for row in external if row.file_hash is not None}
    return identities.assign_identities(files, duplicates, entered)


@platform_asset(
    group=GROUP, owner="data-engineering", policy="sensor_led", schema=schemas.Tracks, kinds=["deltalake"],
    code_version="2", deps=["landing_files"],
    checks=[checks.NAMED_TRACKS],
)  # fmt: skip
def tracks(
    track_identities: pd.DataFrame,
    audio_manifest: pd.DataFrame,
    audio_quality: pd.DataFrame,
    audio_descriptors: pd.DataFrame,
    track_tags: pd.DataFrame,
    listening_events: LakeTable,
    platform: dg.ResourceParam[Platform],
) -> pd.DataFrame:
    """The catalogue: one current row per track, from identities, tags and analysis."""
    analysis = (
        audio_quality[["audio_hash", "duration_seconds"]]
        .dropna()
        .drop_duplicates("audio_hash")
        .merge(
            audio_descriptors.drop_duplicates("audio_hash")[
                ["audio_hash", "tempo_bpm", "key", "loudness_lufs", "energy_index"]
            ],
            on="audio_hash",
            how="left",
        )
    )
    classes = track_tags.loc[track_tags["genre"].notna(), ["audio_hash", "genre"]].drop_duplicates("audio_hash")
    gone = AudioInbox(platform.database, platform.home.root).gone() | catalogue.damaged(audio_quality)
    heard = catalogue.heard_tracks(listening_events)
    frame = catalogue.build_catalogue(track_identities, audio_manifest, analysis, classes, heard, gone)
    whole = frame.reindex(columns=list(schemas.Tracks.to_schema().columns))
    return with_external(whole, ExternalTracks(platform.database).after())


@platform_asset(
    group=GROUP, owner="data-engineering", policy="sensor_led", schema=schemas.TracksHistory, kinds=["deltalake"]
)
def tracks_history(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """What the catalogue said about each track, and from when to when."""
    own = platform.lake.table("tracks_history")
    columns = list(schemas.TracksHistory.to_schema().columns)
    history = own.frame() if own.exists else pd.DataFrame(columns=columns)
    return catalogue.extend_history(history, tracks, datetime.now(UTC)).reindex(columns=columns)


ASSETS = [
    audio_manifest, raw_events, listening_events, interactions, listeners, track_identities, tracks, tracks_history,
    *feature_assets.ASSETS,
]  # fmt: skip
