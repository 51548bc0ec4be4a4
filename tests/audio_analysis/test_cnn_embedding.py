"""The convolutional embedding: masked heads, unit vectors, files. Sounds are bands of noise: quick to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai_assets.audio_analysis.cnn import DIM, AudioNetwork, Training, fit, training_for

QUICK = Training(steps=12, batch=12, trained_on="noise bands")


def sounds(n: int = 18, *, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Log-mels whose loud bands are low, middle or high; lengths from one to nine seconds."""
    rng = np.random.default_rng(seed)
    names, mels = ("low", "middle", "high"), []
    for place in range(n):
        mel = rng.normal(-60, 4, (int(rng.integers(40, 400)), 64))
        at = 20 * (place % 3)
        mel[:, at : at + 20] += 50
        mels.append(mel.astype(np.float16))
    return mels, [names[place % 3] for place in range(n)]


@pytest.fixture(scope="module")
def network() -> AudioNetwork:
    mels, labels = sounds()
    moods = [None if place < 9 else ("calm" if label == "low" else "loud") for place, label in enumerate(labels)]
    return fit(mels, {"genre": labels, "mood": moods}, training=QUICK)


def test_vectors_are_unit_and_near_for_fresh_sounds_of_one_kind(network: AudioNetwork) -> None:
    mels, labels = sounds(seed=1)
    vectors = network.embed(mels)
    assert vectors.shape == (18, DIM) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines, same = vectors @ vectors.T, np.equal.outer(labels, labels)
    assert cosines[same].min() > cosines[~same].max()


def test_a_head_learns_from_the_tracks_that_carry_its_label_only(network: AudioNetwork) -> None:
    found = network.predict(sounds(seed=1)[0])
    labels = np.array(sounds(seed=1)[1])
    assert (np.array(network.heads["genre"])[found["genre"].argmax(1)] == labels).mean() > 0.6
    assert found["genre"].shape == (18, 3) and found["mood"].shape == (18, 2)
    assert np.allclose(found["mood"].sum(1), 1, atol=1e-5)
    mels, labels = sounds()
    only_genre = fit(
        mels, {"genre": labels, "mood": [None] * 16 + ["x", "y"]}, training=Training(steps=1, batch=4, seed=3)
    )
    assert np.isfinite(only_genre.predict(mels)["mood"]).all()


def test_empty_and_very_short_log_mels_get_a_unit_vector(network: AudioNetwork) -> None:
    vectors = network.embed([np.empty((0, 64), np.float16), np.full((3, 64), -100, np.float16)])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert network.embed([]).shape == (0, DIM)


def test_the_same_seed_gives_the_same_network_and_files_bring_it_back(network: AudioNetwork, tmp_path: Path) -> None:
    mels, labels = sounds()
    first, second = (fit(mels, {"genre": labels}, training=Training(steps=2, batch=6)) for _ in range(2))
    assert np.array_equal(first.embed(mels), second.embed(mels))
    network.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"cnn.json", "cnn.safetensors"}
    again = AudioNetwork.load(tmp_path)
    assert np.allclose(again.embed(mels), network.embed(mels), atol=1e-6) and again.trained_on == "noise bands"


def test_labels_that_cannot_be_learned_are_refused() -> None:
    mels, labels = sounds(6)
    with pytest.raises(ValueError, match="at least two labels"):
        fit(mels, {"genre": ["low"] * 6}, training=QUICK)
    with pytest.raises(ValueError, match="5 labels for 6"):
        fit(mels, {"genre": labels[:5]}, training=QUICK)


def test_steps_follow_the_number_of_tracks_within_bounds() -> None:
    assert [training_for(n).steps for n in (10, 400, 10**6)] == [500, 625, 3000]
