"""English word forms. Sentences belong to the patterns."""

from __future__ import annotations

from ai_assets.content_generation.facts import GENRES, MOODS
from ai_assets.content_generation.text.lexicon import Lexicon, english_article

_MUSIC = {"classical": "classical music", "electronic": "electronic music"}
_TONICS = {letter + sign: letter + shown for letter in "CDEFGAB" for sign, shown in (("", ""), ("#", "♯"), ("b", "♭"))}
LEXICON = Lexicon(
    lang="en",
    quotes=("“", "”"),
    untitled="Untitled",
    unknown_artist="Unknown Artist",
    decimal=".",
    thousands=",",
    unit_space=" ",
    # "": before a noun; a: the same with its article; n: standing alone.
    genres={
        genre: {"": genre, "a": f"{english_article(genre)} {genre}", "n": _MUSIC.get(genre, genre)} for genre in GENRES
    },
    other_genre={"": "{genre}", "a": "{genre}", "n": "{genre}"},
    moods={mood: {"": mood, "a": f"{english_article(mood)} {mood}"} for mood in MOODS},
    energies={
        level: {"": f"{level} energy", "level": f"a {level} energy level", "a": f"a {level}-energy"}
        for level in ("low", "medium", "high")
    },
    tempo_units={"": "BPM", "long": "beats per minute"},
    counts={"tracks": ("track", "tracks"), "minutes": ("minute", "minutes"), "artists": ("artist", "artists")},
    tonics={"major": _TONICS, "minor": _TONICS},
    modes={"major": " major", "minor": " minor"},
)
