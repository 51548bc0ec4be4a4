"""How-to pages: there is one for each thing people ask for, their commands exist, and lists of files are complete."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ai_assets.cli import group

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
ASKED_FOR = {
    "own-data", "new-asset", "new-sensor", "own-model", "new-language", "team", "backfills", "erasing-a-listener",
}  # fmt: skip
ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "2>", ")", "&"}


def called(page: Path) -> Iterator[list[str]]:
    """Words of every call of `ai-assets` in the shell blocks of a page, up to a pipe or a comment."""
    for block in re.findall(r"```(?:bash|sh)?\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            found = re.match(
                r"(?:[A-Z_]+=\S+ |\w+=\$\(|.*[|;&(] ?)*?(?:\.venv/bin/)?ai-assets(?: (.*))?$", line.strip()
            )
            if found is None or line.lstrip().startswith("#"):
                continue
            lexer = shlex.shlex(found[1] or "", posix=True, punctuation_chars="|;&<>()")
            lexer.whitespace_split, lexer.commenters = True, "#"
            try:
                words = list(lexer)
            except ValueError:  # a quotation that goes on in the next line
                words = (found[1] or "").split()
            end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
            yield words[:end]


def test_there_is_a_page_for_each_thing_people_ask_for() -> None:
    assert {page.stem for page in (ROOT / "docs" / "how-to").glob("*.md")} >= ASKED_FOR


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    for words in called(page):
        command: click.Command = group
        left = list(words)
        while isinstance(command, click.Group) and left and not left[0].startswith("-"):
            context = click.Context(command)
            child = command.get_command(context, left[0])
            assert child is not None, f"{page.name}: ai-assets {' '.join(words)}"
            command, left = child, left[1:]
        known = {name for item in (*command.params, *group.params) for name in (*item.opts, *item.secondary_opts)}
        options = {word.partition("=")[0] for word in left if re.match(r"--[a-z]", word)}
        assert options <= known | {"--help"}, f"{page.name}: ai-assets {' '.join(words)}"


def test_commands_of_pages_are_found_at_all() -> None:
    assert sum(len(list(called(page))) for page in PAGES) > 80


def test_the_page_on_languages_names_every_file_that_knows_them() -> None:
    text = (ROOT / "docs" / "how-to" / "new-language.md").read_text(encoding="utf-8")
    folders = ("content_generation", "audio_analysis", "cli", "serving")
    files = [
        path
        for folder in folders
        for path in (ROOT / "ai_assets" / folder).rglob("*.*")
        if path.suffix in (".py", ".json") and re.search(r'"(?:de|fr)"', path.read_text(encoding="utf-8"))
    ]
    named = {path.relative_to(ROOT) for path in files if not re.search(r"lexicon_\w\w\.py", path.name)}
    assert len(named) >= 6
    assert sorted(str(path) for path in named if f"`{path}`" not in text) == []
    for path in re.findall(r"\| `([\w/.]+)`", text):
        assert (ROOT / re.sub(r"_it\.", "_fr.", path)).exists(), path
