"""MLflow tracking: one MLflow run per asset, partition and attempt, rightly ended; dagster-mlflow, wrapped.

Here live the tracking store's preparation (schema, place) and the runs. Models and their versions are
`model_registry`'s; what is logged, and whether a model is good enough, is the assets'.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from resources.redaction import REDACTOR
from resources.scrub import Word, mask_tree

log = logging.getLogger(__name__)

EXPERIMENT = "music_ai"
LOCK_WAIT_SECONDS = 120.0
SAFE_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Where MLflow stores absolute places; table, column. All are rewritten when the folder was copied or moved.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)

Lock = Callable[[str], AbstractContextManager[None]]


class TrackingError(RuntimeError):
    """The tracking store cannot be used as configured; the message says what to do."""


@dataclass(frozen=True)
class StepIdentity:
    """Which step an MLflow run belongs to. `dagster_run_id` groups the steps below one parent run."""

    asset: str
    dagster_run_id: str
    partition: str | None = None
    attempt: int = 0
    trace_id: str = ""
    backfill: str | None = None

    @property
    def run_name(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}[{self.partition}]"

    def tags(self) -> dict[str, str]:
        return {
            "dagster_run_id": self.dagster_run_id,
            "asset": self.asset,
            "partition": self.partition or "",
            "attempt": str(self.attempt),
            "trace_id": self.trace_id,
            "backfill": self.backfill or "",
        }


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run, its texts redacted.

    `mlflow` is dagster-mlflow's object with all of mlflow's functions (not redacted), None when tracking is disabled.
    """

    run_id: str | None
    url: str | None
    mlflow: Any = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.mlflow is not None:
            self.mlflow.log_metrics(dict(metrics), step=step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters in any number (sent in chunks of 100)."""
        if self.mlflow is not None:
            self.mlflow.log_params(REDACTOR.value(params))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        if self.mlflow is not None:
            self.mlflow.set_tags(REDACTOR.value(tags))

    def log_text(self, text: str, name: str) -> None:
        if self.mlflow is not None:
            self.mlflow.log_text(REDACTOR.text(text), name)

    @property
    def metadata(self) -> dict[str, str]:
        """What the asset's materialization shows of this run."""
        return {} if self.run_id is None else {"mlflow_run_id": self.run_id, "mlflow_url": self.url or ""}


def load_mlflow() -> Any:
    """Import mlflow with telemetry and pickle loading off (a value the user has set stays)."""
    for name, value in SAFE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    return mlflow


def tracking_uri(place: str | Path) -> str:
    """Tracking URI of a folder (`sqlite:///FOLDER/mlflow.db`) or of a URI given as such.

    Raises TrackingError for a `file:` store: MLflow refuses it, has no registry there and no transactions.
    """
    text = str(place)
    if text.startswith("file:"):
        raise TrackingError(
            f"MLflow store {text!r}: file stores are not supported (no registry, no transactions). "
            "Give a folder (an SQLite store is made in it), sqlite:///PATH, postgresql+psycopg2://… or http(s)://…"
        )
    if text.startswith(("sqlite:///", "postgresql", "mysql", "http://", "https://")):
        return text
    if "://" in text:
        raise TrackingError(
            f"MLflow store {text!r}: expected a folder, sqlite:///PATH, postgresql+psycopg2://… or http(s)://…"
        )
    return f"sqlite:///{Path(text).expanduser().resolve() / 'mlflow.db'}"


def prepare(folder: Path) -> str:
    """Make the SQLite store of `folder` ready and return its URI; safe from several processes at once.

    Creates the schema and the experiment once (two first openings at the same time would crash one of them), and
    rewrites the absolute artifact places when the folder was copied or moved since. Raises TimeoutError when another
    process holds the preparation for two minutes.
    """
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = folder / "artifacts"
    marker = folder / "place.json"
    uri = tracking_uri(folder)
    with FileLock(folder / "prepare.lock", timeout=LOCK_WAIT_SECONDS):
        if not marker.exists():
            _create_store(uri, artifacts)
        else:
            before = json.loads(marker.read_text())["folder"]
            if before == str(folder):
                return uri
            changed = _relocate(folder / "mlflow.db", before, str(folder))
            log.info("MLflow store moved from %s: %d places rewritten", before, changed)
        aside = marker.with_suffix(".tmp")
        aside.write_text(json.dumps({"folder": str(folder)}))
        aside.replace(marker)
    return uri


def _create_store(uri: str, artifacts: Path) -> None:
    load_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(uri, str(artifacts))
    if store.get_experiment_by_name(EXPERIMENT) is None:
        store.create_experiment(EXPERIMENT, artifact_location=str(artifacts / EXPERIMENT))
    store.engine.dispose()


def _relocate(database: Path, before: str, after: str) -> int:
    """Rewrite all places below `before` to `after` in one transaction; returns how many."""
    changed = 0
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in PLACES:
            if table not in tables:
                continue
            for old, new in ((before, after), (f"file://{quote(before)}", f"file://{quote(after)}")):
                changed += connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, old, len(old) + 1, old + "/"),
                ).rowcount
    return changed


