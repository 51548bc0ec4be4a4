"""One slow asset under the contract and the multiprocess executor: orphan_graph.py METHOD SECONDS [blind].

`blind` takes the watchdog away, so that an orphan lives to meet the fence.
"""

import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.contract import orphan, platform_asset
from ai_assets.home import open_instance, prepare_home
from resources.platform import Platform
from resources.settings import load_settings

if "blind" in os.environ.get("ORPHAN_MODE", ""):
    orphan.watch = lambda _context: nullcontext()


class Who(pa.DataFrameModel):
    """Who wrote it."""

    run: Series[str]


@platform_asset(group="data_processing", owner="platform", policy="on_request", schema=Who, kinds=["deltalake"])
def who_wrote(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The run that wrote it."""
    home = Path(os.environ["AI_ASSETS_HOME"])
    with (home / "notes").open("a") as file:
        file.write(f"begin {os.getpid()} {context.run_id}\n")
    time.sleep(float(os.environ["ORPHAN_SECONDS"]))
    with (home / "notes").open("a") as file:
        file.write(f"write {os.getpid()} {context.run_id}\n")
    return pd.DataFrame({"run": [context.run_id]})


def make(method: str) -> dg.Definitions:
    start = {"forkserver": {}} if method == "forkserver" else {"spawn": {}}
    executor = dg.multiprocess_executor.configured({"start_method": start})
    job = dg.define_asset_job("who_job", selection=["who_wrote"], executor_def=executor)
    return dg.Definitions(assets=[who_wrote], jobs=[job], resources=Platform(load_settings()).resources())


def who_job() -> dg.JobDefinition:
    return make(os.environ["ORPHAN_MODE"].split()[0]).resolve_job_def("who_job")


if __name__ == "__main__":
    os.environ["ORPHAN_MODE"], os.environ["ORPHAN_SECONDS"] = " ".join([sys.argv[1], *sys.argv[3:]]), sys.argv[2]
    sys.path.insert(0, str(Path(__file__).parent))
    import orphan_graph

    with open_instance(prepare_home(load_settings())) as instance:
        result = dg.execute_job(dg.reconstructable(orphan_graph.who_job), instance)
        print(result.run_id, "success" if result.success else "failure", flush=True)
