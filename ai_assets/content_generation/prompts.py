"""What pretrained picture and music models are asked: facts in words, never a title or an artist's name.

A genre or mood enters only from the closed lists of ``facts``, so that nothing a file's tag says reaches the model.
"""

from __future__ import annotations

from ai_assets.content_generation.covers.scene import key_hue
from ai_assets.content_generation.facts import GENRES, FactSet

_HUES = (
    "red", "orange", "yellow", "chartreuse", "green", "emerald", "cyan", "azure", "blue", "violet", "magenta", "pink",
)  # fmt: skip
_ENERGY = {"low": "quiet", "medium": "steady", "high": "powerful"}


def cover_prompt(facts: FactSet) -> str:
    """At most some forty words, far below the 77 tokens that CLIP reads."""
    parts = ["abstract album cover artwork"]
    if facts.genre in GENRES:
        parts.append(f"{facts.genre} music")
    parts += _character(facts)
    if facts.key is not None:
        parts.append(f"{_HUES[round(key_hue(facts.key) / 30) % 12]} colour palette")
    return ", ".join([*parts, "no people, no letters"])


def music_prompt(facts: FactSet) -> str:
    """Genre, character, tempo and key in words."""
    parts = [f"instrumental {facts.genre} music" if facts.genre in GENRES else "instrumental music", *_character(facts)]
    if facts.tempo_bpm is not None:
        parts.append(f"{facts.tempo_bpm:g} bpm")
    if facts.key is not None:
        parts.append(f"in {facts.key}")
    return ", ".join(parts)


def _character(facts: FactSet) -> list[str]:
    mood = [f"{facts.mood} mood"] if facts.mood is not None else []
    energy = [f"{_ENERGY[facts.energy_class]} energy"] if facts.energy_class is not None else []
    return mood + energy
