"""Every duty of the contract, seen from outside: in the lake, the ledger, the quarantine and the event log."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from small_assets import MODE

from ai_assets.contract import CONTRACTS, PermanentError, platform_asset
from ai_assets.contract.lineage import inputs_digest
from ai_assets.contract.trace import TRACE_TAG


def materialization(run: dg.ExecuteInProcessResult, name: str) -> Any:
    (event,) = [e for e in run.get_asset_materialization_events() if e.asset_key.path[-1] == name]
    return event.materialization


def test_code_and_data_versions_stand_on_every_materialization(home: Any) -> None:
    first = materialization(home.run("small_source"), "small_source").tags
    assert first["dagster/code_version"] == "7"
    again = materialization(home.run("small_source"), "small_source").tags
    assert again["dagster/data_version"] == first["dagster/data_version"]
    MODE["plays"] = [1, 3]
    other = materialization(home.run("small_source"), "small_source").tags
    assert other["dagster/data_version"] != first["dagster/data_version"]
    entry = home.platform.lake.ledger.entry("small_source")
    assert entry.content_hash.startswith(other["dagster/data_version"]) and entry.code_version == "7"
    assert [version.version for version in home.platform.lake.versions("small_source")] == [1, 0]


def test_the_page_of_an_asset_shows_what_happened(home: Any) -> None:
    run = home.run("small_source", tags={TRACE_TAG: "my-trace"})
    shown = {name: value.value for name, value in materialization(run, "small_source").metadata.items()}
    assert shown["dagster/row_count"] == 2 and shown["bytes"] > 0 and shown["table_version"] == 0
    assert shown["seconds"] >= 0 and shown["cpu_seconds"] >= 0 and shown["peak_memory_bytes"] > 10**7
    assert shown["trace_id"] == "my-trace" and shown["rows_per_second"] > 0
    preview = materialization(run, "small_source").metadata["preview"]
    assert [dict(record.data) for record in preview.records] == [
        {"track": "a", "plays": 1}, {"track": "b", "plays": 2}]  # fmt: skip
    assert home.platform.lake.ledger.entry("small_source").trace_id == "my-trace"


def test_the_definition_shows_columns_owner_group_kind_policy_and_description(home: Any) -> None:
    from small_assets import small_source

    (spec,) = small_source.specs
    columns = {item.name: item for item in spec.metadata["dagster/column_schema"].columns}
    assert set(columns) == {"track", "plays"} and columns["plays"].description == "How often."
    assert spec.owners == ["team:data-engineering"] and spec.group_name == "data_processing"
    assert "deltalake" in spec.kinds and spec.tags["policy"] == "source" and spec.description == "Plays of tracks."


def test_a_broken_output_is_recorded_with_its_cases_and_never_published(home: Any) -> None:
    home.run("small_source", "small_quiet", "small_down")
    MODE.clear()
    MODE["plays"] = [1, -5]
    run = home.run("small_source", "small_down")
    assert not run.success and MODE["bodies"] == 1 and "down" not in MODE
    found = home.checks(run)["small_source/contract", None]
    assert not found.passed and found.blocking
    (case,) = found.metadata["failure_cases"].records
    assert case.data["column"] == "plays" and case.data["failure_case"] == "-5"
    assert "STEP_UP_FOR_RETRY" not in home.types(run) and "ASSET_MATERIALIZATION" not in home.types(run)
    assert home.platform.lake.read("small_source")["plays"].to_pylist() == [1, 2]
    assert len(home.platform.lake.versions("small_source")) == 1


def test_a_warning_check_that_fails_is_shown_and_stops_nothing(home: Any) -> None:
    MODE.update(tracks=["a", "b", "c"], plays=[1, 2, 3])
    run = home.run("small_source")
    found = home.checks(run)["small_source/few", None]
    assert run.success and not found.passed and found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["count"].value == 3 and home.platform.lake.read("small_source").num_rows == 3


def test_an_input_that_breaks_its_contract_is_refused_once_and_named(home: Any) -> None:
    import pyarrow as pa

    bad = pa.table({"track": ["a"], "plays": pa.array([-1], pa.int64())})
    home.platform.lake.replace("small_source", bad, home.platform.lake.attempt("by hand"))
    run = home.run("small_down")
    assert not run.success and "down" not in MODE and "STEP_UP_FOR_RETRY" not in home.types(run)
    (failure,) = [event for event in run.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "input small_source breaks its own contract" in failure.event_specific_data.error.to_string()


def test_a_missing_input_is_an_empty_typed_table(home: Any) -> None:
    run = home.run("small_down")
    assert run.success and MODE["quiet_exists"] is False
    table = home.platform.lake.read("small_down")
    assert table.num_rows == 0 and {field.name: str(field.type) for field in table.schema} == {
        "track": "string", "plays": "int64"}  # fmt: skip


@pytest.mark.parametrize(
    ("error", "bodies"),
    [(OSError("stale mount"), 3), (ValueError("odd"), 3), (PermanentError("no key"), 1), (TypeError("code"), 1),
     (KeyError("column"), 1), (dg.Failure("stop", allow_retries=False), 1)],
)  # fmt: skip
def test_errors_are_retried_by_their_kind(home: Any, error: Exception, bodies: int) -> None:
    MODE["raise"] = error
    assert not home.run("small_source").success
    assert MODE["bodies"] == bodies


def test_what_a_body_rejects_is_in_quarantine_until_it_is_accepted(home: Any) -> None:
    MODE["reject"] = ["f:1", "f:2"]
    run = home.run("small_source")
    assert materialization(run, "small_source").metadata["quarantined"].value == 2
    MODE.update(reject=["f:2"], accept=["f:1"])
    home.run("small_source")
    (row,) = home.platform.quarantine.rows("small_source")
    assert (row["source"], row["attempts"], row["reason"]) == ("f:2", 2, "broken")


def test_one_partition_leaves_the_others_alone_and_its_checks_name_it(home: Any) -> None:
    home.run("small_days", partition_key="d1")
    MODE["plays"] = 5
    run = home.run("small_days", partition_key="d2")
    frame = home.platform.lake.table("small_days", column="day").frame()
    assert frame[["day", "plays"]].values.tolist() == [["d1", 1], ["d2", 5]]
    assert set(home.checks(run)) == {("small_days/contract", "d2"), ("small_days/few", "d2")}


def ranged(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_a_range_is_one_run_with_results_and_entries_for_each_partition(home: Any) -> None:
    run = home.run("small_days", tags=ranged("d1", "d3"))
    assert run.success
    assert {("small_days/contract", key) for key in ("d1", "d2", "d3")} <= set(home.checks(run))
    held = home.platform.lake.ledger.entries("small_days")
    assert set(held) == {"d1", "d2", "d3"} and len({entry.content_hash for entry in held.values()}) == 3
    MODE["keys"] = ["d1"]
    home.run("small_days", tags=ranged("d1", "d2"))
    assert home.platform.lake.partition_rows("small_days", "day") == {"d1": 1, "d3": 1}


def test_rows_of_partitions_nobody_asked_for_are_refused(home: Any) -> None:
    MODE["keys"] = ["d1", "d3"]
    run = home.run("small_days", partition_key="d1")
    assert not run.success and not home.platform.lake.table("small_days").exists
    assert "STEP_UP_FOR_RETRY" not in home.types(run)


@pytest.mark.parametrize("right", [{"plays": -1}, {"day": "d3"}])
def test_of_two_tables_none_is_published_when_one_is_bad(home: Any, right: dict[str, Any]) -> None:
    MODE["right"] = right
    run = home.run("small_left", "small_right", partition_key="d1")
    assert not run.success
    assert not home.platform.lake.table("small_left").exists and not home.platform.lake.table("small_right").exists
    MODE.clear()
    assert home.run("small_left", "small_right", partition_key="d1").success
    assert home.platform.lake.ledger.entry("small_right", "d1").code_version == "4"


def test_a_change_of_a_quiet_input_alone_makes_nothing_stale(home: Any) -> None:
    home.run("small_source", "small_quiet", "small_down")
    ledger, contract = home.platform.lake.ledger, CONTRACTS["small_down"]
    assert ledger.entry("small_down").inputs_digest == inputs_digest(contract, "", ledger.all())
    MODE["quiet"] = [2]
    home.run("small_quiet")
    assert ledger.entry("small_down").inputs_digest == inputs_digest(contract, "", ledger.all())
    MODE["plays"] = [4, 4]
    home.run("small_source")
    assert ledger.entry("small_down").inputs_digest != inputs_digest(contract, "", ledger.all())


def test_a_product_that_is_no_table_has_version_and_ledger_entry(home: Any) -> None:
    run = home.run("small_product")
    assert materialization(run, "small_product").tags["dagster/data_version"] == "ab" * 16
    entry = home.platform.lake.ledger.entry("small_product")
    assert entry.content_hash == "ab" * 32 and entry.rows is None and entry.run_id == run.run_id


def test_every_body_leaves_a_span_of_its_trace(home: Any) -> None:
    home.run("small_source", tags={TRACE_TAG: "0123456789abcdef0123456789abcdef"})
    home.platform.tracing.flush()
    text = "".join(path.read_text() for path in home.platform.home.traces.rglob("*") if path.is_file())
    assert "0123456789abcdef0123456789abcdef" in text and "small_source" in text


def test_an_asset_without_a_docstring_is_refused_at_import() -> None:
    def nameless() -> None: ...

    with pytest.raises(ValueError, match="nameless has no docstring"):
        platform_asset(group="g", owner="platform")(nameless)
