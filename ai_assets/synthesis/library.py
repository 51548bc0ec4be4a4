"""Makes the sample library: audio files with tags, a MIDI file beside each, and the truth kept apart.

Here belongs the order of work: what is still to do, in how many processes, what is recorded. The plan stands in
``catalogue``, the music in ``composition`` and ``rendering``, the files in ``audio_files`` and ``scores``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.synthesis.audio_files import encode, write_atomically
from ai_assets.synthesis.catalogue import PiecePlan, Size, plan_library
from ai_assets.synthesis.composition import Score, compose
from ai_assets.synthesis.rendering import TAIL_SECONDS, render
from ai_assets.synthesis.scores import midi_bytes
from resources.processors import usable_processors

Audio = NDArray[np.float32]
Progress = Callable[[int, int, str], None]

_log = logging.getLogger(__name__)
#: Raised whenever the same seed gives other bytes than before, so that older libraries are made anew.
GENERATOR_VERSION = 1


@dataclass(frozen=True)
class OddFile:
    """A file that is damaged or odd on purpose: its path in the audio folder, how, and what should be found."""

    path: str
    kind: str
    expected: str


@dataclass(frozen=True)
class LibraryReport:
    """What ``synthesise_library`` left behind.

    ``tracks`` counts whole tracks, ``files`` all audio files with the odd ones, ``written`` and ``kept`` the files made
    now and those found complete. ``seconds`` is the length of the whole tracks together. All figures from this
    library are synthetic.
    """

    size: str
    seed: int
    tracks: int
    files: int
    written: int
    kept: int
    seconds: float
    styles: dict[str, int]
    formats: dict[str, int]
    odd: tuple[OddFile, ...]
    truth_path: Path


def synthesise_library(
    audio_dir: Path, scores_dir: Path, truth_dir: Path, *, size: Size = "demo", seed: int = 0,
    workers: int | None = None, progress: Progress | None = None,
) -> LibraryReport:  # fmt: skip
    """Make the sample library, or complete it: files that are whole already are kept.

    Audio lies under ``audio_dir/<artist>/<album>/<nn>-<title>.<ext>``, a score under the same name with ``.mid`` in
    ``scores_dir``, the truth (tempo, key, style, chords …) in ``truth_dir/tracks.jsonl`` with the digests of all files.
    Same size and seed: same bytes, whatever the number of ``workers`` (processes; default: the processors of the
    machine; 1: none but this one). ``progress`` is called as ``(files done, files in all, path)``.
    Raises ``ValueError`` for an unknown size and ``OSError`` when a folder cannot be written.
    """
    pieces = plan_library(size, seed)
    truth_path = truth_dir / "tracks.jsonl"
    known = _known_records(truth_path, size, seed)
    records: dict[str, dict[str, Any]] = {}
    waiting: list[PiecePlan] = []
    for piece in pieces:
        record = known.get(piece.path)
        if record is not None and _is_whole(record, audio_dir, scores_dir):
            records[piece.path] = record
        else:
            waiting.append(piece)
    kept = len(records)
    for done, record in enumerate(_make(waiting, audio_dir, scores_dir, workers), start=kept + 1):
        records[record["path"]] = record
        if progress is not None:
            progress(done, len(pieces), record["path"])
    lines = [{"generator": GENERATOR_VERSION, "size": size, "seed": seed, **records[p.path]} for p in pieces]
    text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    write_atomically(truth_path, text.encode())
    _log.info("sample library: %d files written, %d kept in %s", len(waiting), kept, audio_dir)
    return _report(size, seed, pieces, lines, len(waiting), kept, truth_path)


def read_truth(truth_dir: Path) -> list[dict[str, Any]]:
    """The truth of a library, one mapping per file in the order of the plan; odd files carry their kind in ``odd``.

    Raises ``FileNotFoundError`` when no library was made with this ``truth_dir``.
    """
    text = (truth_dir / "tracks.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _known_records(truth_path: Path, size: str, seed: int) -> dict[str, dict[str, Any]]:
    if not truth_path.is_file():
        return {}
    wanted = (GENERATOR_VERSION, size, seed)
    records = read_truth(truth_path.parent)
    return {r["path"]: r for r in records if (r["generator"], r["size"], r["seed"]) == wanted}


def _is_whole(record: dict[str, Any], audio_dir: Path, scores_dir: Path) -> bool:
    files = [(audio_dir / record["path"], record["sha256"])]
    if record["score"]:
        files.append((scores_dir / record["score"], record["score_sha256"]))
    return all(path.is_file() and _digest(path.read_bytes()) == digest for path, digest in files)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _make(pieces: list[PiecePlan], audio_dir: Path, scores_dir: Path, workers: int | None) -> Iterator[dict[str, Any]]:
    count = min(workers or usable_processors(), len(pieces))
    if count <= 1:
        for piece in pieces:
            yield make_piece(piece, audio_dir, scores_dir)
        return
    # a fresh server process: forking this one would copy the locks of its threads
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        for future in as_completed([pool.submit(make_piece, piece, audio_dir, scores_dir) for piece in pieces]):
            yield future.result()


def make_piece(piece: PiecePlan, audio_dir: Path, scores_dir: Path) -> dict[str, Any]:
    """Compose, render and write one planned file (and its score); returns its truth with the digests."""
    score = _compose(piece)
    data, frames = _audio_bytes(piece, score)
    write_atomically(audio_dir / piece.path, data)
    record: dict[str, Any] = {
        "path": piece.path, "score": piece.score_path, "sha256": _digest(data), "score_sha256": None, "odd": piece.odd,
        "expected": piece.expected, "source": piece.source, **asdict(piece.tags),
        "samplerate": piece.samplerate, "channels": piece.channels, "seconds": round(frames / piece.samplerate, 3),
    }  # fmt: skip
    if piece.odd not in ("empty", "text", "silent"):
        record |= _truth(score)
    if piece.score_path is not None:
        midi = midi_bytes(score, title=piece.tags.title)
        write_atomically(scores_dir / piece.score_path, midi)
        record["score_sha256"] = _digest(midi)
    return record


def _compose(piece: PiecePlan) -> Score:
    rng = np.random.default_rng([piece.seed, 2, piece.number])
    return compose(piece.style, seconds=piece.seconds - TAIL_SECONDS, rng=rng)


def _audio_bytes(piece: PiecePlan, score: Score) -> tuple[bytes, int]:
    """The bytes of the file and the frames of the sound they stand for."""
    if piece.odd == "empty":
        return b"", 0
    if piece.odd == "text":
        return f"Notes on {piece.tags.title}: recorded in one afternoon, mixed by ear.\n".encode() * 40, 0
    audio = render(score, samplerate=piece.samplerate, rng=np.random.default_rng([piece.seed, 3, piece.number]))
    if piece.odd == "silent":
        audio = np.zeros_like(audio)
    elif piece.odd == "clipped":
        audio = np.clip(audio * np.float32(4.0), -1.0, 1.0)
    if piece.channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    elif piece.odd == "mono-as-stereo":
        audio = np.repeat(audio.mean(axis=1, keepdims=True), 2, axis=1)
    data = encode(audio, samplerate=piece.samplerate, extension=piece.extension, tags=piece.tags)
    if piece.odd == "truncated":
        data = data[: int(len(data) * 0.55)]
    return data, len(audio)


def _truth(score: Score) -> dict[str, Any]:
    beat = 60.0 / score.tempo_bpm
    bar = beat * score.beats_per_bar
    return {
        "style": score.style, "tempo_bpm": score.tempo_bpm, "key": score.key_name, "tonic": score.tonic,
        "mode": score.mode, "scale": list(score.scale), "mood": score.mood, "energy": score.energy,
        "beats_per_bar": score.beats_per_bar, "instruments": score.voices,
        "sections": [
            [s.name, round(s.start_bar * bar, 3), round((s.start_bar + s.bars) * bar, 3)] for s in score.sections
        ],
        "chords": [[c.name, round(c.start * beat, 3), round((c.start + c.beats) * beat, 3)] for c in score.chords],
    }  # fmt: skip


def _report(
    size: str,
    seed: int,
    pieces: list[PiecePlan],
    lines: list[dict[str, Any]],
    written: int,
    kept: int,
    truth_path: Path,
) -> LibraryReport:
    whole = [line for line in lines if line["odd"] is None]
    return LibraryReport(
        size=size, seed=seed, tracks=len(whole), files=len(lines), written=written, kept=kept,
        seconds=round(sum(line["seconds"] for line in whole), 1),
        styles=dict(sorted(Counter(line["style"] for line in whole).items())),
        formats=dict(sorted(Counter(p.extension for p in pieces).items())),
        odd=tuple(OddFile(p.path, p.odd, p.expected) for p in pieces if p.odd is not None),
        truth_path=truth_path,
    )  # fmt: skip
