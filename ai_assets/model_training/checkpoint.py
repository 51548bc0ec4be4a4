"""Checkpoints of a training: one file of plain tensors and JSON that is there whole or not at all. No training here.

The file is safetensors; what is no tensor (epoch, losses, schedules) lies as JSON in its header, so that one rename
replaces all of it. Floats survive JSON exactly, so a resumed training continues bit for bit.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"


def encode(tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint: tensors by name, and JSON beside them."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(plain, metadata={"facts": json.dumps(facts, sort_keys=True)})


def decode(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and facts of `encode`. Raises ValueError for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        return tensors, json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["facts"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"no readable checkpoint: {error}") from None


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: a reader, or a start after a crash, finds the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes | None:
    """The checkpoint at `path`; None where there is none, or none that can be read (which is said in the log)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        decode(content)
    except ValueError as error:
        log.warning("%s is damaged (%s); the training starts anew", path, error)
        return None
    return content


def flatten(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An optimizer's `state_dict` as tensors by name, and the rest as JSON."""
    tensors, rest = {}, {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if hasattr(value, "detach"):
                tensors[f"{index}.{name}"] = value
            else:
                rest[f"{index}.{name}"] = value
    return tensors, {"state": rest, "groups": state["param_groups"]}


def unflatten(tensors: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The `state_dict` that `flatten` took apart."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **rest["state"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": rest["groups"]}
