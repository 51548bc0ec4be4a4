"""Real ticks of the shared condition: late days, failed batches, and models that nothing drops into training."""

from typing import Any

import dagster as dg
import pytest

from ai_assets.automation import keep_fresh

BATCHES = dg.DynamicPartitionsDefinition(name="batches")
CONTENT: dict[str, str] = {}
BAD: set[str] = set()


def version(text: str) -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion(text))


@dg.asset(partitions_def=BATCHES)
def raw(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return version(CONTENT[context.partition_key])


def condition(partitioned: bool) -> dg.AutomationCondition:
    return keep_fresh(partitioned=partitioned, ignored=dg.AssetSelection.assets("model"))


@dg.asset(partitions_def=BATCHES, deps=["raw"], automation_condition=condition(True))
def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if context.partition_key in BAD:
        raise dg.Failure("blocking check failed", allow_retries=False)
    return version(CONTENT[context.partition_key])


@dg.asset(deps=["daily", "model"], automation_condition=condition(False))
def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    made = context.instance.get_materialized_partitions(dg.AssetKey("daily"))
    return version(repr(sorted((key, CONTENT[key]) for key in made)))


@dg.asset(deps=["raw"])
def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return version(context.run_id)


class Clockwork:
    """Ticks; what a tick asks for is run before the next."""

    def __init__(self) -> None:
        self.defs = dg.Definitions([raw, daily, table, model])
        self.job = self.defs.resolve_implicit_global_asset_job_def()
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: Any = None

    def make(self, name: str, key: str | None = None) -> None:
        self.job.execute_in_process(
            asset_selection=[dg.AssetKey(name)], partition_key=key, instance=self.instance, raise_on_error=False
        )

    def arrive(self, key: str, content: str) -> None:
        CONTENT[key] = content
        self.instance.add_dynamic_partitions("batches", [key])
        self.make("raw", key)

    def settle(self, limit: int = 8) -> list[list[str]]:
        """What each tick asked for, until two ticks in a row ask for nothing."""
        asked: list[list[str]] = []
        quiet = 0
        for _ in range(limit):
            result = dg.evaluate_automation_conditions(defs=self.defs, instance=self.instance, cursor=self.cursor)
            self.cursor = result.cursor
            wanted = sorted(
                (name, key or "")
                for name in ("daily", "table", "model")
                for key in result.get_requested_partitions(dg.AssetKey(name))
            )
            for name, key in wanted:
                self.make(name, key or None)
            quiet = 0 if wanted else quiet + 1
            if wanted:
                asked.append([f"{name}[{key}]" if key else name for name, key in wanted])
            if quiet == 2:
                return asked
        raise AssertionError(f"it never comes to rest: {asked}")


@pytest.fixture
def clock() -> Clockwork:
    CONTENT.clear()
    BAD.clear()
    clock = Clockwork()
    clock.arrive("d1", "a")
    clock.arrive("d2", "a")
    clock.make("model")
    clock.settle()
    return clock


def test_a_late_day_is_rebuilt_and_the_table_after_it(clock: Clockwork) -> None:
    clock.arrive("d0", "late")
    assert clock.settle() == [["daily[d0]"], ["table"]]
    clock.arrive("d1", "corrected")
    assert clock.settle() == [["daily[d1]"], ["table"]]


def test_equal_content_goes_no_further(clock: Clockwork) -> None:
    clock.arrive("d1", "a")
    assert clock.settle() == []


def test_one_failed_batch_holds_up_nothing_and_is_taken_again_when_corrected(clock: Clockwork) -> None:
    BAD.add("d3")
    clock.arrive("d3", "bad")
    assert clock.settle() == [["daily[d3]"]]
    clock.arrive("d4", "good")
    assert clock.settle() == [["daily[d4]"], ["table"]]
    BAD.clear()
    clock.arrive("d3", "repaired")
    assert clock.settle() == [["daily[d3]"], ["table"]]


def test_twenty_dropped_batches_start_no_training_and_a_model_starts_nothing(clock: Clockwork) -> None:
    for number in range(20):
        clock.arrive(f"n{number:02}", "x")
    asked = clock.settle()
    assert asked[-1] == ["table"] and len(asked[0]) == 20
    assert not any(name.startswith("model") for tick in asked for name in tick)
    clock.make("model")
    assert clock.settle() == []
