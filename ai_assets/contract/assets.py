"""`platform_asset` and `platform_multi_asset`: one decorator gives an asset everything the platform owes its users.

The function reads its arguments, calls plain code and returns a frame (or several); everything else - validation in and
out, checks, versions, retries, trace, measures, quarantine, publication - happens here, by calling one module a duty.

A parameter named like an asset is an input: annotated `pd.DataFrame` it arrives validated, annotated `LakeTable` it
arrives unread. `context`, a `dg.Config` and resources are passed through as Dagster does.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg
import pandas as pd

from ai_assets.contract import validation
from ai_assets.contract.errors import RETRIES
from ai_assets.contract.spec import AssetContract, Check, Outdated, Owner, Partitioning, Policy, register
from ai_assets.contract.step import run_step
from resources.executors import QUEUE_TAG
from resources.lake.tables import LakeTable

Body = Callable[..., Any]

Queue = Literal["cpu", "gpu", "io"]
PLATFORM_RESOURCES = ("lake", "quarantine", "tracing")


@dataclass(frozen=True)
class Out:
    """One table of a multi-asset."""

    schema: type
    description: str
    code_version: str = "1"
    checks: tuple[Check, ...] = ()


def platform_asset(
    *,
    group: str,
    owner: Owner,
    policy: Policy = "keep_fresh",
    schema: type | None = None,
    kinds: Sequence[str] = (),
    partitions: Partitioning | None = None,
    ledger_column: str | None = None,
    code_version: str = "1",
    deps: Sequence[str] = (),
    quiet: Sequence[str] = (),
    checks: Sequence[Check] = (),
    outdated: Outdated | None = None,
    pool: str | None = None,
    queue: Queue | None = None,
) -> Callable[[Body], dg.AssetsDefinition]:
    """Make the decorated function an asset of the platform; its name and docstring become the asset's.

    Args:
        schema: pandera `DataFrameModel` of the table; without one the body returns a `Product`.
        policy: `keep_fresh` (rebuilt when inputs change), `sensor_led` (a sensor says which parts, and when),
            `on_request` (models, content) or `source` (what comes in).
        partitions: how the table is partitioned; the frame holds the keys in that column.
        deps: assets it depends on without loading them as tables.
        quiet: inputs whose change alone does not make it stale.
        checks: checks beyond the schema.
        outdated: of a table that shows what lies in the platform database: whether it holds something else now.
        pool: Dagster's pool, whose limit holds over all runs.
        queue: which workers work on it when steps go to workers; else gpu where pytorch trains a model, io for what
            comes in, cpu for all else.

    Raises:
        ValueError: at import, when the function has no docstring.
    """

    def decorate(body: Body) -> dg.AssetsDefinition:
        contract = _contract(
            body.__name__, inspect.getdoc(body), body, schema, group=group, owner=owner, policy=policy, kinds=kinds,
            partitions=partitions, ledger_column=ledger_column, code_version=code_version, deps=deps, quiet=quiet,
            checks=checks, outdated=outdated,
        )  # fmt: skip
        register(contract)
        return dg.asset(
            key=contract.name,
            **_spec_arguments(contract),
            deps=list(deps),
            partitions_def=partitions.definition if partitions else None,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
            retry_policy=RETRIES,
            check_specs=validation.check_specs(contract),
            pool=pool,
            op_tags={QUEUE_TAG: queue or _queue(contract)},
            output_required=True,
        )(_step(body, (contract,)))

    return decorate


def platform_multi_asset(
    *,
    group: str,
    owner: Owner,
    outs: Mapping[str, Out],
    policy: Policy = "keep_fresh",
    kinds: Sequence[str] = (),
    partitions: Partitioning | None = None,
    deps: Sequence[str] = (),
    pool: str | None = None,
    queue: Queue | None = None,
) -> Callable[[Body], dg.AssetsDefinition]:
    """The same for one step that makes several tables; the body returns a mapping from asset name to table.

    All tables are validated before the first is published.
    """

    def decorate(body: Body) -> dg.AssetsDefinition:
        contracts = tuple(
            _contract(
                name, out.description, body, out.schema, group=group, owner=owner, policy=policy, kinds=kinds,
                partitions=partitions, ledger_column=None, code_version=out.code_version, deps=deps, quiet=(),
                checks=out.checks,
            )
            for name, out in outs.items()
        )  # fmt: skip
        for contract in contracts:
            register(contract)
        return dg.multi_asset(
            name=body.__name__,
            outs={
                item.name: dg.AssetOut(key=item.name, dagster_type=Any, **_spec_arguments(item)) for item in contracts
            },
            deps=list(deps),
            partitions_def=partitions.definition if partitions else None,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
            retry_policy=RETRIES,
            check_specs=[spec for item in contracts for spec in validation.check_specs(item)],
            pool=pool,
            op_tags={QUEUE_TAG: queue or _queue(contracts[0])},
        )(_step(body, contracts))

    return decorate


def _contract(
    name: str,
    description: str | None,
    body: Body,
    schema: Any,
    *,
    group: str,
    owner: Owner,
    policy: Policy,
    kinds: Sequence[str],
    partitions: Partitioning | None,
    ledger_column: str | None,
    code_version: str,
    deps: Sequence[str],
    quiet: Sequence[str],
    checks: Sequence[Check],
    outdated: Outdated | None = None,
) -> AssetContract:
    if not description:
        raise ValueError(f"asset {name} has no docstring: say in it what is made, from what, for whom")
    return AssetContract(
        name=name,
        step=body.__name__,
        group=group,
        owner=owner,
        kinds=frozenset(kinds),
        policy=policy,
        code_version=code_version,
        description=description,
        schema=schema,
        partitioning=partitions,
        ledger_column=ledger_column or (partitions.column if partitions else None),
        dependencies=tuple(sorted({*input_names(body), *deps})),
        quiet=tuple(quiet),
        checks=tuple(checks),
        outdated=outdated,
    )


def _spec_arguments(contract: AssetContract) -> dict[str, Any]:
    metadata: dict[str, Any] = {"policy": contract.policy}
    if contract.schema is not None:
        metadata["dagster/column_schema"] = validation.column_schema(contract.schema)
    if contract.partitioning is not None:
        metadata["partition_column"] = contract.partitioning.column
    return {
        "group_name": contract.group,
        "owners": [f"team:{contract.owner}"],
        "kinds": set(contract.kinds),
        "tags": _tags(contract),
        "description": contract.description,
        "code_version": contract.code_version,
        "metadata": metadata,
    }


def _tags(contract: AssetContract) -> dict[str, str]:
    tags = {"family": contract.group, "policy": contract.policy}
    if contract.partitioning is not None:
        tags["partitioned"] = contract.partitioning.column
    if "model" in contract.kinds:
        tags["role"] = "model"
    return tags


def _queue(contract: AssetContract) -> Queue:
    if {"model", "pytorch"} <= contract.kinds:
        return "gpu"
    return "io" if contract.policy == "source" else "cpu"


def input_names(body: Body) -> list[str]:
    """Names of the parameters that are tables of other assets."""
    hints = typing.get_type_hints(body, include_extras=True)
    return [name for name in inspect.signature(body).parameters if hints.get(name) in (pd.DataFrame, LakeTable)]


def _step(body: Body, contracts: tuple[AssetContract, ...]) -> Callable[..., Iterator[Any]]:
    """Wrap the body; Dagster sees a generator with the body's parameters, in which inputs are lazy tables."""
    hints = typing.get_type_hints(body, include_extras=True)
    inputs = {name: hints[name] for name in input_names(body)}

    @functools.wraps(body)
    def step(*args: Any, **kwargs: Any) -> Iterator[Any]:
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        platform = {name: arguments[name] for name in PLATFORM_RESOURCES}
        own = {name: value for name, value in arguments.items() if name in declared}
        yield from run_step(body, contracts, own, inputs, **platform)

    declared = inspect.signature(body).parameters
    parameters = [
        item.replace(annotation=LakeTable if name in inputs else hints.get(name, item.annotation))
        for name, item in declared.items()
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=dg.ResourceParam[Any])  # type: ignore[misc]
        for name in PLATFORM_RESOURCES
        if name not in declared
    ]
    signature = inspect.Signature(parameters)
    step.__signature__ = signature  # type: ignore[attr-defined]
    step.__annotations__ = {item.name: item.annotation for item in parameters}
    return step
