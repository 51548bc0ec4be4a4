"""Model folders: which files a stored model may consist of, told by their content, and the manifest of their digests.

A model is data, never code: loading it must not be able to run anything. So every file is recognised by what is in it
(safetensors, NPZ or NPY without objects, JSON, text, ONNX, Parquet), and all else is refused, whatever its name.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MANIFEST = "manifest.json"
MAX_HEADER_BYTES = 100 * 2**20
# Protocol buffers and checkpoint shards of a SavedModel: data, though its graph needs a look of its own.
SAVED_MODEL_FILE = re.compile(r"saved_model\.pb|fingerprint\.pb|variables\.index|variables\.data-\d{5}-of-\d{5}")
EXAMPLE_INPUTS = "/data/sample_inputs/"


class UnsafeModel(ValueError):
    """A model folder holds something that is no plain data, or not what its manifest says."""


@dataclass(frozen=True)
class Manifest:
    """sha256 and size of each file of a model folder, by path relative to it."""

    files: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest: equal for equal content, whatever order or place."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({"files": {name: dict(self.files[name]) for name in sorted(self.files)}}, sort_keys=True)


def read_manifest(path: Path) -> Manifest:
    """The manifest lying at `path`. Raises UnsafeModel when it is none."""
    try:
        return Manifest(json.loads(path.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnsafeModel(f"{path}: no readable model manifest ({error})") from None


def examine_folder(folder: Path) -> Manifest:
    """Check every file of a model folder and return its manifest (a `manifest.json` in it is left out).

    Raises UnsafeModel, naming the file: a link, an empty folder, or content that is none of the allowed formats.
    """
    if not folder.is_dir():
        raise UnsafeModel(f"{folder}: no folder; a model is a folder of safetensors, npz, json or text files")
    files: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UnsafeModel(f"{path}: links and special files are not allowed in a model folder")
        if path.is_dir() or name == MANIFEST:
            continue
        check_file(path)
        files[name] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
    if not files:
        raise UnsafeModel(f"{folder}: the model folder holds no file")
    return Manifest(files)


def verify_folder(folder: Path, digest: str) -> Manifest:
    """Check that `folder` holds exactly the files its digest names. Raises UnsafeModel (which file, what differs)."""
    stated = read_manifest(folder / MANIFEST)
    if stated.digest != digest:
        raise UnsafeModel(f"{folder / MANIFEST}: its digest is {stated.digest[:12]}…, registered is {digest[:12]}…")
    found = examine_folder(folder)
    for name in sorted(set(stated.files) | set(found.files)):
        if stated.files.get(name) != found.files.get(name):
            raise UnsafeModel(
                f"{folder / name}: differs from the registered manifest; fetch the model again or roll back"
            )
    return found


def check_file(path: Path) -> str:
    """Format of one model file, judged by its content. Raises UnsafeModel for anything that is no plain data."""
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if _is_safetensors(file, path.stat().st_size):
            return "safetensors"
        file.seek(0)
        if head.startswith(b"PK"):
            return _check_archive(path) if path.suffix == ".pt2" else _check_npz(path)
        if head.startswith(b"\x93NUMPY"):
            _check_npy(file, str(path))
            return "npy"
        if head.startswith(b"PAR1"):
            return "parquet"
        if path.suffix == ".onnx" and head[:1] == b"\x08":
            return "onnx"
        if SAVED_MODEL_FILE.fullmatch(path.name) and head[:1] != b"\x80":
            return "tensorflow"
        return _check_text(path, file.read())


def _is_safetensors(file: BinaryIO, size: int) -> bool:
    head = file.read(8)
    if len(head) < 8:
        return False
    (length,) = struct.unpack("<Q", head)
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        return False
    try:
        header = json.loads(file.read(length))
    except ValueError:
        return False
    tensors = [entry for name, entry in header.items() if name != "__metadata__"] if isinstance(header, dict) else []
    ends = [entry["data_offsets"][1] for entry in tensors if isinstance(entry, dict) and "data_offsets" in entry]
    return isinstance(header, dict) and len(ends) == len(tensors) and 8 + length + max(ends, default=0) == size


def _check_npz(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    if member.read(6) != b"\x93NUMPY":
                        raise UnsafeModel(
                            f"{path}: member {name!r} is no array (a zipped pickle, such as torch.save writes?)"
                        )
                with archive.open(name) as member:
                    _check_npy(member, f"{path}:{name}")  # type: ignore[arg-type]
    except zipfile.BadZipFile as error:
        raise UnsafeModel(f"{path}: damaged archive ({error})") from None
    return "npz"


def _check_archive(path: Path) -> str:
    """A torch.export archive: plain weights and JSON; its example inputs are the one pickle, and of tensors alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                data = archive.read(name)
                if EXAMPLE_INPUTS in name:
                    _check_tensors(data, f"{path}:{name}")
                elif data[:2] == b"PK" or name.endswith((".pt", ".pkl", ".so", ".py")) or _ends_as_pickle(name, data):
                    raise UnsafeModel(f"{path}: its member {name} is a pickle or code; export plain tensors")
                elif name.endswith("_config.json") and re.search(rb'"use_pickle"\s*:\s*true', data):
                    raise UnsafeModel(f"{path}: {name} asks for unpickling; export plain tensors")
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UnsafeModel(f"{path}: damaged archive ({error})") from None
    return "torch_export"


def _check_tensors(data: bytes, where: str) -> None:
    import torch

    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise UnsafeModel(f"{where}: a pickle of more than tensors ({first[:200]})") from None


def _ends_as_pickle(name: str, data: bytes) -> bool:
    """Whether a pickle machine would run this to its end (raw weights may only begin like a pickle)."""
    return not name.endswith(".json") and data[:1] == b"\x80" and _is_pickle(data)


def _check_npy(file: BinaryIO, where: str) -> None:
    start = file.read(8)
    wide = start[6] >= 2
    (length,) = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))
    try:
        header = ast.literal_eval(file.read(min(length, 2**16)).decode("latin-1").strip())
        kinds = str(header["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise UnsafeModel(f"{where}: damaged array header ({error})") from None
    if "O" in kinds:
        raise UnsafeModel(f"{where}: an array of Python objects is a pickle; store numbers or text")


def _check_text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeModel(
            f"{path}: neither safetensors, npz, npy, json, text, onnx nor parquet (a pickle or joblib file?); "
            "save weights as safetensors, LightGBM as text"
        ) from None
    try:
        json.loads(text)
        return "json"
    except ValueError:
        pass
    if path.suffix == ".json":
        raise UnsafeModel(f"{path}: no valid JSON")
    if "\0" in text or _is_pickle(data):
        raise UnsafeModel(f"{path}: a pickle, whatever its name; save weights as safetensors, LightGBM as text")
    return "text"


def _is_pickle(data: bytes) -> bool:
    """Whether a pickle machine would run this to its end (old protocols are plain ASCII)."""
    try:
        return any(True for _ in pickletools.genops(data)) and all(True for _ in pickletools.genops(data))
    except Exception:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
