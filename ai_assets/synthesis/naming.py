"""Invented names of artists, albums and tracks in four languages, and the slugs under which files lie.

Here belongs wording. All names are made up from these lists; who plays what is decided in ``catalogue``.
"""

from __future__ import annotations

import re
import unicodedata
import zlib

import numpy as np

LANGUAGES = ("en", "de", "fr", "ja")
_ARTISTS: dict[str, tuple[str, ...]] = {
    "en": (
        "The Paper Lanterns", "Cobalt Avenue", "Marlow & Finch", "Silver Ferry", "The Quiet Mile", "Ada Northcote",
        "Third Harbour", "Velvet Almanac", "Tin Orchard", "Delta Kilowatt", "Juniper Wake", "Low Meridian",
        "Otis Fairbrook", "Glass Antlers", "Night Bus Nine", "The Copper Kings", "Ivory Static", "Hollow Compass",
    ),
    "de": (
        "Die Nachtwächter", "Jürgen Größ", "Käthe Blüm", "Müßiggang", "Straßenköter", "Über den Dächern",
        "Anna Löwe Trio",
    ),
    "fr": (
        "Élodie Marchand", "Les Cœurs Légers", "Café Minuit", "François Lémery", "Nuit Blanchâtre",
        "La Forêt d’Été",
    ),
    "ja": ("夜の電車", "青い傘", "Hoshi Machi", "雨音クラブ", "Tōkaidō Line"),
}  # fmt: skip
_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("{a} {b}", "{b} of the {c}", "The {a} {c}", "{b} at Dawn", "{a} {c} Road", "No More {b}",
         "Letters to the {c}"),
        ("Golden", "Restless", "Hollow", "Electric", "Borrowed", "Northern", "Crooked", "Gentle", "Burning",
         "Distant", "Salt", "Paper"),
        ("Rivers", "Signals", "Shadows", "Engines", "Promises", "Lanterns", "Echoes", "Sparrows", "Matches", "Tides",
         "Harbours", "Wires"),
    ),
    "de": (
        ("{a} {b}", "{b} im Regen", "Über {b}", "{b} für dich", "{a} {b} am Fluss"),
        ("Späte", "Stille", "Grüne", "Kühle", "Fremde", "Süße", "Weiße", "Müde"),
        ("Straßen", "Träume", "Lichter", "Nächte", "Wälder", "Grüße", "Brücken", "Vögel", "Hügel"),
    ),
    "fr": (
        ("{b} {a}", "{b} d’hiver", "Sous {b}", "{b} à minuit", "Où vont {b}"),
        ("oubliées", "légères", "étranges", "dorées", "fanées", "brûlées", "bleutées"),
        ("les étoiles", "les forêts", "les années", "les fenêtres", "les mémoires", "les rivières", "les fêtes"),
    ),
    "ja": (
        ("{a}{b}", "{a}{b}にて", "{b}と{c}", "{a}{b}のうた"),
        ("遠い", "青い", "静かな", "冬の", "赤い", "新しい", "夏の"),
        ("海", "夜", "街", "雪", "風", "駅", "月", "窓", "空"),
    ),
}  # fmt: skip
_TRANSLITERATED = str.maketrans(
    {"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "œ": "oe", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
)


def artist_names(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """``count`` different (name, language) pairs, about three in five of them English.

    Raises ``ValueError`` when the lists hold fewer names.
    """
    pool = [(name, language) for language, names in _ARTISTS.items() for name in names]
    if count > len(pool):
        raise ValueError(f"only {len(pool)} artist names are known, {count} were asked for")
    return [pool[i] for i in rng.permutation(len(pool))[:count]]


def titles(count: int, language: str, rng: np.random.Generator) -> list[str]:
    """``count`` different titles in a language."""
    found: dict[str, None] = {}
    patterns, adjectives, nouns = _WORDS[language]
    while len(found) < count:
        second = str(rng.choice(nouns))
        singular = second[:-1] if language == "en" and not second.endswith("oes") else second
        text = str(rng.choice(patterns)).format(
            a=rng.choice(adjectives), b=rng.choice(nouns), c=singular if language == "en" else second
        )
        found[text[0].upper() + text[1:]] = None
    return list(found)


def slug(text: str) -> str:
    """An ASCII file name part: transliterated, lower case, words joined by ``-``; text without Latin letters gets a
    name from its checksum."""
    plain = unicodedata.normalize("NFKD", text.translate(_TRANSLITERATED)).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    return words or f"x{zlib.crc32(text.encode()):08x}"
