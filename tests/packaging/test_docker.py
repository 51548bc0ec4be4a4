"""The image and the compose file, without Docker: what they name exists, and their commands work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from ai_assets.cli import group
from resources.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "resources" / "instance" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "music-ai-assets"}


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.M)
    return [tuple(line.split(None, 1)) for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line.strip()]  # type: ignore[misc]


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_every_service_exists_with_all_its_options(name: str) -> None:
    service = OURS[name]
    words = [*service.get("entrypoint", ["ai-assets"]), *service["command"]]
    if words[0] != "ai-assets":
        program = Path(sys.executable).parent / words[0]
        helped = subprocess.run([program, words[1], "--help"], capture_output=True, text=True, timeout=60, check=True)
        assert all(option in helped.stdout for option in words if option.startswith("-"))
        return
    context = click.Context(group)
    command = group.get_command(context, words[1])
    assert command is not None
    command.make_context(words[1], list(words[2:]), parent=context)  # raises for an option or a value that is not there


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_service_is_one(name: str) -> None:
    known = {f"AI_ASSETS_{field.upper()}" for field in Settings.model_fields} | {"DAGSTER_HOME"}
    assert set(OURS[name]["environment"]) <= known


def test_services_wait_for_services_and_mount_volumes_that_exist() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])
    assert (FOLDER / OURS["ui"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / OURS["ui"]["build"]["dockerfile"]).is_file()


def test_nothing_secret_is_written_down_nothing_is_open_to_other_machines() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    for key, value in re.findall(r"(\w*(?:PASSWORD|KEY)\w*): (\S.*)", text):
        assert value.startswith("${") and ":?" in value, key
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for service in OURS.values():
        assert service["cap_drop"] == ["ALL"]


def test_the_image_copies_what_exists_runs_as_a_user_of_its_own_and_uses_the_tested_python() -> None:
    given = instructions()
    bases = [value for word, value in given if word == "FROM"]
    assert all(base.startswith("python:3.11-slim-bookworm") for base in bases)
    for word, value in given:
        if word == "COPY":
            assert all((ROOT / source).exists() for source in value.split()[:-1]), value
    users = [value for word, value in given if word == "USER"]
    assert users == ["music"]
    assert ("ENTRYPOINT", '["ai-assets"]') in given
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    copied = {source for word, value in given if word == "COPY" for source in value.split()[:-1]}
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_only_the_python_that_is_tested_is_declared() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.11,<3.12"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"
    assert sys.version_info[:2] == (3, 11)
