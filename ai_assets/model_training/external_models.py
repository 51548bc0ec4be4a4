"""Trained audio models from elsewhere: examined, tried once, registered beside our own, and listed.

What a manifest may say stands in `external_manifest`, how each kind is run in `external_runtimes`. Which recordings go
through a model is the matter of audio analysis. Every model is loaded in a limited process, also when it is tried.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ai_assets.contract.errors import PermanentError
from ai_assets.model_training.external_manifest import ExternalModel, checked_source
from ai_assets.model_training.external_runtimes import STEM, SUFFIXES, WrongModel, manifest_of
from resources.isolation import LimitedError, run_limited
from resources.model_files import EXAMPLE_INPUTS, UnsafeModel, check_file
from resources.model_registry import ModelNotFound, ModelRegistry, ModelVersion

if TYPE_CHECKING:
    import pandas as pd

TAG = "external"
TRY_SECONDS = 300.0
_REGISTRY = "models:/"
# Graph operations by which a SavedModel could touch files or run Python.
_UNSAFE_OPS = (
    b"ReadFile", b"WriteFile", b"PyFunc", b"EagerPyFunc", b"MatchingFiles", b"SaveV2File", b"PrintV2", b"LoadLibrary",
)  # fmt: skip


def add(model: ExternalModel, base: Path, registry: ModelRegistry) -> ModelVersion:
    """Register a declared model as the champion of its name; the same model again is the same version.

    Args:
        base: folder that relative sources are taken from.

    Raises:
        PermanentError: wrong digest, unsafe content, wrong shape or labels; nothing is registered then.
    """
    taken = {version.name for version in registry.versions() if TAG not in version.tags}
    if model.name in taken:
        raise PermanentError(f"{model.name}: the platform has a model of its own with that name; choose another")
    with tempfile.TemporaryDirectory(prefix="external-") as scratch:
        source = checked_source(model, _located(model, base, registry, Path(scratch)))
        folder = Path(scratch) / "staged"
        folder.mkdir()
        try:
            _stage(model, source, folder)
            (folder / "external.json").write_text(model.model_dump_json(indent=1))
            run_limited(
                "ai_assets.model_training.external_worker:attempt", str(folder), memory_bytes=model.memory_bytes,
                wall_seconds=TRY_SECONDS, environment={"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"},
                on_line=lambda _line: None,
            )  # fmt: skip
            version = registry.log_model(
                model.name, folder, tags={TAG: "1", "licence": model.licence, "runtime": model.runtime},
                params={"source": model.source, "sha256": model.sha256}, model_card_markdown=_card(model),
            )  # fmt: skip
        except LimitedError as error:
            raise PermanentError(f"{model.name}: could not be tried: {error}") from None
        except (UnsafeModel, WrongModel) as error:
            raise PermanentError(str(error)) from None
    return registry.promote(version.name, version.version, f"added from {model.source}")


def listed(registry: ModelRegistry) -> list[tuple[ModelVersion, ExternalModel]]:
    """The champions of all added models, by name."""
    names = sorted({version.name for version in registry.versions() if TAG in version.tags})
    found = []
    for name in names:
        champion = registry.champion(name)
        if champion is not None:
            found.append((champion, manifest_of(registry.fetch(name))))
    return found


def models_frame(registry: ModelRegistry) -> pd.DataFrame:
    """The table of added models."""
    import pandas as pd

    from ai_assets.model_training.schemas import ExternalModels

    rows = [
        {
            "name": model.name, "model": version.label, "runtime": model.runtime, "digest": version.digest,
            "output": model.output.kind, "licence": model.licence, "labels": json.dumps(model.output.labels),
            "manifest": model.model_dump_json(),
        }
        for version, model in listed(registry)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(ExternalModels.to_schema().columns))


def _located(model: ExternalModel, base: Path, registry: ModelRegistry, scratch: Path) -> Path:
    """Where the declared source lies on this machine; a registry URI is fetched first."""
    if not model.source.startswith(_REGISTRY):
        return base / Path(model.source).expanduser()
    import mlflow

    try:
        client = registry.tracking.client()
        name, _, version = model.source.removeprefix(_REGISTRY).partition("/")
        uri = client.get_model_version_download_uri(name, str(registry.version(name, version).version))
        local = Path(
            mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch), tracking_uri=registry.tracking.uri)
        )
    except (ModelNotFound, mlflow.exceptions.MlflowException, OSError, ValueError) as error:
        raise PermanentError(f"{model.name}: {model.source} cannot be fetched: {error}") from None
    return _payload(model, local)


def _payload(model: ExternalModel, folder: Path) -> Path:
    """The one file or folder of an MLflow model that our runtime reads; a flavour that unpickles has none."""
    if model.runtime in ("tensorflow", "transformers"):
        mark = "saved_model.pb" if model.runtime == "tensorflow" else "config.json"
        found = sorted(path.parent for path in folder.rglob(mark))
    else:
        endings = {"onnx": (".onnx",), "torch_export": (".pt2",), "safetensors": (".safetensors",),
                   "lightgbm": (".lgb", ".txt")}[model.runtime]  # fmt: skip
        found = sorted(path for path in folder.rglob("*") if path.suffix in endings and path.name != "requirements.txt")
    if len(found) != 1:
        held = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise PermanentError(
            f"{model.name}: {model.source} holds no single {model.runtime} model, but {', '.join(held)[:400]}; "
            "MLflow flavours that are pickles are not loaded: log the model as ONNX, pt2, safetensors or LightGBM"
        )
    return found[0]


def _stage(model: ExternalModel, source: Path, folder: Path) -> None:
    """Copy what is safe of the source; raises UnsafeModel or WrongModel for what is not."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                _refuse_pickle(path)
        shutil.copytree(source, folder / STEM)
        if model.runtime == "tensorflow":
            _check_graph(folder / STEM)
        return
    target = folder / f"{STEM}{SUFFIXES[model.runtime]}"
    if model.runtime == "torch_export":
        _copy_archive(source, target)
        return
    _refuse_pickle(source)
    shutil.copyfile(source, target)
    found = check_file(target)
    wanted = {"onnx": "onnx", "safetensors": "safetensors", "lightgbm": "text"}[model.runtime]
    if found != wanted:
        raise WrongModel(f"{model.name}: {source.name} is {found}, expected {wanted} for {model.runtime}")


