"""A task that failed may be tried again under its key, although Dagster knows its run already."""

from __future__ import annotations

import dagster as dg

from ai_assets.launch import free_run_id

RUN = "11111111-1111-5111-8111-111111111111"


def test_a_second_try_under_the_same_key_is_a_new_run_of_dagster() -> None:
    broken = [True]

    @dg.op
    def sometimes() -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("disk")

    @dg.job
    def small() -> None:
        sometimes()

    instance = dg.DagsterInstance.ephemeral()
    assert free_run_id(instance, RUN) == RUN
    assert not small.execute_in_process(instance=instance, run_id=RUN, raise_on_error=False).success
    again = free_run_id(instance, RUN)
    assert again != RUN and small.execute_in_process(instance=instance, run_id=again).success
