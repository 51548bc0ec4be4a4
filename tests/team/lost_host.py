"""One partition, requested once by a sensor, whose first run never ends by itself: for the host-loss simulation."""

import os
import time
from pathlib import Path

import dagster as dg

from resources.executors import step_executor
from resources.settings import load_settings


def notes() -> Path:
    return load_settings().home / "notes"


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=1))
def work(context: dg.OpExecutionContext) -> None:
    with notes().open("a") as file:
        file.write(f"begin {os.getpid()} {context.run_id}\n")
    time.sleep(600 if len(notes().read_text().splitlines()) == 1 else 0.5)
    with notes().open("a") as file:
        file.write(f"end {os.getpid()} {context.run_id}\n")


@dg.job
def lost_job() -> None:
    work()


@dg.sensor(job=lost_job, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def once(_context: dg.SensorEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key="once")


defs = dg.Definitions(jobs=[lost_job], sensors=[once], executor=step_executor(load_settings()))