def _refuse_pickle(path: Path) -> None:
    """Refuse pickles, whatever their name, bare or in a zip (as torch.save and joblib write them)."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            named = [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
        raise UnsafeModel(f"{path}: a zip archive{' with the pickle ' + named[0] if named else ''}; save safetensors")
    if path.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".py") or (
        head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    ):
        raise UnsafeModel(f"{path}: a pickle or code; models are loaded as data alone: save safetensors or ONNX")


def _copy_archive(source: Path, target: Path) -> None:
    """A torch.export archive that was examined, with its one pickle (the example inputs) written anew."""
    import torch

    if not zipfile.is_zipfile(source) or check_file(source) != "torch_export":
        raise UnsafeModel(f"{source}: no torch.export archive (a .pt2 file)")
    with zipfile.ZipFile(source) as held, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as kept:
        for name in held.namelist():
            data = held.read(name)
            if EXAMPLE_INPUTS in name:
                buffer = io.BytesIO()
                torch.save(torch.load(io.BytesIO(data), weights_only=True), buffer)
                data = buffer.getvalue()
            kept.writestr(name, data)


def _check_graph(folder: Path) -> None:
    graph = folder / "saved_model.pb"
    if not graph.is_file():
        raise UnsafeModel(f"{folder}: no SavedModel (saved_model.pb is missing)")
    content = graph.read_bytes()
    found = [name.decode() for name in _UNSAFE_OPS if name in content]
    if found:
        raise UnsafeModel(f"{graph}: its graph has the operations {found}, which reach beyond numbers")


def _card(model: ExternalModel) -> str:
    return (
        f"# {model.name}\n\nA model from elsewhere ({model.runtime}), added by manifest.\n\n- source: {model.source}\n"
        f"- sha256: {model.sha256}\n- licence: {model.licence}\n- input: {model.input.model_dump()}\n"
        f"- output: {model.output.kind} of {model.output.width}\n- judged by: nobody here; it is used as it came\n"
    )
