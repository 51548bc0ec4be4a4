"""Reads a tutorial and runs its blocks, as a reader would type them, in one shell.

`python tests/docs/tutorial.py` writes the real output into all three tutorials.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {language: ROOT / "docs" / f"tutorial{end}.md" for language, end in (("en", ""), ("de", ".de"), ("fr", ".fr"))}
BLOCK = re.compile(r"```bash\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.S)
TRACKS, SEED, WIDTH = 14, 0, 100
MARK = "@@ block"


def blocks(text: str) -> list[tuple[str, str]]:
    """Commands and what they print, block by block."""
    return [(found[1], found[2] or "") for found in BLOCK.finditer(text)]


def music(folder: Path) -> None:
    """Fourteen synthesised tracks of two artists."""
    from ai_assets.synthesis.catalogue import plan_library
    from ai_assets.synthesis.library import make_piece

    for piece in [piece for piece in plan_library("tiny", SEED) if piece.odd is None][:TRACKS]:
        make_piece(piece, folder / "Music", folder / "scores")


def run(commands: list[str], folder: Path) -> list[str]:
    """What each block prints on standard output. Raises CalledProcessError where one ends with an error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    variables = {
        **kept, "HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "COLUMNS": str(WIDTH),
        "OMP_NUM_THREADS": "1", "AI_ASSETS_SETTLE_SECONDS": "0", "LANG": "C.UTF-8",
    }  # fmt: skip
    variables.pop("LC_ALL", None)
    script = "set -e -o pipefail\n" + "".join(f"echo '{MARK}'\n{block}" for block in commands)
    done = subprocess.run(
        ["bash", "-c", script], env=variables, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, "tutorial", done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout.split(f"{MARK}\n")[1:]


def masked(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run (ids, digests, moments) and from machine to machine: decimals, and
    with them the track that is recommended.

    A table becomes its frame and the name of its first column: which track is third, and so how many columns
    fit beside it, is no promise.
    """
    text = text.replace(str(folder), "~")
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{12,64}\b|\bt[0-9a-f]{20}\b", "ID", text)
    text = re.sub(r"\d{8}T\d{4,6}-[0-9a-f]{8}|\b\d+\.\d+\b|^\d+ more columns.*", "N", text, flags=re.M)
    text = re.sub(r"^( +[a-z_ ]+?)  \S.*$", r"\1", text, flags=re.M)  # `why`: a label and what it says
    text = re.sub(r"^.+ by .+ \(ID\)$", "TRACK", text, flags=re.M)
    lines = []
    for line in text.splitlines():
        if line[:1] == "┃":
            line = line.split()[1]
        elif line[:1] in ("│", "┏", "┡", "└"):
            line = line[0]
        if not lines or line != lines[-1]:
            lines.append(line.rstrip())
    return lines


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        music(folder)
        printed = run([commands for commands, _ in blocks(FILES["en"].read_text())], folder)
        printed = [re.sub(r"[ \t]+$", "", text.replace(str(folder), "/home/you"), flags=re.M) for text in printed]
    for path in FILES.values():
        if path.exists():
            outputs = iter(printed)

            def put(found: re.Match[str], outputs: object = outputs) -> str:
                text = next(outputs)  # type: ignore[call-overload]
                return f"```bash\n{found[1]}```\n" + (f"\n```text\n{text}```" if found[2] is not None else "")

            path.write_text(BLOCK.sub(put, path.read_text()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
