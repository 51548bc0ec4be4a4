"""The README exists in three languages: the same sections, commands, pictures and settings, each in its language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resources.settings import Settings
from tools.graph import definitions

ROOT = Path(__file__).parents[2]
COMMON = {"de": {"der", "die", "und", "ist", "eine", "nicht"}, "fr": {"le", "la", "les", "et", "une", "des"}}


def text_of(language: str) -> str:
    return (ROOT / ("README.md" if language == "en" else f"README.{language}.md")).read_text(encoding="utf-8")


def shape(text: str) -> dict[str, list[str]]:
    blocks = re.findall(r"```\w*\n.*?```", text, flags=re.S)
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    commands = [re.sub(r"\s+#.*", "", line).rstrip() for block in blocks for line in block.splitlines()]
    table = re.findall(r"^\| (`AI_ASSETS_.*?`) \|", prose, flags=re.M)
    return {
        "levels": re.findall(r"^#+", prose, flags=re.M),
        "commands": [line for line in commands if not line.startswith(".ai-assets/")],
        "pictures": re.findall(r"!\[[^\]]*\]\(([^)]+)\)", prose),
        "settings": table,
        "links": [
            re.sub(r"\.(de|fr)\.md$", ".md", link)
            for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", prose)
            if not link.startswith("README")
        ],
    }


@pytest.mark.parametrize("language", ["de", "fr"])
def test_the_translation_has_the_same_sections_commands_pictures_and_settings(language: str) -> None:
    assert shape(text_of(language)) == shape(text_of("en"))


@pytest.mark.parametrize("language", ["de", "fr"])
def test_the_translation_is_in_its_language(language: str) -> None:
    words = re.findall(r"[a-zà-ÿ]+", re.sub(r"```.*?```|`[^`]*`", "", text_of(language), flags=re.S).lower())
    other = ({"de", "fr"} - {language}).pop()
    own, foreign = (sum(word in COMMON[key] for word in words) for key in (language, other))
    assert own > 0.08 * len(words)
    assert foreign < 0.02 * len(words)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_every_setting_stands_in_the_table(language: str) -> None:
    named = set(re.findall(r"`AI_ASSETS_([A-Z_]+)`", " ".join(shape(text_of(language))["settings"])))
    assert {name.upper() for name in Settings.model_fields} == named


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_every_job_sensor_and_schedule_is_named(language: str) -> None:
    repository = definitions().get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    clockwork = {item.name for item in (*repository.sensor_defs, *repository.schedule_defs)}
    text = text_of(language)
    assert sorted(name for name in jobs | clockwork if f"`{name}`" not in text) == []


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_every_link_and_picture_is_there(language: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(language)):
        assert (ROOT / target).exists(), target
