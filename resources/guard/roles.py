"""Which role may do what: the one table of GraphQL mutations, and of the permissions that Dagster's UI shows.

What is not in the table is denied, so a mutation of a later Dagster is closed until somebody has placed it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Role(IntEnum):
    """Each role may do all that the one before may. NOBODY stands in the tables only; no token has it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3
    NOBODY = 4

    @classmethod
    def named(cls, name: str) -> Role:
        """The role of a token. Raises ValueError for anything but viewer, operator, admin."""
        found = {"viewer": cls.VIEWER, "operator": cls.OPERATOR, "admin": cls.ADMIN}.get(name)
        if found is None:
            raise ValueError(f"role {name!r}: expected viewer, operator or admin")
        return found

    def __str__(self) -> str:
        return self.name.lower()


# Operators make things and stop them; admins take history away, write it by hand, or change limits for everybody.
MUTATIONS: Mapping[str, Role] = {
    "logTelemetry": Role.VIEWER,  # sent by the UI itself; telemetry is off
    "setNuxSeen": Role.VIEWER,  # "I have seen the welcome page"
    "launchRun": Role.OPERATOR,
    "launchMultipleRuns": Role.OPERATOR,
    "launchPipelineExecution": Role.OPERATOR,
    "launchRunReexecution": Role.OPERATOR,
    "launchPipelineReexecution": Role.OPERATOR,
    "terminateRun": Role.OPERATOR,
    "terminateRuns": Role.OPERATOR,
    "terminatePipelineExecution": Role.OPERATOR,
    "launchPartitionBackfill": Role.OPERATOR,
    "resumePartitionBackfill": Role.OPERATOR,
    "reexecutePartitionBackfill": Role.OPERATOR,
    "cancelPartitionBackfill": Role.OPERATOR,
    "startSchedule": Role.OPERATOR,
    "stopRunningSchedule": Role.OPERATOR,
    "resetSchedule": Role.OPERATOR,
    "scheduleDryRun": Role.OPERATOR,  # runs the schedule's code
    "startSensor": Role.OPERATOR,
    "stopSensor": Role.OPERATOR,
    "resetSensor": Role.OPERATOR,
    "setSensorCursor": Role.OPERATOR,
    "sensorDryRun": Role.OPERATOR,  # runs the sensor's code
    "setAutoMaterializePaused": Role.OPERATOR,
    "reloadRepositoryLocation": Role.OPERATOR,
    "reloadWorkspace": Role.OPERATOR,
    "addDynamicPartition": Role.OPERATOR,
    "freeConcurrencySlots": Role.OPERATOR,
    "freeConcurrencySlotsForRun": Role.OPERATOR,
    "wipeAssets": Role.ADMIN,
    "deleteRun": Role.ADMIN,
    "deletePipelineRun": Role.ADMIN,
    "deleteDynamicPartitions": Role.ADMIN,  # can wipe their materializations
    "reportRunlessAssetEvents": Role.ADMIN,  # claims a materialization that no run made
    "reportAssetCheckEvaluations": Role.ADMIN,
    "setConcurrencyLimit": Role.ADMIN,
    "deleteConcurrencyLimit": Role.ADMIN,
    "shutdownRepositoryLocation": Role.ADMIN,
    "setAppManagedComponent": Role.NOBODY,  # a hosted feature that would write code
    "deleteAppManagedComponent": Role.NOBODY,
    "refreshComponentState": Role.NOBODY,
}

# Dagster's own permissions: what is greyed out in the UI, and a second lock behind the guard.
PERMISSIONS: Mapping[str, Role] = {
    "launch_pipeline_execution": Role.OPERATOR,
    "launch_pipeline_reexecution": Role.OPERATOR,
    "terminate_pipeline_execution": Role.OPERATOR,
    "launch_partition_backfill": Role.OPERATOR,
    "cancel_partition_backfill": Role.OPERATOR,
    "start_schedule": Role.OPERATOR,
    "stop_running_schedule": Role.OPERATOR,
    "schedule_dry_run": Role.OPERATOR,
    "edit_sensor": Role.OPERATOR,
    "sensor_dry_run": Role.OPERATOR,
    "update_sensor_cursor": Role.OPERATOR,
    "toggle_auto_materialize": Role.OPERATOR,
    "reload_repository_location": Role.OPERATOR,
    "reload_workspace": Role.OPERATOR,
    # Adding and deleting partitions share one permission; the mutations are told apart above.
    "edit_dynamic_partitions": Role.OPERATOR,
    "wipe_assets": Role.ADMIN,
    "delete_pipeline_run": Role.ADMIN,
    "report_runless_asset_events": Role.ADMIN,
    "edit_concurrency_limit": Role.ADMIN,
    "edit_app_managed_components": Role.NOBODY,
    "refresh_component_state": Role.NOBODY,
}


def needed_for(mutation: str) -> Role:
    """The role a mutation needs; NOBODY when it is unknown."""
    return MUTATIONS.get(mutation, Role.NOBODY)


def may_use(role: Role, permission: str) -> bool:
    """Whether Dagster's UI offers this permission to the role; an unknown permission is not offered."""
    return role >= PERMISSIONS.get(permission, Role.NOBODY)
