"""One small library and one small simulation, made once for all tests of this folder."""

from __future__ import annotations

import pytest
from synthetic_home import END_DAY, Library, Listening

from ai_assets.synthesis.library import read_truth, synthesise_library
from ai_assets.synthesis.listeners import simulate_listening


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    home = tmp_path_factory.mktemp("library")
    folders = home / "audio", home / "scores", home / "truth"
    report = synthesise_library(*folders, size="tiny", seed=0, workers=2)
    return Library(*folders, report, read_truth(home / "truth"))


@pytest.fixture(scope="session")
def listening(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Listening:
    home = tmp_path_factory.mktemp("listening")
    report = simulate_listening(library.truth, home / "events", home / "truth", size="tiny", seed=0, end_day=END_DAY)
    return Listening(home / "events", home / "truth", report)
