"""From fact sets to covers: the model's generator, the procedural artist with the same interface, and their files.

Every item has its own random numbers. The flow runs in double precision and tokens are rounded before they are drawn,
so that an item is the same alone and in any batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.covers import artist
from ai_assets.content_generation.covers.checks import check
from ai_assets.content_generation.covers.lettering import Lettering, letter
from ai_assets.content_generation.covers.marking import RDF, png
from ai_assets.content_generation.covers.model import ModelSize, SceneTransformer, shapes
from ai_assets.content_generation.covers.render import pixels, svg
from ai_assets.content_generation.covers.scene import NUMBERS, SHAPES, STYLES, Condition, condition, decode, tidy
from ai_assets.content_generation.covers.straight import straightened
from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.provenance import Rejection

CHECKED_SIZE = 1024
STEPS = 12
_BATCH = 32
_FORMAT = "cover-flow-1"
CONFIG_FILE, WEIGHTS_FILE, TRAINING_FILE = "config.json", "model.safetensors", "training.safetensors"


class ModelFolderError(ValueError):
    """A model folder that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, eq=False)
class CoverItem:
    """One generated cover.

    ``tokens`` [25, 16] (rounded to 1e-3) are the scene, ``svg`` is the master. ``checks`` was measured at 1,024 pixels:
    ``text_box`` [left, top, right, bottom], ``contrast`` at the worst pixel of it, ``perceptual_hash``, ``passed``.
    """

    tokens: np.ndarray
    svg: str
    style: str
    seed: int
    facts: FactSet
    condition: Condition
    lettering: Lettering
    checks: dict[str, Any]
    decoding: dict[str, Any] = field(default_factory=dict)
    candidates: int = 1
    rejections: tuple[Rejection, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed or left out, and why."""
        return self.facts.notes + tuple(self.lettering.notes)

    def draw(self, size: int = CHECKED_SIZE) -> bytes:
        """The cover as PNG with ``size`` pixels an edge, marked as synthetic."""
        if not 16 <= size <= 8192:
            raise ValueError(f"a cover is drawn with 16 to 8192 pixels an edge, got {size}")
        return png(pixels(*decode(self.tokens), self.lettering, size))


class ProceduralArtist:
    """The artist that teaches the model: the baseline beside it."""

    name = "cover_artist"
    license = "Apache-2.0"

    @property
    def version(self) -> str:
        """Digest of the artist's own code."""
        return hashlib.sha256(Path(artist.__file__).read_bytes()).hexdigest()[:12]

    def sample(self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int]) -> list[CoverItem]:
        """One cover for each fact set."""
        items = []
        for facts, seed in zip(fact_sets, seeds, strict=True):
            rng = np.random.default_rng(seed)
            lead = condition(facts, rng)
            items.append(_finished(artist.scene(lead, rng), lead, facts, seed, {"decoder": "artist"}))
        return items

    def nearest(self, item: CoverItem) -> None:
        """There are no training scenes."""


