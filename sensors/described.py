"""`sensor`: Dagster's decorator, with the docstring as the description that the UI shows."""

import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg


def sensor(**arguments: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """`dg.sensor`, switched on, described by the docstring of the function it decorates."""

    def decorate(function: Callable[..., Any]) -> dg.SensorDefinition:
        described = dg.sensor(
            description=inspect.getdoc(function), default_status=dg.DefaultSensorStatus.RUNNING, **arguments
        )
        return described(function)

    return decorate
