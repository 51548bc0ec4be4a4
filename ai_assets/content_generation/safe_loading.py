"""Opening somebody else's pretrained model without surprises: what must hold before and after a library loads it.

Here belong the offline switches, the look at a folder before loading, and the comparison of weights after it. It is
shared by texts, covers and music. The libraries alone would load pickles, run a repository's code, call home, or fill
missing weights with random numbers and a mere warning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
_COMPARED = 3


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
    config = _json(folder / "config.json")
    named = config.get("architectures") or []
    if not isinstance(named, list) or not named or not set(named) <= set(architectures):
        allowed = ", ".join(sorted(architectures))
        raise CheckpointError(f"{folder / 'config.json'}: architecture {named} is not one of {allowed}")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in _json(folder / name):
            raise CheckpointError(f"{folder / name} wants to run code from the model's folder (auto_map): refused")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLES]
        advice = f" ({', '.join(pickled)} could run code when loaded; convert it to safetensors)" if pickled else ""
        raise CheckpointError(f"{folder} has no *.safetensors weights{advice}")
    shapes: dict[str, tuple[int, ...]] = {}
    sources: dict[str, Path] = {}
    for file in files:
        for name, shape in _header(file).items():
            shapes[name], sources[name] = shape, file
    return Checkpoint(folder, config, shapes, sources, _licence(folder))


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
    common = [name for name in checkpoint.shapes if name in state]
    tied = {state[name].data_ptr() for name in common}
    lost = [name for name, tensor in state.items() if name not in checkpoint.shapes and tensor.data_ptr() not in tied]
    extra = [name for name in checkpoint.shapes if name not in state]
    if lost or extra:
        raise CheckpointError(f"{checkpoint.folder}: weights {(lost or extra)[:3]} are not both in file and model")
    for name in [*common[: _COMPARED - 1], *common[-1:]]:
        with safe_open(checkpoint.files[name], framework="pt") as source:
            stored = source.get_tensor(name)
        if not torch.equal(stored.to(state[name].dtype), state[name].cpu()):
            raise CheckpointError(f"{checkpoint.folder}: weight {name} was changed while loading")


def _json(file: Path) -> dict[str, Any]:
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


def _licence(folder: Path) -> str | None:
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
