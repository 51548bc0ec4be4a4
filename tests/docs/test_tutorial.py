"""The tutorial does what it says: its blocks run one after the other, and print what stands under them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tutorial import FILES, blocks, masked, music, run

TEXTS = {language: path.read_text(encoding="utf-8") for language, path in FILES.items()}


@pytest.mark.parametrize("language", ["de", "fr"])
def test_a_translation_has_the_same_sections_commands_and_outputs(language: str) -> None:
    def bare(text: str) -> list[tuple[str, str]]:
        return [(re.sub(r" +#.*", "", commands), output) for commands, output in blocks(text)]

    assert bare(TEXTS[language]) == bare(TEXTS["en"])
    levels = {name: re.findall(r"^#+ (?:\d+\.)?", text, flags=re.M) for name, text in TEXTS.items()}
    assert levels[language] == levels["en"]


@pytest.mark.team  # takes a minute
@pytest.mark.e2e
def test_every_block_runs_and_prints_what_stands_under_it(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    music(folder)
    written = blocks(TEXTS["en"])
    printed = run([commands for commands, _ in written], folder)
    assert len(printed) == len(written) > 8
    for (commands, output), real in zip(written, printed, strict=True):
        there = iter(masked(real, folder))
        for line in masked(output, Path("/home/you")):
            assert line in there, f"{line!r} is not in what this prints:\n{commands}\n{real}"
