"""Runbooks: every alert leads to a section that has commands; the commands are parsed in test_how_to_pages."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from ai_assets.cli import group
from resources.error_codes import codes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "runbooks.md"
RULES = yaml.safe_load((ROOT / "resources" / "instance" / "monitoring" / "alerts.yaml").read_text())
RULE_NAMES = [rule["alert"] for part in RULES["groups"] for rule in part["rules"]]
OWN = [name for name, code in codes().items() if "alert" in code.where.split(", ")]


def section(name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^#|\Z)", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert found, f"docs/runbooks.md has no section for {name}"
    return found[1]


@pytest.mark.parametrize("name", RULE_NAMES + OWN)
def test_every_alert_says_what_it_means_and_what_to_type(name: str) -> None:
    text = section(name)
    words, _, commands = text.partition("```bash\n")
    assert len(words.split()) >= 5 and "ai-assets " in commands


def test_no_section_is_about_an_alert_that_nobody_sends() -> None:
    text = PAGE.read_text(encoding="utf-8")
    _, _, alerts = text.partition("\n# Alerts the platform sends\n")
    assert sorted(re.findall(r"^## (\w+)$", alerts, flags=re.M)) == sorted(RULE_NAMES + OWN)


@pytest.mark.parametrize(
    "rule", [rule for part in RULES["groups"] for rule in part["rules"]], ids=lambda one: one["alert"]
)
def test_what_a_rule_s_remedy_names_exists(rule: dict) -> None:
    remedy = rule["annotations"]["remedy"]
    assert re.search(r"docs/\S+\.md|`|UI|log|page|sensor", remedy), remedy
    for path in re.findall(r"docs/[\w/.-]+\.md", remedy):
        assert (ROOT / path).is_file(), path
    for command in re.findall(r"`ai-assets ([\w-]+)", remedy):
        assert group.get_command(click.Context(group), command) is not None, command


@pytest.mark.parametrize("name", list(codes()))
def test_commands_that_a_code_s_remedy_names_exist(name: str) -> None:
    for command in re.findall(r"`ai-assets ([a-z-]+)", codes()[name].remedy()):
        assert group.get_command(click.Context(group), command) is not None, command


def test_every_alert_that_the_code_raises_is_a_code_of_an_alert() -> None:
    sources = [path for room in ("ai_assets", "resources", "sensors") for path in (ROOT / room).rglob("*.py")]
    raised = {
        code
        for path in sources
        for code in re.findall(r'\bAlert\(\s*(?:f?"[^"]*"),\s*"([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert raised == set(OWN)
