"""The model registry: model folders as MLflow model versions, the `champion` alias, and verified fetching.

Names, versions, digests and aliases live here. Whether a candidate is better is decided by the evaluation that calls
`promote`; how a model is loaded from its folder is the model's own matter. Importing this module loads no mlflow.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from resources.mlflow_tracking import LOCK_WAIT_SECONDS, Lock, MlflowTracking, load_mlflow
from resources.model_files import MANIFEST, Manifest, UnsafeModel, examine_folder, verify_folder
from resources.redaction import REDACTOR
from resources.scrub import Word, mask_tree

log = logging.getLogger(__name__)

CHAMPION = "champion"
FLAVOUR = "ai_assets"
HISTORY_TAG = "champion_history"
HISTORY_LENGTH = 100
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class ModelNotFound(LookupError):
    """No such model, version or alias."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version. `digest` is the sha256 of its manifest: equal content has equal digests."""

    name: str
    version: int
    run_id: str
    digest: str
    aliases: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict, compare=False)
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    created_at: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """`NAME/VERSION`: how tables and answers name the model."""
        return f"{self.name}/{self.version}"

    @property
    def data_versions(self) -> dict[str, str]:
        return dict(json.loads(self.tags.get("data_versions", "{}")))


@dataclass(frozen=True)
class ModelRegistry:
    """Models of one MLflow store.

    Args:
        tracking: the store (folder or server).
        cache: folder for fetched models; they are checked again at each fetch.
        lock: named lock across processes (`Database.lock`); file locks in the cache when not given.
    """

    tracking: MlflowTracking
    cache: Path
    lock: Lock | None = field(default=None, compare=False)

    def forget(self, pseudonym: str) -> int:
        """Overwrite a listener's pseudonym in fetched models; the registered ones lie in the tracking store."""
        return len(mask_tree(self.cache, [Word(pseudonym, anywhere=True)]))

    def log_model(
        self,
        name: str,
        folder: Path,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        signature: Any = None,
        input_example: Any = None,
        plots: Mapping[str, Path | bytes] | None = None,
        model_card_markdown: str = "",
        data_versions: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> ModelVersion:
        """Register the model in `folder`; the same content again returns the version that exists.

        Args:
            name: registered model name (lower case, digits, `_`).
            folder: safetensors, npz, json, text (LightGBM), onnx or parquet files; no pickles, no links.
            signature: `mlflow.models.ModelSignature`, or a pair (inputs, outputs) of arrays or frames to infer it from.
            input_example: array or frame that the MLflow UI shows.
            plots: file name -> PNG bytes or path, stored with the run.
            data_versions: asset -> data version the model was trained on.
            run_id: MLflow run to attach to; without it the model gets a run of its own.

        Raises:
            UnsafeModel: a file is no plain data. ValueError: the name is not allowed.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"model name {name!r}: expected lower-case letters, digits and _, starting with a letter")
        manifest = examine_folder(folder)
        params, card = REDACTOR.value(params or {}), REDACTOR.text(model_card_markdown)
        client = self.tracking.client()
        all_tags = {
            **REDACTOR.value(tags or {}),
            "digest": manifest.digest,
            "data_versions": json.dumps(dict(data_versions or {}), sort_keys=True),
        }
        with self._locked(name):
            existing = self._by_digest(client, name, manifest.digest)
            if existing is not None:
                return existing
            with self._run(client, name, run_id, params, all_tags) as run:
                self._log_numbers(client, run, metrics or {}, plots or {}, card)
                with tempfile.TemporaryDirectory(prefix="model-") as staged:
                    stage = Path(staged)
                    _stage(stage, name, folder, manifest, run, signature, input_example, card)
                    return self._register(client, name, stage, run, all_tags, metrics or {}, params, card)

    def champion(self, name: str) -> ModelVersion | None:
        """The version the platform serves, or None when none was promoted yet."""
        try:
            return self.version(name, CHAMPION)
        except ModelNotFound:
            return None

    def version(self, name: str, alias_or_version: str | int) -> ModelVersion:
        """One version by number or alias. Raises ModelNotFound."""
        mlflow = load_mlflow()
        client = self.tracking.client()
        text = str(alias_or_version)
        try:
            if text.isdigit():
                found = client.get_model_version(name, text)
            else:
                found = client.get_model_version_by_alias(name, text)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise ModelNotFound(
                f"model {name!r} has no version or alias {text!r}; `ai-assets models` lists them"
            ) from None
        return self._described(client, found)

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """All versions of one model, or of all, by name and newest first; none for a name that cannot exist."""
        if name is not None and not NAME.fullmatch(name):
            return []
        client = self.tracking.client()
        found = _all_versions(client, f"name = '{name}'" if name else None)
        return sorted((self._described(client, one) for one in found), key=lambda one: (one.name, -one.version))

    def fetch(self, name: str, alias_or_version: str | int = CHAMPION) -> Path:
        """A local folder with the version's files and `manifest.json`, each digest verified.

        Raises ModelNotFound, or UnsafeModel when a stored file was changed (nothing of it is used).
        """
        version = self.version(name, alias_or_version)
        target = self.cache / version.digest
        with self._locked(f"fetch:{version.digest}"):
            if target.exists():
                try:
                    verify_folder(target, version.digest)
                    return target
                except UnsafeModel as error:
                    log.warning("cached model is damaged and fetched again: %s", error)
                    shutil.rmtree(target)
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.cache) as aside:
                source = self._download(version, Path(aside))
                verify_folder(source, version.digest)
                source.rename(target)
        return target

    def promote(self, name: str, version: int, reason: str) -> ModelVersion:
        """Move `champion` to `version` after verifying its files; `reason` is kept with the version."""
        chosen = self.version(name, version)
        self.fetch(name, version)
        client = self.tracking.client()
        with self._locked(name):
            history = self._history(client, name)
            client.set_model_version_tag(name, str(version), "promotion_reason", reason)
            client.set_model_version_tag(
                name, str(version), "promoted_at", datetime.now(UTC).isoformat(timespec="seconds")
            )
            client.set_registered_model_alias(name, CHAMPION, str(version))
            if not history or history[-1] != chosen.version:
                self._write_history(client, name, [*history, chosen.version])
        return self.version(name, version)

    def rollback(self, name: str, reason: str = "rollback") -> ModelVersion:
        """Move `champion` back to the version before it. Raises ModelNotFound when there is none."""
        client = self.tracking.client()
        with self._locked(name):
            current = self.champion(name)
            history = self._history(client, name) if current is not None else []
            # The alias is the truth: a history whose last entries were not undone (a crash between) is cut to it.
            while current is not None and current.version in history and history[-1] != current.version:
                history.pop()
            while history and current is not None and history[-1] == current.version:
                history.pop()
            if current is None or not history:
                raise ModelNotFound(f"model {name!r} has no earlier champion to go back to")
            client.set_model_version_tag(name, str(current.version), "rolled_back", reason)
            client.set_registered_model_alias(name, CHAMPION, str(history[-1]))
            self._write_history(client, name, history)
        return self.version(name, CHAMPION)

    def _history(self, client: Any, name: str) -> list[int]:
        return [int(one) for one in json.loads(client.get_registered_model(name).tags.get(HISTORY_TAG, "[]"))]

    def _write_history(self, client: Any, name: str, history: list[int]) -> None:
        client.set_registered_model_tag(name, HISTORY_TAG, json.dumps(history[-HISTORY_LENGTH:]))

    def _by_digest(self, client: Any, name: str, digest: str) -> ModelVersion | None:
        found = _all_versions(client, f"name = '{name}' and tags.digest = '{digest}'")
        return self._described(client, min(found, key=lambda one: int(one.version))) if found else None

    def _described(self, client: Any, found: Any) -> ModelVersion:
        # A listed version carries no aliases in some stores: they are asked of the model.
        aliases = client.get_registered_model(found.name).aliases
        tags = dict(found.tags)
        return ModelVersion(
            found.name,
            int(found.version),
            found.run_id or "",
            tags.get("digest", ""),
            tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(found.version))),
            json.loads(tags.get("metrics", "{}")),
            tags,
            datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
        )

    @contextmanager
    def _run(
        self, client: Any, name: str, run_id: str | None, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> Iterator[str]:
        if run_id is not None:
            yield run_id
            return
        experiment = self.tracking._experiment_id(client)
        run = client.create_run(experiment, run_name=f"register {name}", tags=dict(tags)).info.run_id
        try:
            for key in sorted(params):
                client.log_param(run, key, params[key])
            yield run
        except BaseException:
            client.set_terminated(run, status="FAILED")
            raise
        client.set_terminated(run, status="FINISHED")

    def _log_numbers(
        self, client: Any, run: str, metrics: Mapping[str, float], plots: Mapping[str, Path | bytes], card: str
    ) -> None:
        for key in sorted(metrics):
            client.log_metric(run, key, float(metrics[key]))
        with tempfile.TemporaryDirectory(prefix="plots-") as aside:
            for name in sorted(plots):
                plot = plots[name]
                path = Path(aside) / Path(name).name
                path.write_bytes(plot if isinstance(plot, bytes) else plot.read_bytes())
                client.log_artifact(run, str(path), "plots")
        if card:
            client.log_text(run, card, "model_card.md")

    def _register(
        self, client: Any, name: str, stage: Path, run: str, tags: Mapping[str, str],
        metrics: Mapping[str, float], params: Mapping[str, Any], card: str,
    ) -> ModelVersion:  # fmt: skip
        mlflow = load_mlflow()
        from mlflow.entities import LoggedModelOutput

        experiment = client.get_run(run).info.experiment_id
        logged = client.create_logged_model(
            experiment, name=name, source_run_id=run, model_type=name,
            params={key: str(value) for key, value in params.items()}, tags=dict(tags),
        )  # fmt: skip
        client.log_model_artifacts(logged.model_id, str(stage))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run, [LoggedModelOutput(logged.model_id, 0)])
        for key in sorted(metrics):
            client.log_metric(run, key, float(metrics[key]), model_id=logged.model_id)
        try:
            client.create_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # MLflow looks the logged model up in the process's own store, whatever client asks.
        mlflow.set_tracking_uri(self.tracking.uri)
        # Last, and with all its tags at once: a version that exists is a version that is complete.
        numbers = json.dumps({key: float(value) for key, value in metrics.items()}, sort_keys=True)
        version = client.create_model_version(
            name, f"models:/{logged.model_id}", run_id=run, model_id=logged.model_id, description=card[:5000] or None,
            tags={**tags, "metrics": numbers},
        )  # fmt: skip
        return self._described(client, client.get_model_version(name, version.version))

    def _download(self, version: ModelVersion, aside: Path) -> Path:
        mlflow = load_mlflow()
        target = aside / "checked"
        try:
            place = f"{self.artifacts(version).rstrip('/')}/model"
            copied = mlflow.artifacts.download_artifacts(place, dst_path=str(aside), tracking_uri=self.tracking.uri)
            shutil.copytree(copied, target, symlinks=True)
        except (OSError, mlflow.exceptions.MlflowException) as error:
            raise UnsafeModel(f"files of {version.label} cannot be read: {error}") from None
        return target

    def artifacts(self, version: ModelVersion) -> str:
        """Where MLflow keeps the version's `MLmodel`, card, example and `model/`."""
        client = self.tracking.client()
        source = client.get_model_version(version.name, str(version.version)).source
        return str(client.get_logged_model(source.removeprefix("models:/")).artifact_location)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        if self.lock is not None:
            with self.lock(f"model_registry:{name}"):
                yield
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / f"{name.replace(':', '-')}.lock", timeout=LOCK_WAIT_SECONDS):
            yield


def _all_versions(client: Any, condition: str | None) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(condition, max_results=1000, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def _stage(
    stage: Path, name: str, folder: Path, manifest: Manifest, run: str, signature: Any, input_example: Any, card: str
) -> None:
    """Lay out an MLflow model with our own flavour: `MLmodel`, `model/` (the files and the manifest), example, card."""
    load_mlflow()
    from mlflow.models import Model, infer_signature
    from mlflow.models.utils import _save_example

    for relative in manifest.files:
        target = stage / "model" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / relative, target)
    (stage / "model" / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    verify_folder(stage / "model", manifest.digest)  # the folder may have been written to meanwhile
    described = Model(run_id=run, signature=infer_signature(*signature) if isinstance(signature, tuple) else signature)
    described.add_flavor(FLAVOUR, data="model", manifest=f"model/{MANIFEST}", digest=manifest.digest, model_type=name)
    if input_example is not None:
        _save_example(described, input_example, str(stage))
    if card:
        (stage / "model_card.md").write_text(card, encoding="utf-8")
    described.save(str(stage / "MLmodel"))
