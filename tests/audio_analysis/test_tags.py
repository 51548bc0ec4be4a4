"""Tags: cleaned text, identifiers by their form only, never an exception."""

from __future__ import annotations

import io
from pathlib import Path

from audio_makers import in_memory, tone

from ai_assets.data_processing.tags import Tags, clean_text, read_tags


def _frame(name: bytes, text: str) -> bytes:
    body = b"\x03" + text.encode()
    size = len(body)
    return name + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + b"\0\0" + body


def _tagged(path: Path, *frames: bytes) -> Path:
    body = b"".join(frames) + bytes(64)
    size = len(body)
    head = b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
    path.write_bytes(head + body + in_memory(tone(0.5), "MP3"))
    return path


def test_control_and_bidirectional_characters_are_taken_out() -> None:
    assert clean_text("a\u202eb\x00c\x1b[31m\nd\u2066") == "abc[31m d"
    assert clean_text("Cafe\u0301") == "Café"
    assert clean_text(" \u200b\ufeff ") is None
    assert len(clean_text("x" * 1_000_000) or "") == 500
    assert clean_text("👩\u200d🎤") == "👩\u200d🎤"


def test_identifiers_are_kept_only_in_their_form(tmp_path: Path) -> None:
    mbid = "e65fb332-0c1e-4172-85e0-59cd37e5669e"
    good = _tagged(
        tmp_path / "a.mp3",
        _frame(b"TIT2", "Song\u202e"),
        _frame(b"TSRC", "us-rc1-76-07839"),
        _frame(b"TRCK", "3/12"),
        _frame(b"TDRC", "1999-05-01"),
        _frame(b"TXXX", f"MusicBrainz Track Id\0{mbid}"),
    )
    assert read_tags(good) == Tags(title="Song", year=1999, track_number=3, isrc="USRC17607839", mbid=mbid)
    bad = _tagged(tmp_path / "b.mp3", _frame(b"TSRC", "'; DROP TABLE"), _frame(b"TRCK", "-7"), _frame(b"TDRC", "99999"))
    assert read_tags(bad) == Tags()


def test_a_file_without_readable_tags_gives_empty_tags(tmp_path: Path) -> None:
    (tmp_path / "junk.mp3").write_bytes(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + b"\xff" * 1000)
    assert read_tags(tmp_path / "junk.mp3") == Tags()
    assert read_tags(tmp_path / "missing.mp3") == Tags()


def test_gigabytes_of_empty_chunks_are_not_walked(tmp_path: Path) -> None:
    path = tmp_path / "sparse.wav"
    path.write_bytes(in_memory(tone(0.5), "WAV"))
    with path.open("r+b") as file:
        file.truncate(2 << 30)
    with _Counting(path) as counted:
        assert read_tags(counted) == Tags()
        assert counted.given < 32 << 20


class _Counting(io.FileIO):
    """A file that counts the bytes it gave."""

    given = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self.given += len(data)
        return data
