"""A job of one slow step over the Celery executor, for tests that kill what works on it: small_graph.py lead SECONDS."""

import os
import sys
import time
from pathlib import Path

import dagster as dg
import pyarrow as pa

from ai_assets.home import open_instance, prepare_home
from resources.celery.executor import celery_executor
from resources.executors import QUEUE_TAG
from resources.platform import Platform
from resources.settings import load_settings


def note(platform: Platform, word: str, context: dg.OpExecutionContext) -> None:
    with (platform.home.root / "notes").open("a") as file:
        file.write(f"{word} {os.getpid()} {context.retry_number}\n")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=1), config_schema={"seconds": float}, tags={QUEUE_TAG: "cpu"})
def slow(context: dg.OpExecutionContext) -> None:
    """Wait, then write one row under the fence."""
    platform = Platform(load_settings())
    note(platform, "begin", context)
    time.sleep(context.op_config["seconds"])
    attempt = platform.lake.attempt(context.run_id, context.retry_number)
    platform.lake.replace("t", pa.table({"attempt": [context.retry_number]}), attempt)
    note(platform, "end", context)


@dg.op(tags={QUEUE_TAG: "gpu"})
def needs_gpu() -> None:
    """For a queue that nobody listens to."""


@dg.job(executor_def=celery_executor)
def slow_job() -> None:
    slow()


@dg.job(executor_def=celery_executor)
def gpu_job() -> None:
    needs_gpu()


def lead(name: str, seconds: float) -> bool:
    """Lead a run here; its run id and its outcome are printed."""
    config = {"ops": {"slow": {"config": {"seconds": seconds}}}} if name == "slow_job" else {}
    with open_instance(prepare_home(load_settings())) as instance:
        job = dg.reconstructable({"slow_job": slow_job, "gpu_job": gpu_job}[name])
        result = dg.execute_job(job, instance, run_config=config)
        print(result.run_id, "success" if result.success else "failure")
        for event in result.all_events:
            if event.is_step_failure or event.event_type_value == "STEP_UP_FOR_RETRY":
                print(event.event_type_value, event.event_specific_data.error.message)
        return result.success


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import small_graph  # by its own name, so that workers can find it

    raise SystemExit(0 if small_graph.lead(sys.argv[1], float(sys.argv[2])) else 1)
