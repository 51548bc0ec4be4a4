"""Writes `text_sentences.golden.txt`: every sentence pattern with every alternative at least once, for reading by eye.

Run `python tests/content_generation/write_text_golden.py` after a change of the patterns or the lexicons, and read what
changed as a native editor would before committing it.
"""

from __future__ import annotations

from pathlib import Path

from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.text.grammar import grammar
from ai_assets.content_generation.text.patterns import all_patterns

GOLDEN = Path(__file__).with_name("text_sentences.golden.txt")
TRACK = fact_set(
    {
        "title": "Nachtfahrt",
        "artist": "Ana",
        "genre": "techno",
        "tempo_bpm": 72.1,
        "key": "Db minor",
        "mood": "calm",
        "energy": 0.9,
    }
)
PLAYLIST = fact_set(
    {
        "title": "Spätschicht",
        "genre": "classical",
        "tempo_bpm": 120,
        "mood": "happy",
        "energy": 0.1,
        "playlist": {"tracks": 24, "minutes": 93, "artists": 18},
    }
)


def sentences() -> str:
    """The golden file's text."""
    lines = []
    for pattern in all_patterns():
        facts = TRACK if pattern.kind == "track" else PLAYLIST
        words = grammar(pattern.lang, pattern.kind)
        lines += [f"{pattern.name}\t{words.render(tokens, facts).text}" for tokens in pattern.samples()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(sentences(), encoding="utf-8")
