"""Help, completion and errors of the command line: one screen, an example each, no traceback, documented status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import environment

from ai_assets.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]
LINES_OF_A_SCREEN, WIDTH = 58, 80


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, (*path, name))


ALL = dict(leaves(group))


def called(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai_assets.cli", *arguments],
        env={**environment(home), **more}, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_overview_fits_on_one_screen_and_names_every_command_in_one_line(tmp_path: Path) -> None:
    shown = called("--help", home=tmp_path, COLUMNS=str(WIDTH)).stdout
    lines = shown.rstrip().splitlines()
    assert len(lines) <= LINES_OF_A_SCREEN
    assert max(map(len, lines)) <= WIDTH
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}\s*$", shown, flags=re.M), name


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_shows_an_example_that_calls_it(words: tuple[str, ...]) -> None:
    text = ALL[words].help or ""
    examples = re.findall(rf"ai-assets (?:--home \S+ )?{' '.join(words)}([^\n`]*)", text.split("Example", 1)[-1])
    assert "Example" in text
    assert examples, f"no example calls {' '.join(words)}"
    options = {name for parameter in ALL[words].params for name in parameter.opts}
    for arguments in examples:
        assert set(re.findall(r"(?<=\s)--[a-z-]+", arguments)) <= options


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_says_what_it_does(words: tuple[str, ...]) -> None:
    described = [item for item in ALL[words].params if isinstance(item, click.Option) and not item.help]
    assert [item.name for item in described] == []


@pytest.mark.parametrize(("typed", "offered"), [("ai-assets pla", "playlists"), ("ai-assets rules a", "add"),
                                                ("ai-assets recommend x --js", "--json")])  # fmt: skip
def test_a_shell_completes_commands_and_options(tmp_path: Path, typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_AI_ASSETS_COMPLETE": "bash_complete"}
    assert f"plain,{offered}" in called(home=tmp_path, **words).stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed_for_each_shell(tmp_path: Path, shell: str) -> None:
    script = called("completion", shell, home=tmp_path).stdout
    assert f"_AI_ASSETS_COMPLETE={shell}_complete" in script
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["status"], 1), (["recommend"], 2), (["nonsense"], 2), (["table", "tracks"], 1), (["--help"], 0),
     (["run", "--audio", "/no/such/folder"], 2), (["completion", "bash"], 0)],
)  # fmt: skip
def test_an_error_is_a_few_lines_without_traceback_or_colour_and_has_its_exit_status(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    done = called(*arguments, home=tmp_path / "empty")
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b[" not in done.stdout + done.stderr
    if status:
        assert done.stdout == ""
        assert 1 <= len(done.stderr.strip().splitlines()) <= 24


def test_a_wrong_setting_names_the_setting_and_hides_its_value(tmp_path: Path) -> None:
    done = called("status", home=tmp_path, AI_ASSETS_DATABASE_URL="mysql://user:hunter2@db/music")
    assert done.returncode == 2
    assert "database_url" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("this is no TOML [")
    quiet, debug = (called(*words, "status", home=tmp_path) for words in ([], ["--debug"]))
    assert quiet.returncode == debug.returncode == 1
    assert "Traceback" not in quiet.stderr
    assert "settings.toml is no TOML" in quiet.stderr
    assert "Traceback" in debug.stderr


def test_the_readme_documents_every_exit_status_and_its_commands_and_options_exist() -> None:
    from ai_assets.cli import errors

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| (\d+) \|", text, flags=re.M))
    assert documented == {
        "0",
        *(str(code) for code in (errors.FAILED, errors.USAGE, errors.NOT_ACCEPTED, errors.STOPPED)),
    }
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.S))
    for line in re.findall(r"^\.venv/bin/ai-assets (.*?)(?:\s+#.*)?$", blocks, flags=re.M):
        words = next((path for path in ALL if (*line.split(),)[: len(path)] == path), None)
        assert words is not None, line
        options = {name for parameter in ALL[words].params for name in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", line)) <= options, line


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    done = called("doctor", "--json", home=tmp_path / "empty")
    json.loads(done.stdout)
    assert os.linesep not in done.stdout.strip()
