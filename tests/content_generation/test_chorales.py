"""The model of voices that sound together: what is counted, that it learns, that it does not look ahead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ai_assets.content_generation.music.chorales import REACH, ChoraleError, ChoraleSize, fit, read_parts

SMALL = ChoraleSize(width=32, layers=1, heads=2)


def pieces(count: int, frames: int = 64, *, seed: int = 0) -> list[np.ndarray]:
    """Three voices that hold each pitch for four frames; the bass follows the soprano an octave and a fifth below."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        soprano = np.repeat(rng.choice([40, 42, 44, 45, 47], frames // 4), 4)
        found.append(np.stack([soprano, np.full(frames, 37), soprano - 19], axis=1))
    return found


@pytest.fixture(scope="module")
def model():
    return fit(pieces(24), steps=60, size=SMALL)


def test_it_learns_what_follows_and_counts_every_voice_of_every_frame(model) -> None:
    held_out = pieces(4, seed=9)
    nats = model.nats(held_out[0])
    assert nats.shape == held_out[0].shape
    assert model.nll_per_note(held_out) == pytest.approx(np.mean([model.nats(piece) for piece in held_out]), rel=1e-6)
    untrained = fit(pieces(24), steps=1, size=SMALL)
    assert model.nll_per_note(held_out) < 0.5 * untrained.nll_per_note(held_out)


def test_a_frame_is_judged_by_what_was_before_it_alone(model) -> None:
    piece = pieces(1, frames=3 * REACH, seed=4)[0]
    changed = piece.copy()
    changed[200:, 0] += 1
    before, after = model.nats(piece), model.nats(changed)
    assert np.allclose(before[:200], after[:200], atol=1e-5)
    assert not np.allclose(before[200:], after[200:], atol=1e-3)


def test_the_same_call_gives_the_same_model() -> None:
    one, two = (fit(pieces(6), steps=3, size=SMALL, seed=5) for _ in range(2))
    assert one.nll_per_note(pieces(1)) == two.nll_per_note(pieces(1))


def test_rests_and_odd_files_are_read_or_named(tmp_path: Path) -> None:
    good = {name: [[[60, -1, 48], [60, None, 48], [62, 55, 50]]] for name in ("train", "valid", "test")}
    file = tmp_path / "parts.json"
    file.write_text(json.dumps(good))
    assert read_parts(file)["train"][0].tolist() == [[40, 0, 28], [40, 0, 28], [42, 35, 30]]
    for bad in ("{", "[]", json.dumps({**good, "test": []}), json.dumps({**good, "test": [[[60], [60]]]}),
                json.dumps({**good, "test": [[[600, 1, 1], [60, 1, 1]]]}), json.dumps({"train": good["train"]})):  # fmt: skip
        file.write_text(bad)
        with pytest.raises(ChoraleError, match=r"parts\.json"):
            read_parts(file)
    with pytest.raises(ChoraleError, match="gone"):
        read_parts(tmp_path / "gone.json")
