"""Every code that the house gives is explained in three languages, and nothing is explained that nobody gives."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from ai_assets.model_training.external_runtimes import WrongModel
from resources.error_codes import BY_ERROR, LANGUAGES, code_of, codes, remedy
from resources.isolation import OutcomeStatus
from resources.roots import StorageFault

ROOT = Path(__file__).parents[2]
SOURCES = [path for room in ("ai_assets", "resources", "sensors") for path in sorted((ROOT / room).rglob("*.py"))]
# How the code names a code: Refused("future", …), code="…", _reject(table, rows, "…"), Alert(key, "…"), "code": "…".
GIVEN = [
    r'\bRefused\(\s*"([a-z_]+)"', r'\bcode="([a-z_]+)"', r'_reject\([^)]*,\s*"([a-z_]+)"\)', r'"code": "([a-z_]+)"',
    r'Rejected\([^)]*"([a-z_]+)"\)', r'RefusedFile\([^)]*"([a-z_]+)"\)', r'\bAlert\(\s*f?"[^"]*",\s*"([a-z_]+)"',
    r'_refuse\(send, \d+, "([a-z_]+)"',
]  # fmt: skip


def given() -> set[str]:
    """Every code that the sources give, and those made of a status."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCES if path.parts[-2] != "guard"]
    named = {code for text in texts for pattern in GIVEN for code in re.findall(pattern, text)}
    audio = {f"audio_{status}" for status in ("partial", "refused", "timeout", "killed", "limit")}
    external = {f"external_{status}" for status in OutcomeStatus.__args__ if status != "ok"}
    return named | audio | external | set(BY_ERROR.values()) | {"failed", "disk_full"}


def test_every_code_that_is_given_is_explained_and_every_explained_one_is_given() -> None:
    assert given() == set(codes())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_code_says_what_it_means_and_what_to_do_in_each_language(language: str) -> None:
    for name, code in codes().items():
        meaning, what = code.texts[language]
        assert meaning.endswith((".", ")", ").")) and what.endswith((".", ")")), name
        assert all((meaning, what) != code.texts[other] for other in LANGUAGES if other != language), name
        assert set(code.where.split(", ")) <= {"quarantine", "command line", "api", "alert"}, name


def test_an_error_has_the_code_of_its_class_or_of_the_nearest_parent() -> None:
    assert code_of(WrongModel("x")) == "model_unsafe"
    assert code_of(StorageFault(errno.EIO, "x", "y")) == "storage_fault"
    assert code_of(OSError(errno.ENOSPC, "full")) == "disk_full"
    assert code_of(ZeroDivisionError()) == "failed"
    assert remedy("audio_partial") and remedy("of another release") == ""
    known = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    builtin = {"UsageError", "ValidationError", "PermissionError"}
    assert not [name for name in BY_ERROR if name not in builtin and f"class {name}(" not in known]
