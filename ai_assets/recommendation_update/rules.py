"""Which tracks may be shown: rules as rows, compiled into a mask by one function that every surface goes through.

A rule excludes. Deleted tracks and synthetic ones (the canary's) are excluded always. Where rules lie is `rule_store`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.recordings import kind_of

Mask = NDArray[np.bool_]

TEXT_FIELDS = ("artist", "album", "folder", "genre", "kind", "track", "title")
FIELDS = (*TEXT_FIELDS, "duration")
TEXT_OPERATORS = ("is", "begins_with", "contains")
NUMBER_OPERATORS = ("longer_than", "shorter_than")
_SEASON = re.compile(r"(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)")


@dataclass(frozen=True)
class Rule:
    """One exclusion.

    Attributes:
        field: `artist album folder genre kind track title` (text, compared case-folded) or `duration` (seconds). A
            folder holds everything below it; the kind is what the title says of the version (`live`, `remix`, …, else
            `studio`).
        operator: `is`, `begins_with`, `contains` for text; `longer_than`, `shorter_than` for the duration.
        listener: pseudonym the rule holds for; None = all listeners.
        season: `MM-DD..MM-DD`, both days included, may run over new year: the rule holds on these days (UTC) of every
            year only; "" = always.
    """

    field: str
    operator: str
    value: str
    listener: str | None = None
    season: str = ""

    @property
    def scope(self) -> Literal["all", "listener"]:
        return "all" if self.listener is None else "listener"

    def checked(self) -> Rule:
        """The rule itself. Raises ValueError that names what is wrong and what was expected."""
        if self.field not in FIELDS:
            raise ValueError(f"rule field {self.field!r}: expected one of {', '.join(FIELDS)}")
        operators = TEXT_OPERATORS if self.field in TEXT_FIELDS else NUMBER_OPERATORS
        if self.operator not in operators:
            raise ValueError(f"rule operator {self.operator!r} on {self.field}: expected one of {', '.join(operators)}")
        if not self.value.strip():
            raise ValueError(f"rule {self.field} {self.operator}: the value is empty, it would hold for every track")
        if self.field == "duration" and not (_number(self.value) >= 0):
            raise ValueError(f"rule duration {self.operator} {self.value!r}: expected seconds, 0 or more")
        if self.season:
            _season(self.season)
        return self

    def holds(self, listener: str | None, day: date) -> bool:
        """Does it hold for this listener on this day?"""
        if self.listener is not None and self.listener != listener:
            return False
        if not self.season:
            return True
        first, last = _season(self.season)
        today = (day.month, day.day)
        return first <= today <= last if first <= last else today >= first or today <= last


class Columns(Protocol):
    """What `allowed_mask` reads: which tracks may be shown at all, and which a rule matches."""

    @property
    def shown(self) -> Mask: ...

    def matches(self, rule: Rule) -> Mask: ...


@dataclass(frozen=True)
class RuleColumns:
    """The catalogue as rules read it, made once per snapshot; a text column is folded when a rule first reads it.

    Attributes:
        shown: (items,) True where a track is neither deleted nor synthetic.
        catalogue: the columns; seconds: (items,) duration, NaN where unknown.
    """

    shown: Mask
    catalogue: Mapping[str, NDArray[Any]]
    seconds: NDArray[np.float64]
    _texts: dict[str, NDArray[np.str_]] = field(default_factory=dict, repr=False, compare=False)
    _matched: dict[tuple[str, str, str], Mask] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, catalogue: Mapping[str, NDArray[Any]]) -> RuleColumns:
        """From columns `track title artist album genre root path duration_seconds deleted`, and `synthetic` if any."""
        hidden = catalogue["deleted"].astype(bool)
        if "synthetic" in catalogue:
            hidden = hidden | catalogue["synthetic"].astype(bool)
        return cls(~hidden, catalogue, np.asarray(catalogue["duration_seconds"], np.float64))

    def text(self, name: str) -> NDArray[np.str_]:
        """(items,) case-folded text of a field."""
        if name not in self._texts:
            self._texts[name] = _folded(_values(self.catalogue, name), len(self.shown))
        return self._texts[name]

    def matches(self, rule: Rule) -> Mask:
        """(items,) True where the rule applies, whoever asks and whenever."""
        key = (rule.field, rule.operator, rule.value)
        if key not in self._matched:
            if len(self._matched) >= 1_000:
                self._matched.clear()
            self._matched[key] = self._match(rule.checked())
        return self._matched[key]

    def _match(self, rule: Rule) -> Mask:
        if rule.field == "duration":
            bound = float(rule.value)
            with np.errstate(invalid="ignore"):
                return self.seconds > bound if rule.operator == "longer_than" else self.seconds < bound
        texts, wanted = self.text(rule.field), rule.value.strip().casefold()
        if rule.field == "folder" and rule.operator == "is":
            # a folder is named by the whole way to it, or by the way below its root
            wanted = wanted.strip("/") + "/"
            slashed = np.char.add("/", texts)
            return np.char.startswith(texts, wanted) | (np.char.find(slashed, "/" + wanted) >= 0)
        if rule.operator == "is":
            return np.asarray(texts == wanted)
        if rule.operator == "begins_with":
            return np.asarray(np.char.startswith(texts, wanted))
        return np.asarray(np.char.find(texts, wanted) >= 0)


@dataclass(frozen=True)
class ChangedColumns:
    """Columns of a catalogue of which some tracks have changed or been added since `before` was made.

    Attributes:
        places: item codes of the changed tracks, whose columns are `changed`; all codes behind `before` are among them.
    """

    before: Columns
    changed: Columns
    places: NDArray[np.int64]

    @property
    def shown(self) -> Mask:
        return self._joined(self.before.shown, self.changed.shown)

    def matches(self, rule: Rule) -> Mask:
        """(items,) True where the rule applies."""
        return self._joined(self.before.matches(rule), self.changed.matches(rule))

    def _joined(self, before: Mask, changed: Mask) -> Mask:
        whole = np.zeros(max(len(before), int(self.places.max(initial=-1)) + 1), bool)
        whole[: len(before)] = before
        whole[self.places] = changed
        return whole


def allowed_mask(
    columns: Columns, rules: Iterable[Rule] = (), *, listener: str | None = None, day: date | None = None
) -> Mask:
    """(items,) True where a track may be shown to this listener on this day (today, UTC): a fresh array.

    Raises:
        ValueError: a rule with an unknown field or operator.
    """
    today = day or datetime.now(UTC).date()
    mask = columns.shown.copy()
    for rule in rules:
        if rule.holds(listener, today):
            mask &= ~columns.matches(rule)
    return mask


def _folded(values: Iterable[Any], count: int) -> NDArray[np.str_]:
    texts = np.empty(count, object)
    texts[:] = ["" if value is None or value != value else str(value).strip().casefold() for value in values]
    return texts.astype(str)


def _values(catalogue: Mapping[str, NDArray[Any]], name: str) -> Iterable[Any]:
    """What a text field reads of each track."""
    if name == "kind":
        return [kind_of(str(title or "")) for title in catalogue["title"]]
    if name == "folder":
        places = zip(catalogue["root"], catalogue["path"], strict=True)
        return [f"{root}/{path}" if path else "" for root, path in places]
    return catalogue[name]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _season(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    found = _SEASON.fullmatch(text)
    try:
        numbers = [int(part) for part in found.groups()] if found else []
        for month, day in zip(numbers[::2], numbers[1::2], strict=True):
            date(2024, month, day)
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise ValueError(f"rule season {text!r}: expected MM-DD..MM-DD, for example 12-01..01-06")
    return (numbers[0], numbers[1]), (numbers[2], numbers[3])
