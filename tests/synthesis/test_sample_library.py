"""The sample library as a reader of files meets it: bytes, tags, sound, scores, damage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from synthetic_home import Library
from tinytag import TinyTag

from ai_assets.synthesis.audio_files import EXTENSIONS, Tags, encode
from ai_assets.synthesis.catalogue import PiecePlan, plan_library
from ai_assets.synthesis.library import make_piece, synthesise_library


def _one_of_each_kind(pieces: list[PiecePlan]) -> list[PiecePlan]:
    """The first piece of every extension and of every oddity: all ways by which bytes come to be."""
    return list({(p.extension, p.odd): p for p in reversed(pieces)}.values())


def test_the_same_seed_gives_the_same_bytes_in_another_process_and_order(library: Library, tmp_path: Path) -> None:
    records = {record["path"]: record for record in library.truth}
    for piece in _one_of_each_kind(plan_library("tiny", 0)):
        again = make_piece(piece, tmp_path / "audio", tmp_path / "scores")
        assert (again["sha256"], again["score_sha256"]) == (
            records[piece.path]["sha256"],
            records[piece.path]["score_sha256"],
        ), piece.path


def test_another_seed_gives_other_music() -> None:
    first, second = plan_library("tiny", 0), plan_library("tiny", 1)
    assert {p.tags.title for p in first} != {p.tags.title for p in second}
    assert [p.path for p in first] == [p.path for p in plan_library("tiny", 0)]


def test_a_second_call_touches_nothing_and_a_damaged_or_lost_file_is_made_again(library: Library) -> None:
    folders = library.audio, library.scores, library.truth_dir
    everything = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in everything}
    again = synthesise_library(*folders, size="tiny", seed=0, workers=1)
    assert (again.written, again.kept) == (0, library.report.files)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in everything} == before

    lost, damaged = (library.audio / record["path"] for record in library.whole[:2])
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-100])
    seen: list[tuple[int, int, str]] = []
    repaired = synthesise_library(*folders, size="tiny", seed=0, workers=1, progress=lambda *step: seen.append(step))
    assert repaired.written == 2
    assert [step[0] for step in seen] == [library.report.files - 1, library.report.files]
    assert {path: path.read_bytes() for path in everything} == {path: data for path, (_, data) in before.items()}


def test_nothing_but_audio_lies_in_the_audio_folder_and_truth_lies_apart(library: Library) -> None:
    files = {str(path.relative_to(library.audio)) for path in library.audio.rglob("*") if path.is_file()}
    assert files == {record["path"] for record in library.truth}
    assert len(files) == library.report.files
    for path in files:
        assert path.isascii() and len(path.split("/")) == 3, path


def test_the_tiny_library_can_train_a_classifier_on_two_labels(library: Library) -> None:
    assert library.report.tracks == 40
    assert sum(count >= 20 for count in library.report.styles.values()) >= 2
    assert len({record["artist"] for record in library.whole}) >= 4


def test_the_demo_library_has_two_hundred_tracks_in_ten_styles_of_all_formats() -> None:
    pieces = plan_library("demo", 0)
    whole = [p for p in pieces if p.odd is None]
    styles = Counter(p.style for p in whole)
    assert len(whole) >= 200 and len(styles) >= 8 and min(styles.values()) >= 20
    assert min(p.seconds for p in whole) >= 15
    assert set(EXTENSIONS) == {p.extension for p in whole}
    assert {44100, 48000, 32000, 22050} == {p.samplerate for p in whole} and {1, 2} == {p.channels for p in whole}
    assert len({p.path for p in pieces}) == len(pieces)
    assert len({(p.tags.artist, p.tags.title) for p in whole}) == len(whole)
    assert any(not p.tags.title.isascii() for p in whole)
    # neighbours: some artists play more than one style, most one
    styles_of = [len({p.style for p in whole if p.tags.artist == artist}) for artist in {p.tags.artist for p in whole}]
    assert 1 < sum(styles_of) / len(styles_of) < 2


def test_formats_and_rates_do_not_give_a_style_away() -> None:
    whole = [p for p in plan_library("demo", 0) if p.odd is None]
    for style in {p.style for p in whole}:
        mine = Counter(p.extension for p in whole if p.style == style)
        assert mine.most_common(1)[0][1] <= 0.65 * sum(mine.values()), (style, mine)


def test_an_unknown_size_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'huge'.*demo, tiny"):
        synthesise_library(tmp_path, tmp_path, tmp_path, size="huge")  # type: ignore[arg-type]


def test_every_whole_track_decodes_at_its_length_without_clipping_or_silence(library: Library) -> None:
    for record in library.whole:
        audio, rate = soundfile.read(library.audio / record["path"], dtype="float32", always_2d=True)
        assert (rate, audio.shape[1]) == (record["samplerate"], record["channels"]), record["path"]
        assert len(audio) / rate == pytest.approx(record["seconds"], abs=0.05)
        assert record["seconds"] >= 15
        # lossy codecs may overshoot the peak of 0.8 a little
        assert 0.2 < np.abs(audio).max() < 1.0, record["path"]
        assert -30 < 20 * np.log10(np.sqrt(np.mean(audio**2))) < -8, record["path"]


def test_tags_are_read_back_from_every_file(library: Library) -> None:
    for record in library.whole:
        tag = TinyTag.get(library.audio / record["path"])
        read = (tag.title, tag.artist, tag.album, tag.genre, tag.year, str(tag.track))
        assert read == tuple(record[k] for k in ("title", "artist", "album", "genre", "date", "tracknumber"))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_tags_in_any_script_are_read_back_from_every_format(extension: str, tmp_path: Path) -> None:
    tags = Tags("Süße Grüße 夜の電車", "Élodie & Œuvre", "Łódź", "hip-hop", "1999", "7")
    path = tmp_path / f"a.{extension}"
    path.write_bytes(encode(np.zeros((4800, 1), np.float32), samplerate=48000, extension=extension, tags=tags))
    tag = TinyTag.get(path)
    assert (tag.title, tag.artist, tag.album, tag.genre, tag.year) == (*vars(tags).values(),)[:5]
    assert str(tag.track) == "7"
    assert soundfile.info(path).frames == 4800


def test_a_long_ogg_is_written_in_blocks_and_its_pages_are_valid(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, (3_000_000, 2)).astype(np.float32)
    data = encode(audio, samplerate=48000, extension="ogg", tags=Tags("a", "b", "c", "d", "2000", "1"))
    path = tmp_path / "long.ogg"
    path.write_bytes(data)
    # a wrong checksum makes libogg drop the page, so every frame must come back
    assert sum(len(block) for block in soundfile.blocks(path, 65536)) == len(audio)


def test_the_odd_files_are_as_reported(library: Library) -> None:
    reported = {(odd.path, odd.kind) for odd in library.report.odd}
    assert reported == {(r["path"], r["odd"]) for r in library.truth if r["odd"]}
    assert all(odd.expected for odd in library.report.odd)
    records = {r["path"]: r for r in library.truth}

    def read(record: dict) -> np.ndarray:
        return soundfile.read(library.audio / record["path"], dtype="float32", always_2d=True)[0]

    for record in library.odd("truncated"):
        try:
            frames = len(read(record))
        except soundfile.LibsndfileError:
            frames = 0
        assert frames < 0.9 * record["seconds"] * record["samplerate"], record["path"]
    assert {Path(r["path"]).suffix for r in library.odd("truncated")} == {".flac", ".mp3"}
    for kind, start in (("empty", b""), ("text", b"Notes on")):
        (record,) = library.odd(kind)
        data = (library.audio / record["path"]).read_bytes()
        assert data.startswith(start) and (data == b"") == (kind == "empty")
        with pytest.raises(soundfile.LibsndfileError):
            read(record)
    assert not read(library.odd("silent")[0]).any()
    clipped = np.abs(read(library.odd("clipped")[0]))
    assert np.mean(clipped > 0.999) > 0.02
    mono = read(library.odd("mono-as-stereo")[0])
    assert mono.shape[1] == 2 and np.array_equal(mono[:, 0], mono[:, 1]) and mono.any()
    (copy,) = library.odd("duplicate")
    assert copy["sha256"] == records[copy["source"]]["sha256"] and copy["path"] != copy["source"]
    (again,) = library.odd("reencoded")
    ours, source = read(again), read(records[again["source"]])
    assert Path(again["path"]).suffix != Path(again["source"]).suffix and ours.shape == source.shape
    assert np.corrcoef(ours.mean(axis=1), source.mean(axis=1))[0, 1] > 0.95
