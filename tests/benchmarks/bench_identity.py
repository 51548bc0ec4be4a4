"""Do tracks keep their identity when their files change? `python tests/benchmarks/bench_identity.py [100]`.

Synthesised pieces as tagged MP3s, taken with plays of ten listeners by the real command line; then a quarter each is
moved, renamed, retagged and encoded anew as FLAC, and the folder is taken again. Counted is what keeps its id, its rows
in `interactions`, and its place in the recommendations of a listener who has heard nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from ai_assets.synthesis.audio_files import Tags, encode, id3
from ai_assets.synthesis.catalogue import PiecePlan, plan_library
from ai_assets.synthesis.library import make_piece

CHANGES = ("moved", "renamed", "retagged", "encoded anew")
LISTENERS = 10
DAY = "2026-11-02"


def pieces_of(count: int) -> list[PiecePlan]:
    """The first whole pieces of the demo's library, each as an MP3."""
    plan = [piece for piece in plan_library("demo", 0) if piece.odd is None][:count]
    return [replace(piece, extension="mp3", path=f"{place:03d}.mp3") for place, piece in enumerate(plan)]


def change(path: Path, kind: str, tags: Tags) -> Path:
    """One file, changed as somebody would who tidies up; returns where it is now."""
    if kind == "moved":
        target = path.parent / "elsewhere" / path.name
        target.parent.mkdir(exist_ok=True)
        return path.rename(target)
    if kind == "renamed":
        return path.rename(path.with_name(f"new name of {path.name}"))
    if kind == "retagged":
        sound = path.read_bytes().removeprefix(id3(tags))
        other = replace(tags, title=f"Retold {tags.title}", artist="Another Artist", album="Another Album")
        path.write_bytes(id3(other) + sound)
        return path
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    target = path.with_suffix(".flac")
    target.write_bytes(encode(samples, samplerate=rate, extension="flac", tags=tags))
    path.unlink()
    return target


def ask(home: Path, *words: str) -> Any:
    command = [sys.executable, "-m", "ai_assets.cli", "--home", str(home), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(words)}: {done.stderr[-2000:]}")
    values = [json.loads(line) for line in done.stdout.splitlines()]
    return values if words[0] == "table" else values[0]


def state(home: Path) -> tuple[dict[str, str], Counter[str], set[str]]:
    """Track by file name, plays by track, and the tracks that can be recommended."""
    tracks = {Path(row["path"]).name: row["track"] for row in ask(home, "table", "tracks") if not row["deleted"]}
    plays = Counter(row["track"] for row in ask(home, "table", "interactions"))
    answer = ask(home, "recommend", "somebody-new", "--k", "500")
    return tracks, plays, {row["track"] for row in answer["recommendations"]}


def measure(count: int, folder: Path) -> dict[str, dict[str, int]]:
    """Per kind of change: files, and how many kept id, plays and place."""
    pieces = pieces_of(count)
    for piece in pieces:
        make_piece(piece, folder / "music", folder / "scores")
    files = [folder / "music" / piece.path for piece in pieces]
    events = folder / "plays.jsonl"
    rows = [
        {"listener": f"listener-{one}", "track": str(path), "played_at": f"{DAY}T{one:02d}:{number % 60:02d}:00Z"}
        for one in range(LISTENERS)
        for number, path in enumerate(files)
        if (number + one) % 3 == 0
    ]
    events.write_text("".join(json.dumps(row) + "\n" for row in rows))
    home = folder / "home"
    ask(home, "run", "--audio", str(folder / "music"), "--events", str(events))
    tracks, plays, shown = state(home)
    kinds = {path.name: CHANGES[number % len(CHANGES)] for number, path in enumerate(files)}
    now = {path.name: change(path, kinds[path.name], one.tags).name for path, one in zip(files, pieces, strict=True)}
    ask(home, "run", "--audio", str(folder / "music"))
    new_tracks, new_plays, new_shown = state(home)
    result = {kind: Counter[str]() for kind in CHANGES}
    for old, kind in kinds.items():
        before, after = tracks[old], new_tracks.get(now[old], "")
        result[kind].update(
            files=1, kept_id=before == after, kept_plays=new_plays[after] == plays[before] > 0,
            kept_place=before in shown and after in new_shown and before == after,
        )  # fmt: skip
    waiting = [row for row in ask(home, "table", "alerts") if row["code"] == "files_vanished"]
    print(f"{len(waiting)} alerts of vanished files; tracks before {len(set(tracks.values()))}, after {len(set(new_tracks.values()))}; can be recommended:",
          len(shown), "and", len(new_shown))  # fmt: skip
    return {kind: dict(counts) for kind, counts in result.items()}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as name:
        for kind, counts in measure(count, Path(name)).items():
            print(f"{kind:14s}", counts, flush=True)


if __name__ == "__main__":
    main()
