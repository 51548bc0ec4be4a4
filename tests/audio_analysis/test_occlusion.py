"""Occlusion finds the part of the spectrogram that decides."""

from __future__ import annotations

import numpy as np

from ai_assets.audio_analysis.cnn import BANDS, FRAMES, Training, fit
from ai_assets.audio_analysis.occlusion import occlusion, picture


def test_the_tile_that_decides_stands_out_and_is_drawn() -> None:
    log_mel = np.random.default_rng(0).uniform(-80, -60, (50, 64)).astype(np.float32)
    log_mel[30:40, 16:24] = 0.0
    fall = occlusion(log_mel, lambda many: np.array([one[30:40, 16:24].mean() / 80 + 1 for one in many]), frames=10)
    assert fall.shape == (5, 8) and np.unravel_index(fall.argmax(), fall.shape) == (3, 2)
    assert fall[3, 2] > 0.9 and np.abs(np.delete(fall.ravel(), 26)).max() == 0
    assert picture(log_mel, fall, label="folk", hop_seconds=0.02)[:4] == b"\x89PNG"


def test_a_trained_network_rests_on_the_band_that_differs() -> None:
    """Two classes that differ in one stripe of bands: silencing it costs more than silencing any other."""
    rng = np.random.default_rng(1)
    mels = [rng.uniform(-75, -55, (FRAMES, BANDS)).astype(np.float32) for _ in range(24)]
    for place, mel in enumerate(mels):
        mel[:, :2] = -5.0  # something loud in both, so that loudness alone tells nothing
        mel[:, (40 if place % 2 else 16) : (48 if place % 2 else 24)] = -10.0
    labels = ["high" if place % 2 else "low" for place in range(24)]
    network = fit(mels, {"place": labels}, training=Training(steps=60, batch=12))
    at = network.heads["place"].index("high")
    fall = occlusion(mels[1], lambda many: network.predict(many)["place"][:, at], frames=FRAMES)
    assert fall.shape == (1, 8) and fall[0].argmax() == 5
