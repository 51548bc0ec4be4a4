"""The commands of the how-to page on backfills, on a copy of the demo's home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, ask

pytestmark = pytest.mark.e2e


def test_the_commands_of_the_page_do_what_it_says(copied: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "backfills.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.S)
    lines = [line.split() for block in blocks for line in block.splitlines()]
    days = sorted({row["day"] for row in ask(copied, "table", "interactions", "--json").lines})
    first, last = days[2], days[4]
    printed = {}
    for words in lines:
        assert words[0] == "ai-assets"
        real = [{"2026-11-01": first, "2026-11-07": last}.get(word, word) for word in words[1:]]
        done = ask(copied, *real)
        assert done.status == 0, (words, done.err[-2000:])
        printed[" ".join(words[1:])] = done.out + done.err
    asked = [key for key in printed if "--all" in key]
    assert len(printed) == 5
    assert len(asked) == 2
    dry = next(key for key in asked if key.endswith("--dry-run"))
    assert re.search(r"interactions .*\b3\b.* asked for", printed[dry])
    assert "✓ interactions" in printed[next(key for key in asked if key != dry)]
