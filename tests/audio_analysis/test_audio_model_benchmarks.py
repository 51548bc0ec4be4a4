"""`benchmark classify` and `benchmark anomaly` on made sounds, and reduced bars on public data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ai_assets.benchmarks.anomaly import anomaly
from ai_assets.benchmarks.classify import classify
from ai_assets.benchmarks.labelled_audio import TableError


def write_table(path: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 tones, 12 noises, a silent file and a file that is no audio."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    seconds = np.arange(22_050) / 22_050
    for place in range(12):
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 800) * seconds) + 0.01 * rng.normal(size=22_050)
        soundfile.write(folder / f"tone{place}.wav", tone, 22_050)
        soundfile.write(folder / f"noise{place}.wav", rng.uniform(0.05, 0.3) * rng.normal(size=22_050), 22_050)
    soundfile.write(folder / "silent.wav", np.zeros(22_050), 22_050)
    (folder / "text.wav").write_text("no audio")
    return folder


def labelled(folder: Path, *columns: str) -> Path:
    rows = [(f"{kind}{n}.wav", kind, f"{kind}{n // 2}", n % 3) for kind in ("tone", "noise") for n in range(12)]
    rows += [("silent.wav", "tone", "silent", 0), ("text.wav", "tone", "text", 1)]
    kept = [("path", "label", "group", "fold").index(name) for name in ("path", "label", *columns)]
    name = "-".join(("table", *columns))
    return write_table(
        folder / f"{name}.csv", ("path", "label", *columns), [tuple(row[at] for at in kept) for row in rows]
    )


def test_folds_of_the_table_are_used_silent_files_count_and_unreadable_ones_are_listed(tones: Path) -> None:
    found = classify(labelled(tones, "fold"), with_cnn=False, workers=1)
    assert found["protocol"] == "leave one fold out, column fold (3 folds)"
    assert set(found["models"]) == {"lightgbm", "lda", "majority"} and found["served"] in ("lightgbm", "lda")
    assert found["files"] == {"trained": 25, "scored": 25} and list(found["left_out"]) == ["text.wav"]
    assert found["models"][found["served"]]["accuracy"] >= 24 / 25 > found["models"]["majority"]["accuracy"] + 0.3
    assert found["linear_embedding"]["p_at_1"] > 0.9 and set(found["random_split"]) == {"lightgbm", "lda"}


def test_without_folds_groups_stay_together_and_without_groups_it_says_random(tones: Path) -> None:
    assert classify(labelled(tones, "group"), with_cnn=False, workers=1)["protocol"] == "grouped 5-fold, column group"
    found = classify(labelled(tones), with_cnn=False, workers=1)
    assert found["protocol"].startswith("random 5-fold") and found["random_split"] == {}


def test_a_test_table_is_scored_by_what_the_first_table_taught(tones: Path) -> None:
    head = ("path", "label")
    train = [(f"{kind}{n}.wav", kind) for kind in ("tone", "noise") for n in range(8)]
    test = [(f"{kind}{n}.wav", kind) for kind in ("tone", "noise") for n in range(8, 12)]
    first = write_table(tones / "train.csv", head, train)
    right = classify(first, test=write_table(tones / "right.csv", head, test), with_cnn=False, workers=1)
    swapped = [(path, {"tone": "noise", "noise": "tone"}[label]) for path, label in test]
    wrong = classify(first, test=write_table(tones / "wrong.csv", head, swapped), with_cnn=False, workers=1)
    assert right["files"] == {"trained": 16, "scored": 8} and right["models"]["lda"]["accuracy"] == 1.0
    assert wrong["models"]["lda"]["accuracy"] == 0.0 and wrong["served"] == right["served"]


def test_a_label_that_only_the_test_table_has_counts_as_wrong(tones: Path) -> None:
    head = ("path", "label")
    train = [(f"{kind}{n}.wav", kind) for kind in ("tone", "noise") for n in range(8)]
    test = write_table(tones / "new.csv", head, [("tone9.wav", "tone"), ("noise9.wav", "hiss")])
    found = classify(write_table(tones / "train.csv", head, train), test=test, with_cnn=False, workers=1)
    assert found["models"]["lda"]["accuracy"] == 0.5


def test_strange_sounds_rank_above_usual_ones(tones: Path) -> None:
    normal = write_table(tones / "normal.csv", ("path",), [(f"tone{n}.wav",) for n in range(10)])
    rows = [("tone10.wav", 0), ("tone11.wav", 0), *[(f"noise{n}.wav", 1) for n in range(4)]]
    found = anomaly(normal, write_table(tones / "strange.csv", ("path", "anomalous"), rows), workers=1)
    assert set(found["detectors"]) == {"mahalanobis", "knn"} and found["served"] in found["detectors"]
    assert all(each["auroc"] == 1.0 == each["partial_auroc"] for each in found["detectors"].values())


def test_tables_that_cannot_be_used_are_named_with_the_line(tones: Path) -> None:
    with pytest.raises(TableError, match="no such table"):
        classify(tones / "none.csv")
    with pytest.raises(TableError, match="column label missing"):
        classify(write_table(tones / "a.csv", ("path",), [("tone0.wav",)]))
    with pytest.raises(TableError, match="line 3 has no label"):
        classify(write_table(tones / "b.csv", ("path", "label"), [("tone0.wav", "x"), ("tone1.wav", "")]))
    with pytest.raises(TableError, match="line 2 has anomalous '2'"):
        anomaly(
            write_table(tones / "c.csv", ("path",), [("tone0.wav",)]),
            write_table(tones / "d.csv", ("path", "anomalous"), [("tone0.wav", 2)]),
        )


def test_instruments_of_unheard_pitches_are_recognised(public_data: Path, tmp_path: Path) -> None:
    """A reduced case of the bar on all 586 notes: six instruments, grouped by pitch."""
    with (public_data / "philharmonia_notes" / "notes.csv").open(newline="") as file:
        notes = list(csv.DictReader(file))
    chosen = sorted({row["instrument"] for row in notes})[:6]
    audio = public_data / "philharmonia_notes" / "audio"
    rows = [(audio / row["filename"], row["instrument"], row["midi"]) for row in notes if row["instrument"] in chosen]
    found = classify(write_table(tmp_path / "notes.csv", ("path", "label", "group"), rows), with_cnn=False, workers=1)
    assert found["models"][found["served"]]["accuracy"] >= 0.93 > 0.3 > found["models"]["majority"]["accuracy"]


def test_four_kinds_of_sound_are_recognised_in_unheard_sources(public_data: Path, tmp_path: Path) -> None:
    """A reduced case of the bar on ESC-10: four classes, leave one fold out."""
    with (public_data / "esc10" / "esc10.csv").open(newline="") as file:
        clips = [row for row in csv.DictReader(file) if int(row["target"]) < 4]
    rows = [(public_data / "esc10" / "audio" / row["filename"], row["category"], row["fold"]) for row in clips]
    found = classify(write_table(tmp_path / "esc.csv", ("path", "label", "fold"), rows), with_cnn=False, workers=1)
    assert found["models"][found["served"]]["accuracy"] >= 0.85
    assert found["linear_embedding"]["p_at_10"] >= 0.75
