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
from ai_assets.content_generation.facts import FactSet

CHECKED_SIZE = 1024
STEPS = 8
_BATCH = 32
_FORMAT = "cover-flow-1"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


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


class CoverGenerator:
    """A trained model that invents scenes. Made by ``training.fit`` or ``load``."""

    name = "cover_generator"
    license = "Apache-2.0"

    def __init__(self, model: SceneTransformer, *, card: dict[str, Any]) -> None:
        self.model, self.card = model, dict(card)
        self._exact = model.double()

    @property
    def version(self) -> str:
        """Head of the SHA-256 over all weights: other weights, other version, other seeds."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.weights.items()):
            digest.update(name.encode("ascii") + tensor.numpy().tobytes())
        return digest.hexdigest()[:12]

    def sample(self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int]) -> list[CoverItem]:
        """One cover for each fact set; the same facts and seed give the same cover alone and in any batch."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        leads = [condition(facts, rng) for facts, rng in zip(fact_sets, rngs, strict=True)]
        settings = {"decoder": "model", "steps": STEPS}
        return [
            _finished(tokens, lead, facts, seed, settings)
            for tokens, lead, facts, seed in zip(self.scenes(leads, rngs), leads, fact_sets, seeds, strict=True)
        ]

    def scenes(self, leads: Sequence[Condition], rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Tokens [n, 25, 16], tidied, one scene for each condition and its own random numbers."""
        import torch

        found = [np.zeros((0, SHAPES + 1, NUMBERS))]
        with one_thread(), torch.inference_mode():
            for start in range(0, len(leads), _BATCH):
                part = slice(start, start + _BATCH)
                noise = np.stack([rng.standard_normal((SHAPES + 1, NUMBERS)) for rng in rngs[part]])
                vectors = np.stack([lead.vector() for lead in leads[part]])
                drawn = self._exact.flow(torch.from_numpy(noise), torch.from_numpy(vectors), steps=STEPS).numpy()
                found.append(np.stack([tidy(tokens) for tokens in drawn]))
        return np.concatenate(found)

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
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

    @classmethod
    def load(cls, folder: Path) -> CoverGenerator:
        """The generator saved in ``folder``; ``ModelFolderError`` for a missing, damaged or unfitting file."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        config_file, weights_file = Path(folder) / CONFIG_FILE, Path(folder) / WEIGHTS_FILE
        for file in (config_file, weights_file):
            if not file.is_file():
                raise ModelFolderError(f"{file} is missing: train the cover generator again")
        try:
            config = json.loads(config_file.read_text(encoding="utf-8"))
            kind, styles, card = config["format"], config["styles"], dict(config["card"])
            size, weights = ModelSize(**config["size"]), load_file(weights_file)
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise ModelFolderError(f"{weights_file} or {CONFIG_FILE} beside it is damaged: {error}") from error
        if kind != _FORMAT or styles != list(STYLES):
            raise ModelFolderError(f"{config_file}: not a cover model with the present styles; train it again")
        if {name: tuple(weight.shape) for name, weight in weights.items()} != shapes(size):
            raise ModelFolderError(f"{weights_file}: names or shapes of the weights do not fit {CONFIG_FILE}")
        return cls(SceneTransformer(size, weights), card=card)


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
    lettering = letter(facts.title, facts.artist, backdrop, drawn)
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