class CoverGenerator:
    """A trained model that invents scenes. Made by ``training.fit`` or ``load``."""

    name = "cover_generator"
    license = "Apache-2.0"

    def __init__(self, model: SceneTransformer, *, card: dict[str, Any], known: np.ndarray) -> None:
        """``known``: the training scenes [n, 25, 16] in thousandths, as int16."""
        self.model, self.card, self.known = model, dict(card), known
        self._exact = model.double()

    @property
    def version(self) -> str:
        """Head of the SHA-256 over all weights: other weights, other version, other seeds."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.weights.items()):
            digest.update(name.encode("ascii") + tensor.numpy().tobytes())
        return digest.hexdigest()[:12]

    def sample(
        self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], steps: int = STEPS, font: str | None = None
    ) -> list[CoverItem]:
        """One cover for each fact set; the same facts and seed give the same cover alone and in any batch.

        ``font``: file for the lettering instead of the default one.
        """
        rngs = [np.random.default_rng(seed) for seed in seeds]
        leads = [condition(facts, rng) for facts, rng in zip(fact_sets, rngs, strict=True)]
        settings: dict[str, Any] = {"decoder": "model", "steps": steps} | ({"font": font} if font else {})
        return [
            _finished(tokens, lead, facts, seed, settings)
            for tokens, lead, facts, seed in zip(self.scenes(leads, rngs, steps), leads, fact_sets, seeds, strict=True)
        ]

    def scenes(self, leads: Sequence[Condition], rngs: Sequence[np.random.Generator], steps: int = STEPS) -> np.ndarray:
        """Tokens [n, 25, 16], tidied, one scene for each condition and its own random numbers."""
        import torch

        found = [np.zeros((0, SHAPES + 1, NUMBERS))]
        with one_thread(), torch.inference_mode():
            for start in range(0, len(leads), _BATCH):
                part = slice(start, start + _BATCH)
                noise = np.stack([rng.standard_normal((SHAPES + 1, NUMBERS)) for rng in rngs[part]])
                vectors = np.stack([lead.vector() for lead in leads[part]])
                drawn = self._exact.flow(torch.from_numpy(noise), torch.from_numpy(vectors), steps=steps).numpy()
                found.append(np.stack([straightened(tidy(tokens)) for tokens in drawn]))
        return np.concatenate(found)

    def nearest(self, item: CoverItem) -> dict[str, Any]:
        """The training scene that is nearest in token space, and the distance (Euclidean)."""
        squares = self._known_squares - 2 * self._known @ item.tokens.reshape(-1).astype(np.float32)
        best = int(squares.argmin())
        distance = float(np.linalg.norm(self._known[best] - item.tokens.reshape(-1)))
        return {"id": f"cover_training_set:{best}", "distance": round(distance, 3)}

    @cached_property
    def _known(self) -> np.ndarray:
        flat: np.ndarray = self.known.reshape(len(self.known), -1).astype(np.float32) / 1000
        return flat

    @cached_property
    def _known_squares(self) -> np.ndarray:
        squares: np.ndarray = (self._known**2).sum(axis=1)
        return squares

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``training.safetensors``."""
        from safetensors.numpy import save_file as save_arrays
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": _FORMAT,
            "license": self.license,
            "size": asdict(self.model.size),
            "card": self.card,
            "styles": list(STYLES),
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
        save_file(self.model.weights, folder / WEIGHTS_FILE)
        save_arrays({"scenes": self.known}, folder / TRAINING_FILE)

    @classmethod
    def load(cls, folder: Path) -> CoverGenerator:
        """The generator saved in ``folder``; ``ModelFolderError`` for a missing, damaged or unfitting file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file as load_arrays
        from safetensors.torch import load_file

        config_file, weights_file = Path(folder) / CONFIG_FILE, Path(folder) / WEIGHTS_FILE
        for file in (config_file, weights_file, Path(folder) / TRAINING_FILE):
            if not file.is_file():
                raise ModelFolderError(f"{file} is missing: train the cover generator again")
        try:
            config = json.loads(config_file.read_text(encoding="utf-8"))
            kind, styles, card = config["format"], config["styles"], dict(config["card"])
            size, weights = ModelSize(**config["size"]), load_file(weights_file)
            known = load_arrays(Path(folder) / TRAINING_FILE)["scenes"]
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise ModelFolderError(f"{weights_file} or {CONFIG_FILE} beside it is damaged: {error}") from error
        if kind != _FORMAT or styles != list(STYLES):
            raise ModelFolderError(f"{config_file}: not a cover model with the present styles; train it again")
        if {name: tuple(weight.shape) for name, weight in weights.items()} != shapes(size):
            raise ModelFolderError(f"{weights_file}: names or shapes of the weights do not fit {CONFIG_FILE}")
        if known.ndim != 3 or not len(known) or known.shape[1:] != (SHAPES + 1, NUMBERS):
            raise ModelFolderError(f"{Path(folder) / TRAINING_FILE}: not the training scenes of a cover model")
        return cls(SceneTransformer(size, weights), card=card, known=known)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, the former number after: sums are then taken in one order on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finished(tokens: np.ndarray, lead: Condition, facts: FactSet, seed: int, decoding: dict[str, Any]) -> CoverItem:
    backdrop, drawn = decode(tokens)
    font = Path(decoding["font"]) if "font" in decoding else None
    lettering = letter(facts.title, facts.artist, backdrop, drawn, font=font)
    name = " – ".join(part for part in (facts.title, facts.artist) if part) or "Cover"
    bare = pixels(backdrop, drawn, lettering, CHECKED_SIZE, text=False)
    return CoverItem(
        tokens=tokens,
        svg=svg(backdrop, drawn, lettering, name=name, metadata=RDF),
        style=STYLES[lead.style],
        seed=seed,
        facts=facts,
        condition=lead,
        lettering=lettering,
        checks=check(bare, lettering) | {"style": STYLES[lead.style]},
        decoding=decoding,
    )
