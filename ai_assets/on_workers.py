"""One run led from here whose steps work elsewhere: the launcher's way when the configured executor is distributed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.contract.progress import Progress

if TYPE_CHECKING:
    import dagster as dg

DEFINITIONS = "ai_assets.definitions"
PARTITION = "dagster/partition"


def execute_on_workers(
    job_name: str,
    *,
    instance: dg.DagsterInstance,
    assets: Sequence[str],
    run_id: str,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
    progress: Callable[[Progress], None] | None = None,
) -> bool:
    """Create the run, lead it to its end, and say whether it succeeded. Workers load the same module by its name."""
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.execution.api import execute_run_iterator

    found = importlib.util.find_spec(DEFINITIONS)
    assert found is not None and found.origin is not None
    # Dagster wants a folder although an installed module needs none; a worker may have its own at the same module.
    repository = ReconstructableRepository.for_module(DEFINITIONS, "defs", str(Path(found.origin).parents[1]))
    job = repository.get_reconstructable_job(job_name)
    run = instance.create_run_for_job(
        job_def=job.get_definition(),
        run_id=run_id,
        run_config=run_config,
        tags=tags,
        asset_selection=frozenset(dg.AssetKey(name) for name in assets),
        job_code_origin=job.get_python_origin(),
    )
    for event in execute_run_iterator(job, run, instance):
        if event.is_run_failure and _was_interrupted(event):
            raise KeyboardInterrupt  # Dagster swallows the signal, and the launcher would go on with the next run
        if progress is not None and event.step_key is not None:
            if event.is_step_start:
                progress(Progress(event.step_key, "start", total=1))
            elif event.is_step_success:
                progress(Progress(event.step_key, "end"))
    ended = instance.get_run_by_id(run_id)
    return ended is not None and ended.is_success


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    error = getattr(event.event_specific_data, "error", None)
    return error is not None and error.cls_name == "DagsterExecutionInterruptedError"
