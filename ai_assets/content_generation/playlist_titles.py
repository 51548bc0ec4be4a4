"""Titles of playlists in English, German and French, from what a list is about. Sentences about lists are `text`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_assets.content_generation.facts import clean, shortened
from ai_assets.content_generation.text.lexicon import lexicon

OWN: Mapping[str, Mapping[str, str]] = {
    "familiar": {"en": "Daily favourites", "de": "Lieblingsstücke des Tages", "fr": "Les favoris du jour"},
    "discovery": {"en": "Weekly discoveries", "de": "Entdeckungen der Woche", "fr": "Les découvertes de la semaine"},
}
MIX = {"en": "{genre} mix", "de": "{genre}-Mix", "fr": "Mix {genre}"}
MIX_OF_WORDS = {**MIX, "de": "{genre} im Mix"}
LIKE = {"en": "In the style of {seed}", "de": "Im Stil von {seed}", "fr": "Dans l’esprit de {seed}"}
INNER_QUOTES = {"en": ("‘", "’"), "de": ("‚", "‘"), "fr": ("“", "”")}
ENERGY = {"en": "energy {range}", "de": "Energie {range}", "fr": "énergie {range}"}
UP_TO = {"en": "up to {high}", "de": "bis {high}", "fr": "jusqu’à {high}"}
FROM = {"en": "from {low}", "de": "ab {low}", "fr": "à partir de {low}"}
OPEN = 1e8
"""A bound beyond this was left open."""


def playlist_title(kind: str, about: Mapping[str, Any], lang: str) -> str:
    """The title of a list.

    Args:
        kind: `familiar`, `discovery`, `genre`, `theme` or `seeds`.
        about: `genre`, `mood`, ranges `tempo`, `energy`, `years` (LOW, HIGH), `seeds` (titles), as far as it has them.
        lang: `en`, `de` or `fr`.
    """
    words = lexicon(lang)
    if kind in OWN:
        return OWN[kind][lang]
    if kind == "seeds" and about.get("seeds"):
        first, last = INNER_QUOTES[lang]  # the title itself is quoted in texts
        return LIKE[lang].format(seed=first + shortened(clean(about["seeds"][0]), 60) + last)
    genre = _genre(about, lang)
    if kind == "genre":
        pattern = MIX_OF_WORDS if any(letter.isspace() for letter in genre) else MIX
        return shortened(pattern[lang].format(genre=genre))
    parts = [part for part in (genre, _mood(about, lang)) if part]
    if "tempo" in about:
        parts.append(f"{_range(about['tempo'], lang)}{words.unit_space}{words.tempo_units['']}")
    if "energy" in about:
        parts.append(ENERGY[lang].format(range=_range(about["energy"], lang)))
    if "years" in about:
        parts.append(_range(about["years"], lang, grouped=False))
    title = " · ".join(parts)
    return shortened(title[:1].upper() + title[1:])


def _genre(about: Mapping[str, Any], lang: str) -> str:
    given = clean(str(about.get("genre", "")))
    known = lexicon(lang).genres.get(given.casefold())
    name = known[""] if known is not None and lang == "de" else given
    return name[:1].upper() + name[1:] if lang != "fr" else name


def _mood(about: Mapping[str, Any], lang: str) -> str:
    given = clean(str(about.get("mood", "")))
    forms = lexicon(lang).moods.get(given.casefold())
    return next(iter(forms.values())) if forms is not None else given


def _range(bounds: tuple[float, float], lang: str, *, grouped: bool = True) -> str:
    words = lexicon(lang)
    low, high = (words.number(value) if grouped else f"{value:.0f}" for value in bounds)
    if bounds[0] < -OPEN:
        return UP_TO[lang].format(high=high)
    return FROM[lang].format(low=low) if bounds[1] > OPEN else f"{low}–{high}"
