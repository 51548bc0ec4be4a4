"""Opening somebody else's pretrained model without surprises: what must hold before and after a library loads it.

Here belong the offline switches, the look at a folder before loading, and the comparison of weights after it. It is
shared by texts, covers and music. The libraries alone would load pickles, run a repository's code, call home, or fill
missing weights with random numbers and a mere warning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

OFFLINE_SETTINGS: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_VARIANTS = {"fp16", "bf16", "non_ema", "ema"}
_COMPARED = 3
_ROOM = 1.3
# Names that older files have and newer libraries read under another name.
_RENAMED = (
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
)


class CheckpointError(ValueError):
    """A pretrained model that is refused; the message names the folder or file and says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that passed the look before loading: its configuration and the weights' names, shapes and files."""

    folder: Path
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    files: Mapping[str, Path]
    licence: str | None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        total = 0
        for shape in self.shapes.values():
            size = 1
            for extent in shape:
                size *= extent
            total += size
        return total


def go_offline() -> None:
    """Set the switches that keep the libraries offline. Raises ``CheckpointError`` when one is imported without them.

    They are read at import: set later they have no effect, so that case is refused instead of believed.
    """
    import sys

    os.environ.update(OFFLINE_SETTINGS)
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None and not getattr(constants, "HF_HUB_OFFLINE", False):
        raise CheckpointError(
            "huggingface_hub was imported before HF_HUB_OFFLINE=1 was set: start the process with that variable set"
        )


def resolve(model: str | Path, *, revision: str | None = None) -> Path:
    """The local folder of a path, or of a hub id already in the local cache (then with its commit ``revision``).

    Nothing is downloaded. Raises ``CheckpointError`` for a missing folder, an id without a full commit hash, or one
    that is not in the cache.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    text = str(model)
    if folder.is_absolute() or text.startswith((".", "~")) or text.count("/") != 1:
        raise CheckpointError(f"the model folder {folder} does not exist")
    if revision is None or len(revision) != 40 or not set(revision) <= set("0123456789abcdef"):
        raise CheckpointError(f"{text} is not a folder; as a hub id it needs its revision: a commit hash of 40 digits")
    go_offline()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        command = f"hf download {text} --revision {revision}"
        raise CheckpointError(
            f"{text} at {revision} is not in the local cache: fetch it once with `{command}`"
        ) from None


def inspect(folder: Path, *, architectures: Collection[str]) -> Checkpoint:
    """Look at a folder in the transformers layout without loading it.

    Raises ``CheckpointError`` when the folder is missing, the configuration is unreadable, wants its own code or is of
    an architecture not in ``architectures``, when there are only pickled weights, or a weights file is cut short.
    """
    if not folder.is_dir():
        raise CheckpointError(f"the model folder {folder} does not exist")
    config = read_json(folder / "config.json")
    named = config.get("architectures") or []
    if not isinstance(named, list) or not named or not set(named) <= set(architectures):
        allowed = ", ".join(sorted(architectures))
        raise CheckpointError(f"{folder / 'config.json'}: architecture {named} is not one of {allowed}")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in read_json(folder / name):
            raise CheckpointError(f"{folder / name} wants to run code from the model's folder (auto_map): refused")
    return replace(inspect_weights(folder), config=config)


def inspect_weights(folder: Path) -> Checkpoint:
    """Look at the weights of a folder (a model, or one part of a pipeline) without loading them.

    Raises ``CheckpointError`` when there are only pickles, a file is cut short, its configuration wants its own code,
    or the weights would not fit into the memory that is free.
    """
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        raise CheckpointError(f"{folder / 'config.json'} wants to run code from the model's folder (auto_map): refused")
    # Half-precision and training copies lie beside the weights that are loaded.
    files = [file for file in sorted(folder.glob("*.safetensors")) if not set(file.name.split(".")) & _VARIANTS]
    if not files:
        pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLES]
        advice = f" ({', '.join(pickled)} could run code when loaded; convert it to safetensors)" if pickled else ""
        raise CheckpointError(f"{folder} has no *.safetensors weights{advice}")
    shapes: dict[str, tuple[int, ...]] = {}
    sources: dict[str, Path] = {}
    for file in files:
        for name, shape in _header(file).items():
            shapes[name], sources[name] = shape, file
    checkpoint = Checkpoint(folder, config, shapes, sources, licence_of(folder))
    _check_memory(checkpoint)
    return checkpoint


def _check_memory(checkpoint: Checkpoint) -> None:
    import psutil

    needed, free = int(4 * checkpoint.parameters * _ROOM), int(psutil.virtual_memory().available)
    if needed > free:
        raise CheckpointError(f"{checkpoint.folder} needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free")


def verify_loaded(checkpoint: Checkpoint, state: Mapping[str, Any], loading_info: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` unless the loaded weights (name to tensor) are those of the files.

    ``loading_info`` is what transformers' ``output_loading_info=True`` gives. Names are compared again without it, and
    three tensors by value, because a library release has been seen to replace loaded weights after a clean report.
    """
    import torch
    from safetensors import safe_open

    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, loading_info.get(kind) or ())):
            listed = ", ".join(found[:3])
            raise CheckpointError(f"{checkpoint.folder}: {kind.replace('_', ' ')}: {listed} ({len(found)} in all)")
    places = {name: _place(name, state) for name in checkpoint.shapes}
    common = [name for name, place in places.items() if place is not None]
    filled = {str(places[name]) for name in common}
    tied = {state[name].data_ptr() for name in filled}
    lost = [name for name, tensor in state.items() if name not in filled and tensor.data_ptr() not in tied]
    # Positions 0, 1, 2 … are stored by old files and computed by new libraries: no weights.
    extra = [name for name, place in places.items() if place is None and not name.endswith("position_ids")]
    if lost or extra:
        raise CheckpointError(f"{checkpoint.folder}: weights {(lost or extra)[:3]} are not both in file and model")
    for name in [*common[: _COMPARED - 1], *common[-1:]]:
        with safe_open(checkpoint.files[name], framework="pt") as source:
            stored = source.get_tensor(name)
        loaded = state[str(places[name])]
        if not torch.equal(stored.to(loaded.dtype).reshape(loaded.shape), loaded.cpu()):
            raise CheckpointError(f"{checkpoint.folder}: weight {name} was changed while loading")


def _place(name: str, state: Mapping[str, Any]) -> str | None:
    """The name under which a stored weight is found in the loaded model."""
    if name in state:
        return name
    for old, new in _RENAMED:
        if old in name + "." and (found := (name + ".").replace(old, new).rstrip(".")) in state:
            return found
    return None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a model's folder; raises ``CheckpointError``."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing: is this the folder of a transformers model?") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is not readable as JSON: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} does not hold a JSON object")
    return found


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or cut short: {error}; fetch it again") from error


def licence_of(folder: Path) -> str | None:
    """The licence named in the front matter of the model card, None when there is none."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if line.startswith("license:"):
            return line.partition(":")[2].strip().strip("\"'") or None
    return None
