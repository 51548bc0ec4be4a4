"""Checks of indices and recommendations. Plain functions from frames or facts to verdicts."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from ai_assets.contract import Check, Verdict
from ai_assets.recommendation_update.hubness import BOUND, Hubness
from ai_assets.recommendation_update.playlist_memory import repeats

if TYPE_CHECKING:
    import pandas as pd

LEAST_RECALL = 0.95
LEAST_CANDIDATES = 0.3


def recall(facts: Mapping[str, Any]) -> Verdict:
    """Recall@10 of the index against exact search."""
    value = float(facts["recall"])
    return Verdict(value >= LEAST_RECALL, f"recall@10 {value:.3f} over {facts['count']} vectors", {"recall": value})


def hubs(before: Hubness, after: Hubness | None) -> Verdict:
    """Are there strong hubs among the neighbours, also after the correction (where one was needed)?"""
    shown = after or before
    numbers = {"skewness": before.skewness, "never_in_a_list": before.never, "strongest_hub": before.most}
    if after is not None:
        numbers |= {"corrected_skewness": after.skewness, "corrected_never_in_a_list": after.never}
    text = f"skewness {shown.skewness:.2f} (bound {BOUND}), {shown.never:.0%} of the tracks are in no list"
    if after is not None:
        text += f"; before the correction {before.skewness:.2f} and {before.never:.0%}"
    return Verdict(shown.skewness <= BOUND, text, numbers)


def absent(reason: str) -> Verdict:
    """There is no index to judge."""
    return Verdict(True, reason)


def _positives(rows: pd.DataFrame) -> Verdict:
    if rows.empty:
        return Verdict(True, "no data yet")
    share = float(rows["label"].mean())
    return Verdict(share > 0, f"{share:.1%} of the candidates were played afterwards", {"positive_share": share})


def _candidate_recall(rows: pd.DataFrame) -> Verdict:
    """Do the candidates hold what was played afterwards? No ranking can bring back what they miss."""
    from ai_assets.recommendation_update.build import candidate_recall

    test = rows[rows["window"] == "test"]
    if test.empty:
        return Verdict(True, "no data yet")
    value = candidate_recall(test)
    text = f"{value:.1%} of a listener's later first plays are among the candidates (bound {LEAST_CANDIDATES:.0%})"
    return Verdict(value >= LEAST_CANDIDATES, text, {"candidate_recall": value})


def _no_repeats(rows: pd.DataFrame) -> Verdict:
    repeats = int(rows.duplicated(["listener", "track"]).sum()) if len(rows) else 0
    return Verdict(repeats == 0, f"{repeats} tracks stand twice in a list", {"repeats": repeats})


def _one_version(rows: pd.DataFrame) -> Verdict:
    """Does a list name two versions of one song?"""
    if rows.empty:
        return Verdict(True, "no playlists yet")
    from ai_assets.recommendation_update.recordings import song_keys

    # compared in Python: pandas ends a text at the NUL that song keys hold
    songs = list(zip(rows["playlist"], song_keys(rows["title"], rows["artist"]), strict=True))
    known = [pair for pair in songs if pair[1]]
    twice = len(known) - len(set(known)) + int(rows.duplicated(["playlist", "track"]).sum())
    return Verdict(twice == 0, f"{twice} songs stand twice in a list", {"twice": twice})


def unheard(rows: pd.DataFrame, heard: Mapping[str, Container[str]]) -> Verdict:
    """Is every track of a discovery list new to its listener? `heard`: ids of tracks by listener."""
    found = rows[rows["kind"] == "discovery"]
    known = sum(track in heard.get(name, ()) for name, track in zip(found["listener"], found["track"], strict=True))
    return Verdict(known == 0, f"{known} of {len(found):,} discoveries had been heard before", {"heard": known})


def _playlist_length(rows: pd.DataFrame) -> Verdict:
    if rows.empty:
        return Verdict(True, "no playlists yet")
    short = rows.groupby("playlist").size().lt(3).sum()
    return Verdict(short == 0, f"{short} playlists have fewer than three tracks", {"short": int(short)})


def _coverage(rows: pd.DataFrame) -> Verdict:
    found = rows[(rows["metric"] == "coverage") & (rows["group"] == "all")]["value"]
    value = float(found.iloc[0]) if len(found) else 0.0
    return Verdict(
        rows.empty or value >= 0.1, f"{value:.0%} of the catalogue is recommended to somebody", {"coverage": value}
    )


INDEX_RECALL = Check("recall", "The index finds at least 95 % of the exact nearest neighbours.", None, True)
HUBNESS = Check("hubness", "No track is a neighbour of far more tracks than others, after the correction.", None)
POSITIVES = Check("positives", "Some candidates were played afterwards, so there is something to learn.", _positives)
CANDIDATE_RECALL = Check(
    "candidate_recall", "The candidates hold at least 30 % of what is played afterwards.", _candidate_recall
)
NO_REPEATS = Check("no_repeats", "No track stands twice in a listener's list.", _no_repeats, True)
PLAYLIST_LENGTH = Check("length", "Every playlist has at least three tracks.", _playlist_length)
ONE_VERSION = Check("one_version", "No playlist names a song twice, in whatever version.", _one_version, True)
UNHEARD = Check("unheard", "No discovery had been heard by its listener before.", None, True)
NOT_AGAIN = Check("not_again", "No discovery list gives what an earlier one gave within 60 days.", repeats, True)
COVERAGE = Check("coverage", "At least a tenth of the catalogue is recommended to somebody.", _coverage)
NEW_LISTENERS = Check("new_listeners", "For a new listener the lists are never surely worse than popular tracks.", None)
KEEPS_UP = Check(
    "keeps_up", "Folding new plays into the items is not surely worse than folding in listeners alone.", None
)
BEATS_RETRIEVAL = Check("beats_retrieval", "Ranking is better than retrieval alone on unseen days, for sure.", None)
