"""What a user declares about a trained audio model from elsewhere. Reading and fetching; no model is run here.

A manifest is TOML or JSON. `source` is a path (relative to the manifest) or a registry URI `models:/NAME/VERSION`;
`sha256` is required: of a file, the digest of its bytes; of a folder, what this command prints:

    (cd FOLDER && find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum) | sha256sum
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Runtime = Literal["onnx", "transformers", "torch_export", "safetensors", "lightgbm", "tensorflow"]
FOLDERS = ("transformers", "tensorflow")
MAX_BYTES = 4 * 2**30


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Input(Strict):
    """What the model reads. Windows shorter than `window_seconds` are filled with zeros (log-mel: -100 dB)."""

    kind: Literal["waveform", "log_mel", "features"] = Field(
        description="waveform: (batch, samples) mono; log_mel: (batch, frames, 64) dB, 22,050 Hz, hop 512; features: "
        "(1, 518), the platform's own."
    )
    sample_rate: int = Field(default=22_050, ge=1_000, le=192_000)
    window_seconds: float = Field(default=5.0, gt=0, le=120)
    hop_seconds: float = Field(default=5.0, gt=0, le=120)
    windows: int = Field(default=24, ge=1, le=1_000, description="Most windows of a recording, spread evenly.")
    batch: int = Field(default=8, ge=1, le=256)


class Output(Strict):
    """What the model answers per window; a recording's value is the mean over its windows."""

    kind: Literal["embedding", "classes"]
    dim: int | None = Field(default=None, ge=1, le=16_384)
    labels: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    scores: Literal["probabilities", "logits"] = Field(
        default="probabilities", description="Logits go through a softmax first."
    )

    @model_validator(mode="after")
    def _shape(self) -> Output:
        if self.kind == "classes" and (len(self.labels) < 2 or len(set(self.labels)) != len(self.labels)):
            raise ValueError("classes need at least two labels, each once")
        if self.kind == "embedding" and (self.dim is None or self.labels):
            raise ValueError("an embedding needs dim and no labels")
        return self

    @property
    def width(self) -> int:
        """Numbers per window."""
        return self.dim if self.dim is not None and self.kind == "embedding" else len(self.labels)


class ExternalModel(Strict):
    """One declared model."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    runtime: Runtime
    source: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture: str | None = Field(default=None, description="safetensors only: the name of a known architecture.")
    input: Input
    output: Output
    licence: str = Field(min_length=1, max_length=200, description="For instance an SPDX identifier.")
    memory_bytes: int = Field(default=6 * 2**30, ge=2**28)
    seconds_per_file: float = Field(default=300.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> ExternalModel:
        if (self.runtime == "safetensors") != (self.architecture is not None):
            raise ValueError("architecture is needed for safetensors, and for nothing else")
        if (self.runtime == "lightgbm") != (self.input.kind == "features"):
            raise ValueError("input.kind is features for lightgbm, and for nothing else")
        if self.runtime == "lightgbm" and self.output.kind != "classes":
            raise ValueError("lightgbm answers classes")
        return self


def read_manifest(path: Path) -> ExternalModel:
    """The manifest at `path`. Raises PermanentError naming file and field."""
    from ai_assets.contract.errors import PermanentError

    try:
        text = path.read_text(encoding="utf-8")
        return ExternalModel.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise PermanentError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None
    except (OSError, ValueError) as error:
        raise PermanentError(f"{path}: no readable manifest ({error})") from None


def content_digest(source: Path) -> str:
    """sha256 of a file, or of a folder's listing as the module's docstring gives it."""
    from ai_assets.contract.errors import PermanentError

    if source.is_file():
        return _sha256(source)
    lines = []
    for path in sorted(source.rglob("*"), key=lambda one: f"./{one.relative_to(source).as_posix()}".encode()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PermanentError(f"{path}: links and special files are not allowed in a model folder")
        if path.is_file():
            lines.append(f"{_sha256(path)}  ./{path.relative_to(source).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def checked_source(model: ExternalModel, source: Path) -> Path:
    """`source`, if it is what the manifest names. Raises PermanentError otherwise."""
    from ai_assets.contract.errors import PermanentError

    if not source.exists():
        raise PermanentError(f"{model.name}: source {source} is not there")
    if source.is_symlink() or source.is_dir() != (model.runtime in FOLDERS):
        wanted = "a folder" if model.runtime in FOLDERS else "a file"
        raise PermanentError(f"{model.name}: source {source}: expected {wanted} for {model.runtime}, and no link")
    size = sum(path.stat().st_size for path in (source.rglob("*") if source.is_dir() else [source]) if path.is_file())
    if size > MAX_BYTES:
        raise PermanentError(f"{model.name}: source {source} is {size:,} bytes, the limit is {MAX_BYTES:,}")
    found = content_digest(source)
    if found != model.sha256:
        raise PermanentError(f"{model.name}: sha256 of {source} is {found}, the manifest says {model.sha256}")
    return source


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
