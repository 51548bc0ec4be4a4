"""Definitions for the supervisor's tests: one quick asset, one that keeps a grandchild of the code server busy."""

import subprocess

import dagster as dg


@dg.asset
def quick() -> None: ...


@dg.asset
def slow() -> None:
    # In a session of its own, as an isolated worker could be: neither group nor parent leads to it.
    subprocess.run(["sleep", "3600"], start_new_session=True, check=True)


defs = dg.Definitions(assets=[quick, slow], executor=dg.in_process_executor)
