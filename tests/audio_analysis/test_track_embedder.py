"""Unit vectors from feature rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai_assets.audio_analysis.track_embedder import TrackEmbedder, fit, retrieval_precision


def rows(*, n: int = 90, width: int = 40, seed: int = 0):
    """Three sounds that differ in five quiet columns, under loud columns that mean nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(["a", "b", "c"], n // 3)
    X = rng.normal(0, 1, (n, width))
    X[:, :20] += 3 * rng.normal(0, 1, (n, 1))
    X[:, -5:] += 2 * np.random.default_rng(5).normal(0, 1, (3, 5))[np.repeat(np.arange(3), n // 3)]
    return X, labels


def test_vectors_are_unit_single_precision_and_of_the_asked_length() -> None:
    X, labels = rows()
    embedder, metrics = fit(X, labels, dim=16)
    vectors = embedder.embed(X)
    assert vectors.shape == (90, 16) and vectors.dtype == np.float32 and metrics["discriminants"] == 2
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_labels_lift_retrieval_on_rows_that_were_not_trained_on() -> None:
    X, labels = rows()
    fresh, fresh_labels = rows(seed=1)

    def precision(embedder: TrackEmbedder) -> float:
        found = retrieval_precision(embedder.embed(fresh), fresh_labels, embedder.embed(X), labels, k=10)
        return float(found.mean())

    assert precision(fit(X, labels)[0]) > precision(fit(X, None)[0]) + 0.1


def test_the_average_recording_missing_values_and_absurd_ones_get_a_vector_too() -> None:
    X, labels = rows()
    embedder, _ = fit(X, labels)
    odd = np.stack([X.mean(0), np.full(40, np.nan), np.full(40, 1e300), np.full(40, -np.inf)])
    assert np.allclose(np.linalg.norm(embedder.embed(odd), axis=1), 1, atol=1e-6)


def test_tracks_without_a_label_take_part_and_labels_with_few_rows_are_overlooked() -> None:
    X, labels = rows()
    some = labels.astype(object)
    some[::2] = None
    some[1] = "rare"
    assert fit(X, some)[1]["discriminants"] == 2
    assert fit(X, np.full(len(X), None, object))[1]["discriminants"] == 0


def test_few_tracks_give_shorter_vectors_and_identical_ones_are_refused() -> None:
    X, _ = rows()
    assert fit(X[:4], None)[0].dim == 3
    with pytest.raises(ValueError, match="at least two"):
        fit(X[:1], None)
    with pytest.raises(ValueError, match="same features"):
        fit(np.ones((5, 40)), None)


def test_saved_and_loaded_it_is_the_same_and_the_version_follows_the_content(tmp_path: Path) -> None:
    X, labels = rows()
    embedder, _ = fit(X, labels)
    embedder.save(tmp_path)
    again = TrackEmbedder.load(tmp_path)
    assert again.version == embedder.version == fit(X, labels)[0].version
    assert np.array_equal(again.embed(X), embedder.embed(X))
    other, _ = fit(X[:-1], labels[:-1])
    assert other.version != embedder.version
    other.save(tmp_path / "other")
    (tmp_path / "other" / "embedder.npz").replace(tmp_path / "embedder.npz")
    with pytest.raises(ValueError, match="does not belong"):
        TrackEmbedder.load(tmp_path)


def test_precision_at_k_by_hand() -> None:
    library = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    found = retrieval_precision(library[:1], np.array(["x"]), library, np.array(["x", "y", "x"]), k=2)
    assert found.tolist() == [0.5]
