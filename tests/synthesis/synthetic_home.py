"""What the fixtures of this folder hand to its tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ai_assets.synthesis.library import LibraryReport
from ai_assets.synthesis.listeners import SimulationReport

END_DAY = date(2026, 3, 15)


@dataclass(frozen=True)
class Library:
    audio: Path
    scores: Path
    truth_dir: Path
    report: LibraryReport
    truth: list[dict[str, Any]]

    @property
    def whole(self) -> list[dict[str, Any]]:
        return [record for record in self.truth if record["odd"] is None]

    def odd(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.truth if record["odd"] == kind]


@dataclass(frozen=True)
class Listening:
    events_dir: Path
    truth_dir: Path
    report: SimulationReport
