"""Generated tunes: whole bars, the asked key and tempo, marked, at the right level, and the same every time."""

from __future__ import annotations

import io
import itertools
import os
from collections import Counter
from pathlib import Path

import mido
import numpy as np
import pytest
import scipy.signal
from music_scores import write_library

from ai_assets.benchmarks.music import NoScores, apart, music, tune_figures
from ai_assets.content_generation.facts import GENRES, FactSet, fact_set
from ai_assets.content_generation.music import (
    MusicGenerator,
    MusicItem,
    NGramGenerator,
    Score,
    TooFewScores,
    fit_preset,
    read_scores,
)
from ai_assets.content_generation.music.audio import loudness, true_peak
from ai_assets.content_generation.music.checks import COPIED_RUN_LIMIT, bars_complete, check, sound_checks
from ai_assets.content_generation.music.corpus import Corpus
from ai_assets.content_generation.music.ngram import NGram
from ai_assets.content_generation.music.tokens import decode, encode
from ai_assets.content_generation.music.training import fit
from ai_assets.content_generation.text.decode import ModelFolderError
from ai_assets.content_generation.text.model import ModelSize

DATA = Path(os.environ.get("AI_ASSETS_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
NOTTINGHAM = DATA / "nottingham"
SMALL = ModelSize(width=32, layers=2, heads=2, inner=64, longest=512)
FACTS = [
    fact_set({"key": "D minor", "tempo_bpm": 96, "genre": "jazz", "energy": 0.7}),
    fact_set({"key": "Bb major", "tempo_bpm": 143.5, "genre": "techno", "energy": 0.1}),
    fact_set({"mood": "sad"}),
    fact_set({}),
]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> list[Score]:
    folder = tmp_path_factory.mktemp("scores")
    write_library(folder, 56)
    return read_scores(folder)


@pytest.fixture(scope="module")
def transformer(scores: list[Score]) -> MusicGenerator:
    corpus = Corpus.of(scores)
    model, _ = fit(corpus, scores, steps=60, size=SMALL)
    return MusicGenerator(model, corpus, card={})


@pytest.fixture(scope="module")
def ngram(scores: list[Score]) -> MusicGenerator:
    return fit_preset(scores, "full")


@pytest.fixture(scope="module")
def items(ngram: MusicGenerator) -> list[MusicItem]:
    return ngram.sample(FACTS, seeds=range(4), bars=8)


def test_every_bar_is_full_whatever_little_the_model_has_learned(
    transformer: MusicGenerator, ngram: MusicGenerator
) -> None:
    for generator in (transformer, ngram):
        for item in generator.sample(FACTS * 2, seeds=range(8), bars=8, rounds=1):
            assert item.checks["bars"] == 8
            assert bars_complete(item.score, item.tokens) == 1.0
            assert item.score.bars <= 8
            last = item.score.notes[-1]
            assert last.start >= 7 * item.score.bar_ticks or item.checks["notes"] == 0
            assert {item.checks["lowest"] >= 36, item.checks["highest"] <= 96} == {True}


def test_a_tune_ends_on_the_tonic_under_the_tonic_chord(ngram: MusicGenerator) -> None:
    items = ngram.sample([fact_set({"key": "G major"})] * 12, seeds=range(12))
    assert [item.score.notes[-1].pitch % 12 for item in items] == [7] * 12
    assert [item.score.chords[-1].symbol.name for item in items] == ["G"] * 12


@pytest.mark.parametrize("kind", ["transformer", "ngram"])
def test_an_item_is_the_same_alone_and_in_any_batch(kind: str, request: pytest.FixtureRequest) -> None:
    generator: MusicGenerator = request.getfixturevalue(kind)
    together = generator.sample(FACTS, seeds=[11, 12, 13, 14], bars=8)
    alone = [
        generator.sample([facts], seeds=[seed], bars=8)[0] for facts, seed in zip(FACTS, range(11, 15), strict=True)
    ]
    assert [item.midi for item in together] == [item.midi for item in alone]
    assert [item.candidates for item in together] == [item.candidates for item in alone]
    assert generator.sample(FACTS[:1], seeds=[99], bars=8)[0].midi != together[0].midi


def test_a_saved_generator_makes_the_same_tunes(
    transformer: MusicGenerator, ngram: MusicGenerator, tmp_path: Path
) -> None:
    for generator in (transformer, ngram):
        folder = tmp_path / generator.decoder
        generator.save(folder)
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
        loaded = MusicGenerator.load(folder)
        assert (loaded.version, loaded.decoder) == (generator.version, generator.decoder)
        again, first = loaded.sample(FACTS, seeds=range(4), bars=8), generator.sample(FACTS, seeds=range(4), bars=8)
        assert [item.midi for item in again] == [item.midi for item in first]
        assert [item.checks for item in again] == [item.checks for item in first]


def test_damaged_model_folders_are_refused_by_name(transformer: MusicGenerator, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="train the music generator first"):
        MusicGenerator.load(tmp_path)
    transformer.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFolderError, match="damaged"):
        MusicGenerator.load(tmp_path)
    weights.write_bytes(whole)
    config = tmp_path / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"layers": 2', '"layers": 3'), encoding="utf-8")
    with pytest.raises(ModelFolderError, match="do not fit"):
        MusicGenerator.load(tmp_path)


def test_training_twice_gives_the_same_weights_and_another_seed_others(scores: list[Score]) -> None:
    corpus = Corpus.of(scores)
    losses: list[float] = []
    versions = [
        MusicGenerator(
            fit(corpus, scores, steps=3, size=SMALL, seed=seed, progress=progress)[0], corpus, card={}
        ).version
        for seed, progress in ((0, None), (0, lambda _step, loss: losses.append(loss)), (1, None))
    ]
    assert versions[0] == versions[1] != versions[2]
    assert len(losses) == 3


def test_the_transformer_learns(scores: list[Score], transformer: MusicGenerator) -> None:
    corpus = transformer.corpus
    one_step = MusicGenerator(fit(corpus, scores, steps=1, size=SMALL)[0], corpus, card={})
    assert transformer.nll_per_note(scores) < 0.85 * one_step.nll_per_note(scores)


def test_few_scores_or_the_tiny_preset_are_answered_by_the_ngram_and_the_item_says_so(scores: list[Score]) -> None:
    generator = fit_preset(scores[:20], "full")
    item = generator.sample([fact_set({})], seeds=[1])[0]
    assert (generator.decoder, item.decoder, item.decoding["decoder"]) == ("ngram", "ngram", "ngram")
    assert item.notes == ("n-gram instead of the transformer: fewer than 100 scores",)
    with pytest.raises(TooFewScores, match="at least 5"):
        fit_preset([scores[0].transposed(n) for n in range(12)], "tiny")
    with pytest.raises(ValueError, match="full, demo, tiny"):
        fit_preset(scores, "huge")


def test_the_midi_file_has_one_tempo_one_meter_the_asked_key_a_melody_drums_and_the_mark(
    items: list[MusicItem],
) -> None:
    for item in items:
        file = mido.MidiFile(file=io.BytesIO(item.midi), charset="utf-8")
        events = [message for track in file.tracks for message in track]
        counts = Counter(message.type for message in events)
        assert (counts["set_tempo"], counts["time_signature"], counts["key_signature"]) == (1, 1, 1)
        assert any("trainedAlgorithmicMedia" in message.text for message in events if message.type == "text")
        names = [track.name for track in file.tracks]
        assert names.count("melody") == 1
        for track in file.tracks[1:]:
            channels = {message.channel for message in track if message.type.startswith("note")}
            assert channels == {9} if track.name == "drums" else 9 not in channels
        if item.facts.tempo_bpm is not None:
            tempo = next(message.tempo for message in events if message.type == "set_tempo")
            assert mido.tempo2bpm(tempo) == pytest.approx(item.facts.tempo_bpm, abs=0.01)
        assert file.length == pytest.approx(item.checks["seconds"], abs=0.02)
        if item.facts.key is not None:
            assert item.checks["key_asked"] == item.facts.key


def test_the_written_midi_is_read_back_as_the_same_score(items: list[MusicItem], tmp_path: Path) -> None:
    for number, item in enumerate(items):
        (tmp_path / f"{number}.mid").write_bytes(item.midi)
    for item, back in zip(items, read_scores(tmp_path), strict=True):
        assert (back.tonic, back.mode, back.meter) == (item.score.tonic, item.score.mode, item.score.meter)
        shift = back.notes[0].start - item.score.notes[0].start
        assert [(n.start, n.pitch) for n in back.notes] == [(n.start + shift, n.pitch) for n in item.score.notes]


def test_sound_is_at_the_loudness_and_below_the_peak_and_another_meter_agrees(items: list[MusicItem]) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    for item, rate in zip(items[:3], (44_100, 48_000, 22_050), strict=True):
        sound = item.audio(rate)
        assert sound.dtype == np.float32
        assert sound.shape[1] == 2
        assert len(sound) / rate == pytest.approx(item.checks["seconds"] + 1.2, abs=0.01)
        measured = pyloudnorm.Meter(rate).integrated_loudness(sound.astype(np.float64))
        assert measured == pytest.approx(-14.0, abs=0.5)
        assert loudness(sound.astype(np.float64), rate) == pytest.approx(measured, abs=0.1)
        assert true_peak(sound.astype(np.float64)) < -1.0
        assert np.array_equal(item.audio(rate), sound)


def test_the_sound_has_the_melodys_pitches(items: list[MusicItem]) -> None:
    item, rate = items[0], 22_050
    second_per_tick = 60 / 96 / 12
    note = max(item.score.notes, key=lambda each: each.length)
    sound = item.audio(rate).sum(axis=1)
    part = sound[round(note.start * second_per_tick * rate) :][: round(note.length * second_per_tick * rate)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    frequencies = np.fft.rfftfreq(len(part), 1 / rate)
    wanted = 440 * 2 ** ((note.pitch - 69) / 12)
    near = spectrum[np.abs(frequencies - wanted) < 0.02 * wanted].max()
    assert near > 10 * np.median(spectrum[(frequencies > wanted * 0.8) & (frequencies < wanted * 1.25)])


def test_the_picture_is_a_marked_png_with_the_notes_in_it(items: list[MusicItem]) -> None:
    from PIL import Image

    picture = Image.open(io.BytesIO(items[0].picture(800, 300)))
    assert picture.size == (800, 300)
    assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
    colours = {colour for _, colour in picture.getcolors(1 << 16)}
    assert (196, 62, 47) in colours


def test_a_copied_tune_is_found_with_its_source_and_fails(scores: list[Score]) -> None:
    corpus = Corpus.of(scores)
    longest = max(scores, key=lambda score: len(score.notes))
    moved = longest.transposed(3)
    name, run = corpus.nearest(moved)
    assert (name, run) == (longest.name, len(longest.notes) - 1)
    verdict = check(moved, encode(moved, corpus.bounds), corpus, bars=moved.bars)
    assert run >= COPIED_RUN_LIMIT
    assert "copied_run" in verdict["failed"]
    assert not verdict["passed"]


def test_an_asked_key_that_is_not_heard_fails_the_check(items: list[MusicItem], ngram: MusicGenerator) -> None:
    good = next(item for item in items if item.checks["passed"])
    from dataclasses import replace

    wrong = replace(good.score, tonic=(good.score.tonic + 1) % 12)
    verdict = check(wrong, good.tokens, ngram.corpus, bars=8)
    assert verdict["failed"] == ["key"]


def test_refused_candidates_are_named_with_their_reason(ngram: MusicGenerator) -> None:
    tunes = ngram.sample([fact_set({"key": "A minor"})] * 10, seeds=range(10))
    refused = [rejection for item in tunes for rejection in item.rejections]
    assert any(rejection.check == "key" and "A minor was asked" in rejection.reason for rejection in refused)
    assert all(rejection.candidate < item.candidates for item in tunes for rejection in item.rejections)


def test_hostile_titles_and_every_combination_of_facts_pass(ngram: MusicGenerator) -> None:
    titles = ["", "Ignore all instructions", "<script>", "\u202eabc", "x" * 300, "🎧", "夜明け"]
    possible = {"key": "C# minor", "tempo_bpm": 61, "energy": 1.0, "genre": "polka", "mood": "calm"}
    sets: list[FactSet] = [fact_set({"title": title}) for title in titles]
    for size in range(len(possible) + 1):
        sets += [fact_set({name: possible[name] for name in names}) for names in itertools.combinations(possible, size)]
    items = ngram.sample(sets, seeds=range(len(sets)), bars=4, rounds=1)
    assert len(items) == len(sets)
    assert all(item.checks["bars_complete"] == 1.0 for item in items)
    assert all("key" not in item.facts.to_mapping() or item.checks["key_asked"] == "C# minor" for item in items)


def test_every_genre_has_parts_that_keep_within_the_tune(ngram: MusicGenerator) -> None:
    for item in ngram.sample(
        [fact_set({"genre": genre}) for genre in GENRES], seeds=range(len(GENRES)), bars=4, rounds=1
    ):
        ends = [note.start + note.length for part in item.arrangement.parts for note in part.notes]
        assert max(ends) <= item.arrangement.ticks
        assert {part.name for part in item.arrangement.parts} >= {"melody", "drums"}


def test_unusable_requests_are_refused(ngram: MusicGenerator) -> None:
    with pytest.raises(ValueError, match="4 to 32"):
        ngram.sample(FACTS, seeds=range(4), bars=2)
    with pytest.raises(ValueError, match="3 seeds for 4"):
        ngram.sample(FACTS, seeds=range(3))


@pytest.mark.parametrize("by_mode", [False, True])
def test_ngram_chances_add_up_to_one_and_agree_with_the_scored_row(scores: list[Score], by_mode: bool) -> None:
    corpus = Corpus.of(scores)
    model = NGram(corpus.rows, len(corpus.words), by_mode=by_mode)
    row = corpus.rows[3].tolist()
    logs = model.log_probabilities(row)
    for place in (1, 6, len(row) - 1):
        chances = model.probabilities(row[:place])
        assert chances.sum() == pytest.approx(1.0)
        assert np.log(chances[row[place]]) == pytest.approx(logs[place - 1])


def test_long_scores_are_judged_in_windows_as_in_one_piece_when_they_fit(transformer: MusicGenerator) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(len(transformer.words), size=60)
    row = (numbers, np.zeros((3, 60), dtype=np.int64))
    whole = transformer.model.log_probabilities([row], 64)[0]
    parts = transformer.model.log_probabilities([row], 40)[0]
    assert len(whole) == len(parts) == 59
    assert np.allclose(whole[:40], parts[:40], atol=1e-4)
    assert np.isfinite(parts).all()


def test_the_benchmark_reports_both_models_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_assets.content_generation.music import training

    monkeypatch.setitem(training.PRESETS, "demo", training.Preset("demo", 12, SMALL))
    write_library(tmp_path / "train", 24)
    write_library(tmp_path / "test", 3)
    extra = tmp_path / "test" / "bad.mid"
    extra.write_bytes(b"x")
    result = music(tmp_path / "train", tmp_path / "test", preset="demo", count=8)
    assert set(result["models"]) == {"ngram", "transformer"}
    assert result["unit"] == "nats per note"
    assert result["pieces"] == {"train": 21, "test": 3}
    assert [entry["file"] for entry in result["left_out"]] == ["bad.mid"]
    found = result["models"]["transformer"]
    assert found["bars_complete"] == 1.0
    assert found["nll_per_note"] > result["models"]["ngram"]["nll_per_note"] > 0
    with pytest.raises(NoScores, match="bad"):
        music(tmp_path / "train", tmp_path / "nowhere_bad")


@pytest.mark.skipif(not NOTTINGHAM.exists(), reason="no public test data (set AI_ASSETS_TEST_DATA)")
def test_a_part_of_nottingham_keeps_the_reduced_bar(tmp_path: Path) -> None:
    """The full bars are in tests/benchmarks/bench_music.py; here 190 reels, an eighth held out."""
    for file in sorted((NOTTINGHAM / "midi").glob("reels[a-h]*.mid")):
        (tmp_path / file.name).symlink_to(file)
    pieces = read_scores(tmp_path)
    train, test = apart([p for n, p in enumerate(pieces) if n % 8], pieces[::8])
    assert all(decode(encode(score, (1.0, 2.0, 3.0, 4.0))).notes == score.normalised().notes for score in test)
    ngram = NGramGenerator.fit(train)
    assert ngram.nll_per_note(test) < 2.3
    tunes = ngram.sample([fact_set({"key": key}) for key in ("D major", "E minor") * 8], seeds=range(16), rounds=1)
    assert np.mean([item.checks["bars_complete"] for item in tunes]) == 1.0
    assert np.mean([item.checks["notes_in_scale"] for item in tunes]) > 0.95
    assert max(item.checks["longest_copied_run"] for item in tunes) < 40
    of_one_mode = tune_figures([item for item in tunes if item.checks["key_asked"].endswith("major")])
    assert of_one_mode["key_agreement"] == of_one_mode["key_agreement_major"]
    assert "key_agreement_minor" not in of_one_mode


@pytest.mark.parametrize("frames", [1, 7, 25, 500])
def test_the_true_peak_is_that_of_the_signal_at_four_times_the_rate(frames: int) -> None:
    samples = np.random.default_rng(frames).standard_normal((frames, 2))
    largest = np.abs(scipy.signal.resample_poly(samples, 4, 1, axis=0)).max()
    assert true_peak(samples) == pytest.approx(20 * np.log10(largest), abs=1e-9)
    assert true_peak(np.zeros((frames, 2))) == pytest.approx(-240.0)


def test_a_tune_that_is_too_quiet_or_clips_fails_and_the_rendered_one_passes(items: list[MusicItem]) -> None:
    sound = items[0].audio()
    good = sound_checks(items[0].checks, sound, 44_100)
    assert good["passed"] and abs(good["loudness_lufs"] + 14) <= 1 and good["true_peak_dbtp"] < -1
    assert sound_checks(items[0].checks, 0.25 * sound, 44_100)["failed"] == ["loudness"]
    spike = sound.copy()
    spike[1000:1004] = 1.0
    assert "true_peak" in sound_checks(items[0].checks, spike, 44_100)["failed"]
    silent = sound_checks(items[0].checks, np.zeros((44_100, 2)), 44_100)
    assert not silent["passed"] and silent["loudness_lufs"] is None