@dataclass(frozen=True)
class MlflowTracking:
    """Opens MLflow runs.

    Args:
        place: folder of the SQLite store (it is prepared on first use) or URI of a server.
        experiment: MLflow experiment of all runs.
        disabled: opens nothing and needs no MLflow; runs have `run_id` None.
        ui_url: address of the MLflow UI, for links.
        lock: named lock across processes (`Database.lock`); a file lock in the folder when not given.
    """

    place: str | Path
    experiment: str = EXPERIMENT
    disabled: bool = False
    ui_url: str | None = None
    lock: Lock | None = field(default=None, compare=False)

    @property
    def uri(self) -> str:
        return tracking_uri(self.place)

    def forget(self, pseudonym: str) -> int:
        """Overwrite a listener's pseudonym in the store and its artifacts; returns in how many files it stood.

        A server's store is its operator's: nothing is done there.
        """
        if not self.uri.startswith("sqlite:///"):
            return 0
        folder = Path(self.uri.removeprefix("sqlite:///")).parent
        return len(mask_tree(folder, [Word(pseudonym, anywhere=True)]))

    def client(self) -> Any:
        """An `MlflowClient` on the prepared store."""
        load_mlflow()
        from mlflow.tracking import MlflowClient

        return MlflowClient(self._ready())

    @contextmanager
    def start(self, step: StepIdentity) -> Iterator[TrackedRun]:
        """One MLflow run for this step: FINISHED, FAILED (an exception) or KILLED (interrupted) at the end.

        A run that an earlier attempt left open (its process was killed) is closed as KILLED first. The parent run of
        the Dagster run is made once and carries the worst of its steps' last states.
        """
        if self.disabled:
            yield TrackedRun(None, None)
            return
        client = self.client()
        experiment_id = self._experiment_id(client)
        with self._locked(step.dagster_run_id):
            parent = _parent_run(client, experiment_id, step)
            _close_orphans(client, experiment_id, step)
            run = client.create_run(
                experiment_id, run_name=step.run_name, tags={**step.tags(), "mlflow.parentRunId": parent}
            )
            client.update_run(parent, status="RUNNING")
        status = "FAILED"
        try:
            yield self._opened(run.info.run_id, experiment_id, step)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            status = "KILLED"
            raise
        except Exception as error:
            status = "KILLED" if type(error).__name__ == "DagsterExecutionInterruptedError" else "FAILED"
            raise
        except BaseException:
            status = "KILLED"
            raise
        finally:
            self._close(client, experiment_id, step, run.info.run_id, parent, status)

    def _opened(self, run_id: str, experiment_id: str, step: StepIdentity) -> TrackedRun:
        context = SimpleNamespace(
            log=log,
            dagster_run=SimpleNamespace(job_name=step.run_name),
            run_id=step.dagster_run_id,
            resource_config={
                "mlflow_tracking_uri": self.uri,
                "experiment_name": self.experiment,
                "mlflow_run_id": run_id,
                "extra_tags": step.tags(),
            },
        )
        url = f"{self.ui_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}" if self.ui_url else None
        return TrackedRun(run_id, url, _run_class()(context))

    def _close(
        self, client: Any, experiment_id: str, step: StepIdentity, run_id: str, parent: str, status: str
    ) -> None:
        mlflow = load_mlflow()
        active = mlflow.active_run()
        if active is not None and active.info.run_id == run_id:
            mlflow.end_run(status=status)
        client.set_terminated(run_id, status=status)
        with self._locked(step.dagster_run_id):
            _settle_parent(client, experiment_id, step, parent)

    def _ready(self) -> str:
        text = str(self.place)
        return self.uri if "://" in text or text.startswith("file:") else prepare(Path(text))

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        with self._locked("experiment"):
            found = client.get_experiment_by_name(self.experiment)
            if found is not None:
                return str(found.experiment_id)
            return str(client.create_experiment(self.experiment, artifact_location=self._artifact_location()))

    def _artifact_location(self) -> str | None:
        """Beside an SQLite store, so that a copied folder holds its artifacts; a server decides for itself."""
        if not self.uri.startswith("sqlite:///"):
            return None
        return str(Path(self.uri.removeprefix("sqlite:///")).parent / "artifacts" / self.experiment)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        if self.lock is not None:
            with self.lock(f"mlflow:{name}"):
                yield
            return
        if not self.uri.startswith("sqlite:///"):
            yield  # one process against a server: nothing here to lock on
            return
        folder = Path(self.uri.removeprefix("sqlite:///")).parent
        with FileLock(folder / "runs.lock", timeout=LOCK_WAIT_SECONDS):
            yield


