"""One evaluation of all sensors, which kills itself at a named point: crash_sensor.py SENSOR POINT (or neither)."""

import logging
import signal
import sys
import time
from contextlib import suppress

from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from ai_assets.home import open_instance, prepare_home
from resources.settings import load_settings


def main() -> None:
    flags = {sys.argv[1]: {sys.argv[2]: signal.SIGKILL}} if len(sys.argv) > 2 else None
    target = ModuleTarget("ai_assets.definitions", attribute=None, working_directory=None, location_name="music_ai")
    with (
        open_instance(prepare_home(load_settings())) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        for _ in range(1 if flags else 3):
            log = logging.getLogger("crash")
            for error in execute_sensor_iteration(workspace, log, None, None, debug_crash_flags=flags):
                with suppress(AttributeError):
                    print("error", error.to_string())
            time.sleep(1.1)


if __name__ == "__main__":
    main()
