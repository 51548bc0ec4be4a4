"""One step under the contract: inputs in, body, outputs judged, then published or refused. The order of the duties.

Stage, check, publish: an output that fails a blocking check is recorded with its failure cases, then the step fails for
good, and nothing is written. All tables of a step are judged before the first is published.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from ai_assets.contract import display, lineage, orphan, rejection, trace, validation
from ai_assets.contract.errors import as_failure
from ai_assets.contract.measure import Stopwatch
from ai_assets.contract.progress import Progress, tell
from ai_assets.contract.spec import CONTRACTS, AssetContract, Check, Product, Table, Verdict
from resources.lake.io_manager import PreparedPart, PreparedTable
from resources.lake.ledger import Entry
from resources.lake.tables import Lake, LakeTable, Origin, content_hash
from resources.quarantine import Quarantine
from resources.tracing import Tracing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One output after its checks."""

    contract: AssetContract
    table: Table | Product
    results: tuple[tuple[Check, Verdict], ...]

    @property
    def acceptable(self) -> bool:
        return all(verdict.passed for check, verdict in self.results if check.blocking)


def run_step(
    body: Callable[..., Any],
    contracts: tuple[AssetContract, ...],
    arguments: Mapping[str, Any],
    inputs: Mapping[str, type],
    *,
    lake: Lake,
    quarantine: Quarantine,
    tracing: Tracing,
) -> Iterator[Any]:
    """Run the body of one step and yield what Dagster is to know of it."""
    context = dg.AssetExecutionContext.get()
    watch = Stopwatch()
    keys = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else [""]
    step = body.__name__
    tell(Progress(step, "start", total=len(keys)))
    with orphan.watch(context), rejection.collecting() as sink, trace.body_span(context, tracing) as trace_id:
        try:
            lake.attempt(context.run.run_id, context.retry_number)  # numbered before it reads: an erasure may follow
            origins = {item.name: _origins(item, keys, lake, trace_id) for item in contracts}
            answer = body(**{name: _argument(name, value, inputs) for name, value in arguments.items()})
            judged = [_judge(item, answer if len(contracts) == 1 else answer[item.name]) for item in contracts]
        except Exception as error:
            sink.flush(quarantine, context.run.run_id)
            raise as_failure(error) from error
        rejected = sink.flush(quarantine, context.run.run_id)
        if not all(item.acceptable for item in judged):
            yield from _refuse(judged, keys)
        try:
            parts = {item.contract.name: _prepare(item, origins[item.contract.name], keys) for item in judged}
        except Exception as error:
            raise as_failure(error) from error
        for item in judged:
            name = item.contract.name
            yield from _publish(context, item, parts[name], origins[name], keys, lake, watch, trace_id, rejected)
    tell(Progress(step, "end"))


def _argument(name: str, value: Any, inputs: Mapping[str, type]) -> Any:
    """An input as the body wants it: a validated frame, or the lazy table as it is."""
    if name not in inputs or inputs[name] is LakeTable:
        return value
    assert isinstance(value, LakeTable)
    upstream = CONTRACTS.get(name)
    schema = upstream.schema if upstream is not None else None
    try:
        frame = value.frame()
    except LookupError:
        return validation.empty_frame(schema) if schema is not None else pd.DataFrame()
    if schema is None:
        return frame
    frame, verdict = validation.validate(frame[[column for column in frame if column in _names(schema, frame)]], schema)
    if not verdict.passed:
        raise dg.Failure(
            f"input {name} breaks its own contract: {verdict.description}. Materialize {name} again first.",
            metadata=dict(verdict.metadata),
            allow_retries=False,
        )
    return frame


def _names(schema: Any, frame: pd.DataFrame) -> set[str]:
    """Columns of the frame that the schema knows (a column dropped by newer code may still lie in old partitions)."""
    columns = schema.to_schema().columns
    if any(column.regex for column in columns.values()):
        return {str(name) for name in frame.columns}
    return set(columns)


def _judge(contract: AssetContract, answer: Any) -> Judged:
    if isinstance(answer, pd.DataFrame):
        answer = Table(answer)
    results: list[tuple[Check, Verdict]] = []
    if contract.schema is not None:
        if not isinstance(answer, Table):
            raise TypeError(f"{contract.name} must return a pandas frame or a Table, not {type(answer).__name__}")
        frame, verdict = validation.validate(answer.frame, contract.schema)
        answer = Table(frame, answer.metadata, answer.verdicts)
        results.append((validation.contract_check(contract.name), verdict))
    elif not isinstance(answer, Product):
        raise TypeError(f"{contract.name} declares no schema and must return a Product, not {type(answer).__name__}")
    sound = all(verdict.passed for _, verdict in results)
    for check in contract.checks:
        if check.function is None:
            results.append((check, answer.verdicts[check.name]))
        elif sound and isinstance(answer, Table):
            results.append((check, check.function(answer.frame)))
        else:
            results.append((check, Verdict(False, "not looked at, because the rows break the contract")))
    return Judged(contract, answer, tuple(results))