def _run_class() -> Any:
    """dagster-mlflow's class without its two faults: it looks up no other attempt's run and leaves no exit hook."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dagster_mlflow.resources import MlFlow

    class AttemptRun(MlFlow):
        def __init__(self, context: Any) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                super().__init__(context)

        def _get_current_run_id(self, experiment: Any = None, dagster_run_id: str | None = None) -> None:
            return None

        def _setup(self) -> None:
            mlflow = load_mlflow()
            while mlflow.active_run() is not None:  # left open on this thread by somebody's own start_run
                mlflow.end_run(status="KILLED")
            mlflow.start_run(run_id=self.mlflow_run_id)

    return AttemptRun


def _search(client: Any, experiment_id: str, step: StepIdentity, condition: str = "") -> list[Any]:
    text = f"tags.dagster_run_id = '{step.dagster_run_id}'" + (f" and {condition}" if condition else "")
    return list(client.search_runs([experiment_id], filter_string=text, max_results=10_000))


def _parent_run(client: Any, experiment_id: str, step: StepIdentity) -> str:
    found = _search(client, experiment_id, step, "tags.kind = 'dagster_run'")
    if found:
        return str(found[0].info.run_id)
    tags = {"dagster_run_id": step.dagster_run_id, "kind": "dagster_run", "trace_id": step.trace_id}
    tags["backfill"] = step.backfill or ""
    return str(client.create_run(experiment_id, run_name=f"run {step.dagster_run_id[:8]}", tags=tags).info.run_id)


def _close_orphans(client: Any, experiment_id: str, step: StepIdentity) -> None:
    for run in _search(client, experiment_id, step, "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        same = tags.get("asset") == step.asset and tags.get("partition", "") == (step.partition or "")
        if same and int(tags.get("attempt", 0)) < step.attempt:
            client.set_terminated(run.info.run_id, status="KILLED")


def _settle_parent(client: Any, experiment_id: str, step: StepIdentity, parent: str) -> None:
    latest: dict[tuple[str, str], tuple[int, str]] = {}
    for run in _search(client, experiment_id, step):
        tags = run.data.tags
        if "asset" not in tags:
            continue
        key, entry = (tags["asset"], tags.get("partition", "")), (int(tags.get("attempt", 0)), run.info.status)
        if key not in latest or latest[key][0] < entry[0]:
            latest[key] = entry
    states = {status for _, status in latest.values()}
    if "RUNNING" in states:
        return
    worst = next((state for state in ("FAILED", "KILLED") if state in states), "FINISHED")
    client.set_terminated(parent, status=worst)
