"""Overhead of a step under each executor: ten trivial steps in one run, against the in-process executor.

    python tests/benchmarks/bench_executors.py

Celery needs Redis (AI_ASSETS_TEST_REDIS, redis://127.0.0.1:6379/7) and uses SQLite for Dagster's storage, as the
others do. Prints wall seconds and CPU seconds of all processes, and ratios to the first line.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

ROOT = Path(__file__).parents[2]
REDIS = os.environ.get("AI_ASSETS_TEST_REDIS", "redis://127.0.0.1:6379/7")
STEPS = 10


@dg.op(ins={"after": dg.In(dg.Nothing)})
def trivial(context: dg.OpExecutionContext) -> None:
    """Nothing."""


def make(name: str) -> dg.JobDefinition:
    if name == "celery":
        from resources.celery.executor import celery_executor as executor
    elif name == "in_process":
        from resources.instance.in_process import in_process_executor as executor
    else:
        executor = dg.multiprocess_executor.configured({"start_method": {name: {}}, "max_concurrent": 1})

    @dg.job(executor_def=executor, name=f"ten_{name}")
    def ten() -> None:
        last = None
        for number in range(STEPS):
            step = trivial.alias(f"step{number}")
            last = step() if last is None else step(after=last)

    return ten


def in_process() -> dg.JobDefinition:
    return make("in_process")


def spawn() -> dg.JobDefinition:
    return make("spawn")


def forkserver() -> dg.JobDefinition:
    return make("forkserver")


def celery() -> dg.JobDefinition:
    return make("celery")


def lead(name: str) -> None:
    import bench_executors

    from ai_assets.home import open_instance, prepare_home
    from resources.settings import load_settings

    with open_instance(prepare_home(load_settings())) as instance:
        before, started = os.times(), time.monotonic()
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        done = dg.execute_job(dg.reconstructable(getattr(bench_executors, name)), instance, run_config=quiet)
        after = os.times()
        assert done.success
        cpu = sum(after[:4]) - sum(before[:4])
        print(time.monotonic() - started, cpu)


def main() -> None:
    base: float | None = None
    for name in ("in_process", "forkserver", "spawn", "celery"):
        with tempfile.TemporaryDirectory() as home:
            variables = {**os.environ, "AI_ASSETS_HOME": home, "OMP_NUM_THREADS": "1",
                         "PYTHONPATH": str(Path(__file__).parent), "AI_ASSETS_EXECUTOR": "celery",
                         "AI_ASSETS_BROKER_URL": REDIS, "AI_ASSETS_REDIS_URL": REDIS}  # fmt: skip
            worker = None
            if name == "celery":
                worker = subprocess.Popen([sys.executable, "-m", "ai_assets.cli", "worker", "--queue", "cpu"], cwd=ROOT,
                                          env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
                time.sleep(15)
            script = f"import bench_executors; bench_executors.lead({name!r})"
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True
            )
            if worker is not None:
                worker.terminate()
                worker.wait()
            if done.returncode:
                print(f"{name:12} failed: {done.stderr[-300:]}")
                continue
            wall, _ = map(float, done.stdout.split())
            base = base or wall
            print(
                f"{name:12} {wall:6.1f} s for {STEPS} steps, {wall / STEPS:5.2f} s a step, {wall / base:5.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
