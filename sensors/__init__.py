"""When something is made: sensors and schedules, all switched on explicitly. What is made stands in `ai_assets`."""

import dagster as dg

from resources.settings import Settings
from sensors.followers import follower_sensors
from sensors.inputs import input_sensors
from sensors.retraining import retraining_sensors
from sensors.schedules import SCHEDULES
from sensors.upkeep import upkeep_sensors
from sensors.watch import watch_sensors

__all__ = ["SCHEDULES", "build_sensors"]


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Every sensor of a home, ticking at its configured interval."""
    automation = dg.AutomationConditionSensorDefinition(
        "keep_fresh",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=settings.sensor_seconds,
        description="Rebuilds tables whose inputs have changed; never trains a model.",
    )
    seconds = settings.sensor_seconds
    return [
        *input_sensors(seconds),
        *retraining_sensors(seconds),
        *upkeep_sensors(seconds),
        *follower_sensors(seconds),
        *watch_sensors(seconds),
        automation,
    ]