def _results(item: Judged) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(
            asset_key=item.contract.name,
            check_name=check.name,
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
            description=verdict.description or None,
            metadata=display.to_metadata(verdict.metadata),
        )
        for check, verdict in item.results
    ]


def _refuse(judged: list[Judged], keys: list[str]) -> Iterator[Any]:
    """Record every check, then fail for good: nothing is written, the published data stay as they were."""
    reasons = []
    for item in judged:
        yield from _results(item)
        reasons += [
            f"{item.contract.name}/{check.name}: {verdict.description}"
            for check, verdict in item.results
            if check.blocking and not verdict.passed
        ]
    where = "" if keys == [""] else f" (partition {keys[0]}{'…' + keys[-1] if len(keys) > 1 else ''})"
    raise dg.Failure(
        f"blocking check failed{where}, nothing was published: {'; '.join(reasons)}"[:2000], allow_retries=False
    )


def _publish(
    context: dg.AssetExecutionContext,
    item: Judged,
    prepared: PreparedTable | None,
    origins: Mapping[str, Origin],
    keys: list[str],
    lake: Lake,
    watch: Stopwatch,
    trace_id: str,
    rejected: int,
) -> Iterator[Any]:
    contract, answer = item.contract, item.table
    shown: dict[str, Any] = {"trace_id": trace_id, **answer.metadata}
    if rejected:
        shown["quarantined"] = rejected
    if isinstance(answer, Product):
        attempt = lake.attempt(context.run.run_id, context.retry_number)
        yield dg.MaterializeResult(
            asset_key=contract.name,
            data_version=dg.DataVersion(answer.content_hash[:32]),
            metadata=display.to_metadata(shown | watch.metadata(None)),
            check_results=_results(item),
        )
        entries = [
            Entry(
                contract.name,
                key,
                answer.content_hash,
                token=attempt.token,
                run_id=attempt.run_id,
                **vars(origins[key]),
            )
            for key in keys
        ]
        lake.ledger.record(entries)
        return
    assert prepared is not None
    version = content_version({key: part.digest for key, part in prepared.parts.items()})
    if len(keys) > 1:
        yield from _per_partition(context, item, prepared)
    yield dg.MaterializeResult(
        asset_key=contract.name,
        value=prepared,
        data_version=dg.DataVersion(version),
        metadata=display.to_metadata(
            shown | watch.metadata(len(answer.frame)) | {"preview": display.preview(answer.frame)}
        ),
        check_results=_results(item),
    )


def _prepare(item: Judged, origins: Mapping[str, Origin], keys: list[str]) -> PreparedTable | None:
    """Split a table by partition. Raises dg.Failure for rows of a partition that this step was not asked for."""
    contract = item.contract
    if isinstance(item.table, Product):
        return None
    frame = item.table.frame
    assert contract.schema is not None
    if contract.partitioning is None:
        data = validation.arrow_table(frame, contract.schema)
        return PreparedTable({"": PreparedPart(data, content_hash(data), origins[""])}, None)
    column = contract.partitioning.column
    strange = set(frame[column].unique()) - set(keys)
    if strange:
        raise dg.Failure(
            f"{contract.name} made rows of partitions it was not asked for: {sorted(strange)[:5]}", allow_retries=False
        )
    parts = {}
    for key in keys:
        data = validation.arrow_table(frame[frame[column] == key], contract.schema)
        parts[key] = PreparedPart(data, content_hash(data), origins[key])
    return PreparedTable(parts, column)


def _per_partition(context: dg.AssetExecutionContext, item: Judged, prepared: PreparedTable) -> Iterator[Any]:
    """In a run over many partitions Dagster keeps one version and one result; note both per partition as well."""
    for key, part in prepared.parts.items():
        context.add_asset_metadata(
            {"content_hash": part.digest, "partition_rows": part.data.num_rows},
            asset_key=item.contract.name,
            partition_key=key,
        )
        for check, verdict in item.results:
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(item.contract.name),
                check_name=check.name,
                passed=verdict.passed,
                metadata={},
                blocking=check.blocking,
                severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
                partition=key,
            )


def _origins(contract: AssetContract, keys: list[str], lake: Lake, trace_id: str) -> dict[str, Origin]:
    held = {name: lake.ledger.entries(name) for name in contract.dependencies}
    return {key: Origin(lineage.inputs_digest(contract, key, held), contract.code_version, trace_id) for key in keys}


def content_version(digests: Mapping[str, str]) -> str:
    """One data version for all partitions a step made: the only partition's own digest, or a digest of all."""
    import hashlib

    if len(digests) == 1:
        return next(iter(digests.values()))[:32]
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:32]
