"""Write the pages of `docs/` that come from the code: `python -m tools.docs` (or `make docs`).

`docs/assets.md`, `docs/commands.md`, `docs/licences.md` and `docs/errors*.md` are written whole, in
`docs/architecture.md` what stands between `<!-- NAME: from the code -->` and `<!-- end -->`. `tests/docs/test_pages.py`
fails where a page is behind.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that comes from the code, as it should be."""
    from resources.error_codes import LANGUAGES
    from tools import architecture, assets, commands, errors, licences

    yield DOCS / "assets.md", assets.page()
    yield DOCS / "commands.md", commands.page()
    yield DOCS / "licences.md", licences.page()
    for language in LANGUAGES:
        yield DOCS / errors.NAMES[language], errors.page(language)
    path = DOCS / "architecture.md"
    drawn: dict[str, Callable[[], str]] = {"lineage": architecture.lineage, "imports": architecture.imports}
    yield path, filled(path.read_text(encoding="utf-8"), drawn)


def filled(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """The text with each marked part written anew. Raises ValueError for a part that is not marked."""
    for name, part in parts.items():
        mark = rf"(<!-- {name}: from the code -->\n).*?(<!-- end -->)"
        if not re.search(mark, text, flags=re.S):
            raise ValueError(f"nothing is marked as `{name}: from the code`")
        text = re.sub(mark, lambda found, part=part: found[1] + part() + found[2], text, flags=re.S)  # type: ignore[misc]
    return text


def main() -> int:
    for path, text in pages():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
