"""Load time of the code location, seconds per stage of the demo, cost of a second run, overhead of the contract.

    python tests/benchmarks/bench_platform.py [demo|tiny]

Prints ratios against named baselines of the same run; times are wall or CPU seconds of this machine, now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

ROOT = Path(__file__).parents[2]
ROUNDS = 5
ASSETS = 10


def cpu_of(script: str) -> float:
    """Median CPU seconds of a Python process that runs `script`."""
    seconds = []
    for _ in range(ROUNDS):
        before = os.times()
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return sorted(seconds)[ROUNDS // 2]


def load_time() -> None:
    base = cpu_of("import dagster")
    both = cpu_of("import dagster, pandera.pandas")
    whole = cpu_of("import ai_assets.definitions as d; d.defs.get_repository_def().load_all_definitions()")
    print(f"import dagster                     {base:6.2f} CPU s   1.00x")
    print(f"import dagster, pandera.pandas     {both:6.2f} CPU s   {both / base:4.2f}x")
    print(f"the code location, fully loaded    {whole:6.2f} CPU s   {whole / base:4.2f}x   (goal: at most 2.5x)")


def demo(size: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        variables = {**os.environ, "AI_ASSETS_HOME": home, "OMP_NUM_THREADS": "1"}
        for name in ("first", "second"):
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "ai_assets.cli", "demo", "--size", size],
                cwd=ROOT, env=variables, capture_output=True, text=True, check=True,
            )  # fmt: skip
            print(f"{name} demo ({size})                {time.monotonic() - started:8.1f} s")
            for step, seconds in re.findall(r"✓ (\w+) ([\d.]+) s", done.stderr):
                print(f"    {step:32}{float(seconds):6.1f} s")


def overhead() -> None:
    """The same small table by a plain asset and by one under the contract, on an ephemeral instance."""
    from ai_assets.contract import platform_asset
    from resources.platform import Platform
    from resources.settings import load_settings

    class Rows(pa.DataFrameModel):
        """Numbers."""

        n: Series[int]

        class Config:
            strict = True
            coerce = True

    def plain(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"plain_{number}")
        def body() -> None:
            pd.DataFrame({"n": range(1000)})

        return body

    def contracted(number: int) -> dg.AssetsDefinition:
        def body() -> pd.DataFrame:
            return pd.DataFrame({"n": range(1000)})

        body.__name__, body.__doc__ = f"contracted_{number}", "A table of a thousand numbers."
        return platform_asset(group="bench", owner="platform", schema=Rows)(body)

    with tempfile.TemporaryDirectory() as home:
        from ai_assets.home import prepare_home

        platform: Platform = prepare_home(load_settings(home=home))
        for name, make in (("plain", plain), ("contracted", contracted)):
            assets = [make(number) for number in range(ASSETS)]
            started = time.process_time()
            dg.materialize(assets, resources=platform.resources(), instance=dg.DagsterInstance.ephemeral())
            print(f"{name:12} {1000 * (time.process_time() - started) / ASSETS:8.1f} CPU ms per asset")


if __name__ == "__main__":
    load_time()
    overhead()
    demo(sys.argv[1] if len(sys.argv) > 1 else "tiny")
