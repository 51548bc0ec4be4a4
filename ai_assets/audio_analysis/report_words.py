"""The languages of a file's page: its sentences, and numbers and keys as each language writes them.

The sentences lie in `report_texts.json`, those about findings (which the listening room says too) in
`finding_texts.json`, each in English, German and French.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "de", "fr"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
GERMAN_NOTES = {"B": "H", "C#": "Cis", "D#": "Dis", "F#": "Fis", "G#": "Gis", "A#": "Ais"}
FRENCH_NOTES = {"C": "do", "D": "ré", "E": "mi", "F": "fa", "G": "sol", "A": "la", "B": "si"}


Texts = Mapping[str, Mapping[str, str]]
"""Key to language to sentence."""


def read_texts(file: Path) -> Texts:
    """The sentences of a file. Raises OSError and ValueError."""
    found: Texts = json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def finding_texts() -> Texts:
    """Names of the findings (`find_KIND`), of severities (`severity_NAME`), and what to do (`fix_KIND`)."""
    return read_texts(Path(__file__).with_name("finding_texts.json"))


@cache
def texts() -> Texts:
    """Everything a page says."""
    return {**finding_texts(), **read_texts(Path(__file__).with_name("report_texts.json"))}


def key_name(name: str, lang: str) -> str:
    """A musical key as a language names it: "C# minor" is C♯ minor, cis-Moll and do♯ mineur."""
    note, _, mode = name.partition(" ")
    if lang == "de":
        german = GERMAN_NOTES.get(note, note)
        return f"{german}-Dur" if mode == "major" else f"{german.lower()}-Moll"
    sharp = note.replace("#", "♯")
    if lang == "fr":
        return f"{FRENCH_NOTES.get(note[:1], note)}{sharp[1:]} {'majeur' if mode == 'major' else 'mineur'}"
    return f"{sharp} {mode}"


@dataclass(frozen=True)
class ReportWords:
    """What a page says in one language."""

    lang: Language = "en"

    def __call__(self, key: str) -> str:
        """The sentence of a key. Raises KeyError for a key that nobody wrote."""
        return texts()[key][self.lang]

    def finding(self, item: dict[str, Any]) -> tuple[str, str, str]:
        """Name, severity and advice of a finding; the advice in English is the rule's own, with its numbers."""
        kind, known = item["kind"], f"find_{item['kind']}" in texts()
        advice = self(f"fix_{kind}") if known and self.lang != "en" else item["suggested_action"]
        return self(f"find_{kind}") if known else kind, self(f"severity_{item['severity']}"), advice

    def value(self, name: str, value: Any) -> str:
        """One of the numbers; "-" for none."""
        if value is None or value == "":
            return "-"
        if name == "key":
            return key_name(value, self.lang)
        if name == "status":
            return self(f"status_{value}")
        if not isinstance(value, float):
            return str(value)
        small = 0 < abs(value) < 0.001
        text = f"{value:.1g}" if small else f"{value:,.3f}".rstrip("0").rstrip(".")
        marks = {"en": ",.", "de": ".,", "fr": "\u202f,"}[self.lang]
        return text.translate({ord(","): marks[0], ord("."): marks[1]})
