"""What training and watching need: features as known before each day, the split of the days, drift, integrity.

Was Training und Überwachung brauchen: Merkmale, wie sie vor jedem Tag bekannt waren, die Aufteilung der Tage, Drift und
Stimmigkeit der Tabellen.

Ce qu'il faut à l'apprentissage et à la surveillance : ce que l'on savait avant chaque jour, la répartition des jours,
la dérive et la cohérence des tables.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from ai_assets.contract import Table, Verdict, platform_asset
from ai_assets.data_processing import checks, drift, integrity, point_in_time, schemas
from ai_assets.data_processing.inventory import count_all, inventory_frame
from resources.alerts import Alert
from resources.lake.tables import LakeTable, reading
from resources.platform import Platform

GROUP = "data_processing"
QUALITY = "quality"  # a group of its own: it looks at all tables, and nothing is made from it


@platform_asset(
    group=GROUP, owner="data-engineering", policy="on_request", schema=schemas.ListenerFeatures,
    kinds=["deltalake", "duckdb"], checks=[checks.POINT_IN_TIME],
)  # fmt: skip
def listener_features(interactions: LakeTable) -> Table:
    """What was known of every listener when a day began: plays, skips, likes and activity before that day."""
    return _known_before(interactions, "listener", schemas.ListenerFeatures)


@platform_asset(
    group=GROUP, owner="data-engineering", policy="on_request", schema=schemas.TrackFeatures,
    kinds=["deltalake", "duckdb"], checks=[checks.POINT_IN_TIME],
)  # fmt: skip
def track_features(interactions: LakeTable) -> Table:
    """What was known of every track when a day began: plays, skips, likes and audience before that day."""
    return _known_before(interactions, "track", schemas.TrackFeatures)


def _known_before(interactions: LakeTable, key: point_in_time.Key, schema: Any) -> Table:
    columns = list(schema.to_schema().columns)
    if not interactions.exists:
        return Table(pd.DataFrame(columns=columns), verdicts={"point_in_time": Verdict(True, "no events yet")})
    with reading(interactions) as connection:
        frame = connection.execute(point_in_time.features_query(key)).df()[columns]
        wrong = point_in_time.looked_ahead(frame, connection, key)
    return Table(frame, verdicts={"point_in_time": checks.point_in_time(wrong)})


@platform_asset(
    group=GROUP, owner="data-engineering", policy="on_request", schema=schemas.ListeningSplits,
    kinds=["deltalake", "duckdb"], checks=[checks.SPLITS_IN_ORDER],
)  # fmt: skip
def listening_splits(interactions: LakeTable) -> pd.DataFrame:
    """Which days train, validate and test a listening model: whole days in the order of time, near 70, 15, 15 %."""
    columns = list(schemas.ListeningSplits.to_schema().columns)
    if not interactions.exists:
        return pd.DataFrame(columns=columns)
    with reading(interactions) as connection:
        return point_in_time.split_days(connection.execute(point_in_time.DAYS_QUERY).df())[columns]


@platform_asset(
    group=QUALITY, owner="machine-learning", policy="on_request", schema=schemas.ListeningDrift,
    kinds=["deltalake", "duckdb"], checks=list(checks.DRIFT),
)  # fmt: skip
def listening_drift(
    listening_events: LakeTable,
    tracks: LakeTable,
    listener_features: LakeTable,
    listening_splits: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> Table:
    """How listening differs from what the models were made from: event mix, hours, popularity, features."""
    since = first_current_day(platform, listening_splits)
    if since is None or not listening_events.exists:
        return Table(pd.DataFrame(columns=drift.COLUMNS), metadata={"because": "too few days to compare"})
    with reading(listening_events) as connection:
        for other in (tracks, listener_features):
            if other.exists:
                connection.register(other.name, other.dataset())
        rows = drift.measure(connection, since, has_tracks=tracks.exists, has_features=listener_features.exists)
    for name, value in drift.psi_of(rows, list(dict.fromkeys(rows["quantity"]))).items():
        if value >= drift.ALARM:
            title = f"{name} has drifted: PSI {value:.2f} (alarm from {drift.ALARM}) from {since} on"
            platform.alerts.raise_alert(Alert(f"drift:{name}:{since}", "drift", title, severity="warning"))
    return Table(rows, metadata={"current_since": since, "shares": drift.plot(rows)})


def first_current_day(platform: Platform, splits: pd.DataFrame) -> str | None:
    """The first day the listening model was not made from; while there is none, the first day of the test part."""
    trained = platform.lake.ledger.entry("collaborative_model")
    days = sorted(splits["day"])
    later = [day for day in days if trained is not None and day > trained.written_at[:10]]
    if later and later[0] != days[0]:
        return str(later[0])
    test = sorted(splits.loc[splits["split"] == "test", "day"])
    return str(test[0]) if test else None


@platform_asset(
    group=QUALITY, owner="data-engineering", policy="on_request", schema=schemas.DataQuality,
    kinds=["deltalake", "duckdb"], checks=[checks.REFERENCES, checks.VOLUMES],
    deps=sorted({rule.table for rule in integrity.REFERENCES} | {rule.parent for rule in integrity.REFERENCES}),
)  # fmt: skip
def data_quality(platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """Do the tables agree? References between tables, and volumes of end products and of the last day of events."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    rows = integrity.reference_rows(platform.lake) + integrity.volume_rows(platform.lake, today=today)
    return integrity.quality_frame(rows)


@platform_asset(
    group=QUALITY, owner="data-engineering", policy="on_request", schema=schemas.Inventory, kinds=["deltalake"],
    checks=[checks.FILES_ACCOUNTED, checks.EVENTS_ACCOUNTED, checks.NONE_FAILED], deps=["audio_quality", "raw_events"],
)  # fmt: skip
def inventory(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """Is every file, every event row and every partition accounted for? What is missing is named."""
    return inventory_frame(count_all(platform, context.instance))


ASSETS = [listener_features, track_features, listening_splits, listening_drift, data_quality, inventory]
