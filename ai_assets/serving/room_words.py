"""The room's languages: which one a visitor reads, its sentences, and numbers, keys and reasons written in it.

The sentences lie in `room/texts.json`, each in English, German and French.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ai_assets.audio_analysis.report_words import Texts, finding_texts, key_name, read_texts

FOLDER = Path(__file__).with_name("room")
LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français"}
POPULAR = "popular with all listeners"
LISTENED, PLAYED = "because you listened to ", re.compile(r"you have played (.+) before", re.DOTALL)


@cache
def texts() -> Texts:
    """Key to language to sentence: the room's own, and those about findings."""
    return {**finding_texts(), **read_texts(FOLDER / "texts.json")}


def chosen_language(wanted: str | None, accepted: str) -> str:
    """The language a visitor chose, else the first of `Accept-Language` that we speak, else English."""
    if wanted in LANGUAGES:
        return str(wanted)
    offers = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        offers.append((-weight, place, name.strip().lower().partition("-")[0]))
    return next((name for weight, _, name in sorted(offers) if name in LANGUAGES and weight < 0), "en")


@dataclass(frozen=True)
class Words:
    """Everything a page says in one language."""

    lang: str

    def __call__(self, key: str, **values: Any) -> str:
        """The sentence of a key. Raises KeyError for a key that nobody wrote."""
        return texts()[key][self.lang].format(**values)

    def either(self, key: str, fallback: str) -> str:
        """The sentence of a key, or what the data say where the key is not one of ours (a user's own genre)."""
        return self(key) if key in texts() else fallback

    def number(self, value: float | None, digits: int = 0) -> str:
        """A number with this language's marks; "–" for none."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{value:,.{digits}f}"
        if self.lang == "de":
            return text.translate({ord(","): ".", ord("."): ","})
        return text.translate({ord(","): "\u202f", ord("."): ","}) if self.lang == "fr" else text

    def percent(self, share: float | None) -> str:
        space = "" if self.lang == "en" else "\u202f"
        return "–" if share is None or not math.isfinite(share) else f"{share * 100:.0f}{space}%"

    def length(self, seconds: float | None) -> str:
        """Seconds as 3:07 or 1:02:03."""
        if seconds is None or not math.isfinite(seconds):
            return "–"
        whole = round(seconds)
        hours, minutes = whole // 3600, whole // 60 % 60
        return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"

    def key(self, name: str | None) -> str:
        """A musical key as this language names it: "C# minor" is cis-Moll and do♯ mineur."""
        return key_name(name, self.lang) if name else "–"

    def reason(self, sentence: str) -> str:
        """A reason of `recommend` in this language; one of another form stays as it is."""
        if sentence == POPULAR:
            return self("reason_popular")
        if sentence.startswith(LISTENED):
            named = sentence.removeprefix(LISTENED)
            if self.lang != "en":
                named = named.replace("” by ", f"” {self('by')} ")
            if self.lang == "de":
                named = named.replace("“", "„").replace("”", "“")
            if self.lang == "fr":
                named = named.replace("“", "«\u00a0").replace("”", "\u00a0»")
            return self("reason_listened", named=named)
        found = PLAYED.fullmatch(sentence)
        return self("reason_played", artist=found[1]) if found else sentence
