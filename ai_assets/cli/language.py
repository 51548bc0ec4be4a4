"""Which language a command answers in: `--lang`, else the terminal's locale, else English."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import rich_click as click

from ai_assets.audio_analysis.report_words import LANGUAGES, Language

VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


def spoken(environment: Mapping[str, str] | None = None) -> Language:
    """The language of the locale: the first of LC_ALL, LC_MESSAGES and LANG that is set; English for all others."""
    known = os.environ if environment is None else environment
    locale = next((known[name] for name in VARIABLES if known.get(name)), "")
    return next((lang for lang in LANGUAGES if locale.split(".")[0].split("_")[0].lower() == lang), "en")


def lang_option(what: str) -> Callable[[Any], Any]:
    """`--lang en|de|fr`, which is the terminal's language when it is not given."""
    return click.option("--lang", type=click.Choice(LANGUAGES), default=spoken, help=f"{what} (default: that of LANG).")
