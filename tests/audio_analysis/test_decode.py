"""Reading audio: every format, every way a file can be cut or lie, one report each."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_makers import (
    RATE,
    behind,
    cut,
    id3,
    pcm_md5_offset,
    punch,
    silence,
    tone,
    wav_bytes,
    with_total_samples,
    write,
    write_m4a,
)
from audio_makers import bombs as make_bombs

from ai_assets.audio_analysis.decode import (
    AudioRefused,
    DecodeLimits,
    DecodeReport,
    decode_report,
    failure_report,
    open_audio,
)
from resources.isolation import Outcome
from resources.roots import StorageFault, open_confined

SECONDS = 3.0
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "aiff", "aac.m4a", "alac.m4a")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("good")
    samples = tone(SECONDS)
    made = {
        kind: write(folder / f"a.{kind}", samples, kind=kind.upper()) for kind in ("wav", "flac", "mp3", "ogg", "aiff")
    }
    made["opus"] = write(folder / "a.opus", tone(SECONDS, rate=48000), kind="OGG", subtype="OPUS", rate=48000)
    for codec in ("aac", "alac"):
        made[f"{codec}.m4a"] = write_m4a(folder / f"{codec}.m4a", samples, codec=codec)
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_of_each_format_is_ok_and_has_its_length(good: dict[str, Path], kind: str) -> None:
    report = decode_report(good[kind])
    assert (report.status, report.reason) == ("ok", "")
    assert report.duration_seconds == pytest.approx(SECONDS, abs=0.03)
    assert report.declared_seconds == pytest.approx(SECONDS, abs=0.03)
    assert report.channels == 2


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999, 1, 100])
def test_a_file_cut_anywhere_is_never_called_complete(
    good: dict[str, Path], tmp_path: Path, kind: str, keep: float
) -> None:
    report = decode_report(cut(good[kind], keep, tmp_path / f"cut.{kind}"))
    assert report.status in ("partial", "refused"), report
    assert report.reason
    if kind in ("wav", "flac", "mp3", "aiff") and keep == 0.5:
        assert report.status == "partial"
        assert report.duration_seconds == pytest.approx(SECONDS / 2, abs=0.15)


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_missing_in_the_middle_are_noticed(good: dict[str, Path], tmp_path: Path, kind: str) -> None:
    for length in (1, 3000):
        report = decode_report(punch(good[kind], 0.5, length, tmp_path / f"hole.{kind}"))
        assert report.status in ("partial", "refused"), (length, report)


def test_the_part_before_the_damage_is_delivered_to_the_last_decoded_sample(
    good: dict[str, Path], tmp_path: Path
) -> None:
    whole, _ = soundfile.read(good["flac"], dtype="float32", always_2d=True)
    with open_audio(cut(good["flac"], 0.5, tmp_path / "cut.flac")) as reader:
        read = np.concatenate(list(reader.blocks()))
    assert len(read) > 0.45 * len(whole)
    np.testing.assert_array_equal(read, whole[: len(read)])


def test_an_mp3_without_a_length_header_betrays_its_cut_last_frame(good: dict[str, Path], tmp_path: Path) -> None:
    data = good["mp3"].read_bytes()
    at = data.index(b"Info") if b"Info" in data[:4096] else data.index(b"Xing")
    bare = tmp_path / "bare.mp3"
    start = data.index(b"\xff\xfb", at)
    bare.write_bytes(data[start:])
    assert decode_report(bare).status == "ok"
    assert decode_report(cut(bare, 0.5, tmp_path / "bare_cut.mp3")).status == "partial"


def test_a_long_mp3_of_variable_bit_rate_without_a_length_header_is_read_to_its_end(
    good: dict[str, Path], tmp_path: Path
) -> None:
    data = good["mp3"].read_bytes()
    frames = data[data.index(b"\xff\xfb", data.index(b"Info" if b"Info" in data[:4096] else b"Xing")) :]
    quiet = write(tmp_path / "quiet.mp3", np.zeros((RATE * 20, 2), np.float32), kind="MP3").read_bytes()
    start = quiet.index(b"\xff\xfb", 200)
    (tmp_path / "long.mp3").write_bytes(frames + quiet[start:])
    report = decode_report(tmp_path / "long.mp3")
    # libsndfile alone estimates 6 s from the first frames and stops there.
    assert report.status == "ok"
    assert report.duration_seconds == pytest.approx(SECONDS + 20, abs=0.2)


def test_an_ogg_cut_between_two_pages_lacks_its_end_of_stream_flag(good: dict[str, Path], tmp_path: Path) -> None:
    data = good["ogg"].read_bytes()
    (tmp_path / "cut.ogg").write_bytes(data[: data.rindex(b"OggS")])
    report = decode_report(tmp_path / "cut.ogg")
    assert report.status == "partial" and "end-of-stream" in report.reason
    assert report.declared_seconds == report.duration_seconds, "nothing but the flag can show it"


def test_joined_streams_are_not_called_complete(good: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("mp3", "ogg"):
        (tmp_path / f"joined.{kind}").write_bytes(good[kind].read_bytes() * 2)
        report = decode_report(tmp_path / f"joined.{kind}")
        assert (report.status, report.duration_seconds) == ("partial", pytest.approx(SECONDS, abs=0.03))
        assert "only the first" in report.reason


def test_one_recording_keeps_its_hash_across_lossless_containers_and_tags(
    good: dict[str, Path], tmp_path: Path
) -> None:
    hashes = {decode_report(good[kind]).audio_hash for kind in ("wav", "flac", "aiff", "alac.m4a")}
    hashes.add(decode_report(behind(id3(b"TIT2"), good["flac"], tmp_path / "tagged.flac")).audio_hash)
    assert len(hashes) == 1
    other = write(tmp_path / "other.wav", tone(SECONDS, seed=1))
    assert decode_report(other).audio_hash not in hashes
    faster = write(tmp_path / "faster.wav", tone(SECONDS), rate=48000)
    assert decode_report(faster).audio_hash not in hashes


@pytest.mark.parametrize("kind", FORMATS)
def test_an_id3_tag_in_front_hides_no_format(good: dict[str, Path], tmp_path: Path, kind: str) -> None:
    report = decode_report(behind(id3() + id3(), good[kind], tmp_path / "tagged.bin"))
    assert report.status == "ok", report


def test_junk_in_front_of_an_mp3_is_skipped(good: dict[str, Path], tmp_path: Path) -> None:
    junk = np.random.default_rng(0).bytes(100_000)
    report = decode_report(behind(junk, good["mp3"], tmp_path / "junk.mp3"))
    assert (report.status, report.detected_format) == ("ok", "MP3")
    assert report.duration_seconds == pytest.approx(SECONDS, abs=0.03)


def test_the_content_decides_and_not_the_suffix(good: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a.raw", "a.au", "a.mp3", "a"):
        target = tmp_path / name
        target.write_bytes(good["flac"].read_bytes())
        assert decode_report(target).detected_format == "FLAC"


def test_a_flac_with_a_wrong_md5_is_damaged_and_one_without_is_ok(good: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(good["flac"].read_bytes())
    at = pcm_md5_offset(good["flac"])
    data[at] ^= 1
    (tmp_path / "wrong.flac").write_bytes(data)
    data[at : at + 16] = bytes(16)
    (tmp_path / "none.flac").write_bytes(data)
    wrong = decode_report(tmp_path / "wrong.flac")
    assert wrong.status == "partial" and "MD5" in wrong.reason
    assert decode_report(tmp_path / "none.flac").status == "ok"


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_the_flac_md5_is_verified_at_every_width(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.flac", tone(1.5, channels=1), kind="FLAC", subtype=subtype)
    assert decode_report(path).status == "ok"


def test_a_flac_of_unknown_length_is_ok_and_a_lying_one_partial(good: dict[str, Path], tmp_path: Path) -> None:
    unknown = decode_report(with_total_samples(good["flac"], 0, tmp_path / "unknown.flac"))
    assert (unknown.status, unknown.declared_seconds) == ("ok", None)
    lying = decode_report(with_total_samples(good["flac"], 2**36 - 1, tmp_path / "lying.flac"))
    assert lying.status == "partial"
    assert lying.duration_seconds == pytest.approx(SECONDS)


def test_a_streamed_wav_claims_no_length_and_is_ok(tmp_path: Path) -> None:
    (tmp_path / "pipe.wav").write_bytes(wav_bytes(bytes(RATE * 4), data_size=0xFFFFFFFF))
    assert decode_report(tmp_path / "pipe.wav").status == "ok"


def test_short_is_complete_but_under_a_second(tmp_path: Path) -> None:
    report = decode_report(write(tmp_path / "a.wav", tone(0.4)))
    assert (report.status, report.duration_seconds) == ("short", pytest.approx(0.4))


def test_nonfinite_samples_are_counted_and_zeroed(tmp_path: Path) -> None:
    samples = tone(2.0, channels=1)
    samples[100:110] = np.nan
    samples[200] = np.inf
    samples[300] = 1e30
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with open_audio(path) as reader:
        read = np.concatenate(list(reader.blocks()))
    assert reader.report.nonfinite_samples == 12
    assert np.isfinite(read).all() and np.abs(read).max() < 1
    np.testing.assert_array_equal(read[400:], samples[400:])
    assert reader.report.status == "ok"
    path = write(tmp_path / "b.wav", np.full((RATE * 2, 1), np.nan, np.float32), subtype="FLOAT")
    assert decode_report(path).status == "partial"


def test_blocks_of_any_size_hold_the_same_samples(good: dict[str, Path]) -> None:
    with open_audio(good["ogg"]) as reader:
        whole = np.concatenate(list(reader.blocks()))
    for frames in (1000, 44100, 200_000):
        with open_audio(good["ogg"]) as reader:
            blocks = list(reader.blocks(frames))
        assert {len(block) for block in blocks[:-1]} <= {frames}
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_a_descriptor_from_a_confined_root_is_read_and_stays_open(good: dict[str, Path]) -> None:
    with open_confined(good["wav"].parent, good["wav"].name) as file:
        with open_audio(file) as reader:
            assert sum(len(block) for block in reader.blocks()) == SECONDS * RATE
        assert not file.closed
        assert decode_report(file.fileno()).status == "ok"


def test_limits_end_the_reading_with_the_prefix(good: dict[str, Path]) -> None:
    report = decode_report(good["mp3"], limits=DecodeLimits(max_seconds=1.0))
    assert (report.status, report.duration_seconds) == ("limit", pytest.approx(1.0, abs=0.001))
    assert decode_report(good["mp3"], limits=DecodeLimits(max_decoded_bytes=600_000)).status == "limit"
    assert decode_report(good["mp3"], limits=DecodeLimits(max_channels=1)).status == "refused"
    size = good["mp3"].stat().st_size
    assert decode_report(good["mp3"], limits=DecodeLimits(max_file_bytes=size)).status == "ok"
    report = decode_report(good["mp3"], limits=DecodeLimits(max_file_bytes=size - 1))
    assert (report.status, report.reason) == ("limit", f"a file of more than {size - 1} bytes")


def test_hours_of_silence_in_a_small_file_stop_early(tmp_path: Path) -> None:
    path = silence(tmp_path / "bomb.ogg", 0.2, kind="OGG", rate=8000)
    limits = DecodeLimits(expansion_grace_seconds=60.0, max_expansion=200.0)
    report = decode_report(path, limits=limits)
    assert report.status == "limit" and "expands" in report.reason
    assert report.duration_seconds < 700
    with pytest.raises(AudioRefused, match="expands") as caught:
        open_audio(path, limits=limits)  # nobody analyses what is thrown away afterwards
    assert caught.value.report == report
    assert decode_report(path).status == "ok"


def test_a_header_that_claims_a_bomb_over_a_short_track_is_read_from_its_first_sample(
    good: dict[str, Path], tmp_path: Path
) -> None:
    data = bytearray(good["flac"].read_bytes())
    data[18:26] = (int.from_bytes(data[18:26], "big") | (1 << 36) - 1).to_bytes(8, "big")
    (tmp_path / "claims.flac").write_bytes(data)
    report, true = decode_report(tmp_path / "claims.flac"), decode_report(good["flac"])
    assert (report.status, report.audio_hash) == ("partial", true.audio_hash)
    assert f"{(1 << 36) - 1} frames claimed" in report.reason


def test_a_refusal_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(bytes(4000), tag=0x11, bits=4))
    with pytest.raises(AudioRefused, match="IMA ADPCM") as caught:
        open_audio(tmp_path / "a.wav")
    assert caught.value.report.status == "refused"
    (tmp_path / "b.mp3").write_bytes(b"<html>" * 100)
    assert decode_report(tmp_path / "b.mp3").reason == "text, not audio"
    assert decode_report(tmp_path / "none.wav").reason == "'none.wav' does not exist"


def test_the_report_exists_only_after_the_last_block(good: dict[str, Path]) -> None:
    with open_audio(good["wav"]) as reader:
        assert reader.info.channels == 2
        with pytest.raises(RuntimeError, match="read to the end"):
            _ = reader.report


def test_an_io_error_accuses_the_storage_and_not_the_file(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = cut(good["flac"], 0.7, tmp_path / "cut.flac")
    assert decode_report(damaged).status == "partial"
    real = os.pread

    def failing(fd: int, count: int, offset: int) -> bytes:
        if offset + count > 150_000:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, count, offset)

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(StorageFault):
        decode_report(damaged)


def test_a_file_that_changes_while_it_is_read_is_not_ok(good: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    path.write_bytes(good["wav"].read_bytes())
    with open_audio(path) as reader:
        blocks = reader.blocks()
        next(blocks)
        with path.open("ab") as file:
            file.write(b"more")
        for _ in blocks:
            pass
    assert (reader.report.status, reader.report.reason) == ("partial", "the file changed while it was read")


def test_the_32_bit_flac_that_libsndfile_refuses_is_read_by_a_fallback(odd_audio: Path) -> None:
    report = decode_report(odd_audio / "flac_uncommon" / "05 - 32bps audio.flac")
    assert (report.status, report.decoder) == ("ok", "pyav")
    report = decode_report(odd_audio / "flac_subset" / "22 - 12 bit per sample.flac")
    assert (report.status, report.decoder) == ("ok", "miniaudio")


def test_every_bomb_becomes_one_report(tmp_path: Path) -> None:
    slow = ("silence", "sparse")  # measured by tests/benchmarks/bench_decode.py
    for path in make_bombs(tmp_path / "bombs", heavy=False):
        assert not path.name.startswith(slow)
        report = decode_report(path)
        if path.name == "unknown_length.flac":
            assert report.status == "ok"
        elif path.name in ("claims_4_gb.wav", "claims_2e36_samples.flac", "nan.wav", "huge_values.wav"):
            assert report.status == "partial"
        else:
            assert report.status == "refused", (path.name, report)
        assert report.reason or report.status == "ok"


def test_a_worker_that_gave_no_result_becomes_a_report_or_accuses_the_storage() -> None:
    assert failure_report(Outcome(0, "timeout", error="late")) == DecodeReport("timeout", "late")
    assert failure_report(Outcome(0, "killed", error="SIGSEGV")) == DecodeReport("killed", "SIGSEGV")
    assert failure_report(Outcome(0, "memory", error="full")) == DecodeReport("killed", "full")
    fault = StorageFault(errno.EIO, "gone", "/x")
    with pytest.raises(StorageFault):
        failure_report(Outcome(0, "error", error="trace", exception=fault))
    with pytest.raises(RuntimeError, match="trace"):
        failure_report(Outcome(0, "error", error="trace", exception=ValueError("bug")))
