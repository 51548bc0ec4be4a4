"""The codes that refusals carry, what each means and what to do, in three languages: `error_codes.toml` beside this."""

from __future__ import annotations

import errno
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Language = Literal["en", "de", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "fr")

BY_ERROR = {
    "UsageError": "usage",
    "ValidationError": "setting_invalid",
    "NotThere": "not_there", "NothingToAnswer": "not_there", "ModelNotFound": "not_there", "NoGenerator": "not_there",
    "FactError": "facts_invalid",
    "TableError": "table_unusable", "NoScores": "table_unusable",
    "UnsafeModel": "model_unsafe", "CheckpointError": "model_unsafe", "WrongModel": "model_unsafe",
    "ModelFolderError": "model_unsafe",
    "ReviewError": "review_refused", "ProvenanceError": "review_refused", "TextRefused": "review_refused",
    "BackupRefused": "backup_refused",
    "KeyChanged": "key_changed",
    "AuditBroken": "audit_broken",
    "DatabaseBehind": "database_behind",
    "NoBroker": "no_broker",
    "PathRefused": "path_refused",
    "StorageFault": "storage_fault",
    "PermissionError": "no_permission",
    "PortTaken": "port_taken",
    "NotReady": "not_ready",
    "StreamUnavailable": "not_durable",
    "PermanentError": "permanent",
}  # fmt: skip
"""The code of an exception by the name of its class or of the nearest parent; the classes stand in many rooms."""


@dataclass(frozen=True)
class Code:
    """One code: where it is met (quarantine, command line, api, alert), and per language meaning and remedy."""

    name: str
    where: str
    texts: dict[Language, tuple[str, str]]

    def meaning(self, language: Language = "en") -> str:
        return self.texts[language][0]

    def remedy(self, language: Language = "en") -> str:
        return self.texts[language][1]


@cache
def codes() -> dict[str, Code]:
    """All codes by name, in the order of the file."""
    entries = tomllib.loads((files("resources") / "error_codes.toml").read_text(encoding="utf-8"))
    return {
        name: Code(name, entry["where"], {language: (entry[language][0], entry[language][1]) for language in LANGUAGES})
        for name, entry in entries.items()
    }


def remedy(code: str) -> str:
    """What to do, in English; empty for a code of an older or newer release."""
    known = codes().get(code)
    return known.remedy() if known else ""


def code_of(error: BaseException) -> str:
    """The code of an exception; `failed` where it has none of its own."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk_full"
    return next((BY_ERROR[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in BY_ERROR), "failed")
