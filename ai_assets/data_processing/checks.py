"""Checks of the data-processing tables beyond their schemas. Plain functions from frames or counts to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ai_assets.contract import Check, Verdict
from ai_assets.data_processing import drift
from ai_assets.data_processing.point_in_time import overlapping_splits

if TYPE_CHECKING:
    import pandas as pd

    from ai_assets.data_processing.raw_store import Reading

READING_COLUMNS = ("read", "accepted", "quarantined", "duplicates")


def inventory(listed: int, described: int, refused: int) -> Verdict:
    """Files of a batch = described + refused."""
    missing = listed - described - refused
    return Verdict(
        missing == 0,
        f"{listed} files listed = {described} described + {refused} refused" + (f"; {missing} lost" if missing else ""),
        {"listed": listed, "described": described, "refused": refused},
    )


def event_inventory(readings: Sequence[Reading]) -> Verdict:
    """Lines read = accepted + quarantined + duplicates, in every file."""
    wrong = [item.source for item in readings if item.read != item.accepted + item.quarantined + item.duplicates]
    return Verdict(not wrong, f"lines do not add up in {wrong[:5]}" if wrong else f"{len(readings)} files add up")


def _distinct_tracks(events: pd.DataFrame) -> Verdict:
    if events.empty:
        return Verdict(True, "no events")
    share = events["track"].value_counts(normalize=True).iloc[0]
    return Verdict(
        len(events) < 100 or share < 0.5,
        f"the most played track has {share:.0%} of the events",
        {"share": float(share)},
    )


def _skip_rate(rows: pd.DataFrame) -> Verdict:
    plays = int(rows["plays"].sum()) if len(rows) else 0
    rate = float(rows["skips"].sum()) / plays if plays else 0.0
    return Verdict(plays < 100 or rate < 0.9, f"{rate:.0%} of {plays:,} plays were skipped", {"skip_rate": rate})


def _one_track_per_audio(files: pd.DataFrame) -> Verdict:
    torn = files.groupby("audio_hash")["track"].nunique() if len(files) else files.get("track")
    count = int((torn > 1).sum()) if torn is not None and len(files) else 0
    return Verdict(count == 0, f"{count} recordings are held by more than one track", {"torn": count})


def _named_tracks(tracks: pd.DataFrame) -> Verdict:
    nameless = int((tracks["artist"] == "Unknown artist").sum()) if len(tracks) else 0
    share = nameless / len(tracks) if len(tracks) else 0.0
    return Verdict(share <= 0.5, f"{nameless} of {len(tracks)} tracks have no artist tag", {"nameless": nameless})


def point_in_time(wrong: Sequence[str]) -> Verdict:
    """Sampled rows of a feature table are what the days before say."""
    return Verdict(
        not wrong,
        f"{len(wrong)} sampled values know more than the days before, first: {wrong[0].partition(' on ')[2]}"
        if wrong
        else "every sampled row is what the days before it say",
        {"wrong_values": len(wrong)},
    )


def _splits_in_order(splits: pd.DataFrame) -> Verdict:
    wrong = overlapping_splits(splits)
    return Verdict(not wrong, "; ".join(wrong[:3]) or f"{len(splits)} days, one part after the other")


def _stable(quantities: Sequence[str]) -> Callable[[pd.DataFrame], Verdict]:
    def judge(rows: pd.DataFrame) -> Verdict:
        found = drift.psi_of(rows, quantities)
        if not found:
            return Verdict(True, "too few events, listeners or days in one of the periods: nothing to judge yet")
        worst = max(found, key=lambda name: found[name])
        value = found[worst]
        word = "stable" if value < drift.WARN else "changed" if value < drift.ALARM else "changed strongly"
        return Verdict(value < drift.WARN, f"{worst}: PSI {value:.3f}, {word}", found)

    return judge


def _all_hold(kind: str) -> Callable[[pd.DataFrame], Verdict]:
    def judge(rows: pd.DataFrame) -> Verdict:
        own = rows[rows["kind"] == kind]
        broken = own[~own["passed"].astype(bool)]
        text = "; ".join(
            f"{row.subject} against {row.related}: {row.value:,.4g}, expected {row.bound}"
            for row in broken.itertuples()
        )
        return Verdict(
            broken.empty, text[:1000] or f"{len(own)} rules hold", {"broken": len(broken), "rules": len(own)}
        )

    return judge


MANIFEST_INVENTORY = Check(
    "inventory", "Every file of the frozen list is described or refused with a reason; none is lost.", None, True
)
EVENT_INVENTORY = Check(
    "inventory", "Lines read = accepted + quarantined + duplicates, in every event file.", None, True
)
DISTINCT_TRACKS = Check("variety", "No single track has half of a day's events (a stuck sender).", _distinct_tracks)
SKIP_RATE = Check("skip_rate", "Not nearly everything was skipped (a broken sender).", _skip_rate)
ONE_TRACK_PER_AUDIO = Check(
    "one_track_per_audio", "Equal decoded audio never belongs to two tracks.", _one_track_per_audio, True
)
NAMED_TRACKS = Check("named", "Most tracks have an artist tag.", _named_tracks)
POINT_IN_TIME = Check(
    "point_in_time",
    "A row knows nothing of its own or later days (recomputed on a sample, by another way).",
    None,
    True,
)
SPLITS_IN_ORDER = Check(
    "in_order", "No day is in two parts; train ends before validation before test.", _splits_in_order, True
)
DRIFT = tuple(
    Check(f"{name}_drift", f"{what}: PSI below {drift.WARN} (alarm from {drift.ALARM}).", _stable(quantities))
    for name, what, quantities in (
        ("event_mix", "Sources and skips of events", ("event_mix",)),
        ("hour", "Hours of the day (UTC)", ("hour",)),
        ("popularity", "Popularity decile of the tracks played", ("popularity",)),
        ("feature", "Tempo, energy, loudness of the tracks played; activity and skips of listeners", drift.FEATURES),
    )
)


def accounted(kind: str) -> Callable[[pd.DataFrame], Verdict]:
    """Of the inventory's rows of one kind: nothing is missing; the verdict names what is."""

    def check(rows: pd.DataFrame) -> Verdict:
        own = rows[rows["kind"] == kind]
        bad = own[~own["passed"].astype(bool)]
        named = "; ".join(f"{row.subject}: {row.missing} ({row.examples})" for row in bad.head(5).itertuples())
        return Verdict(bad.empty, named or f"{len(own)} counted, nothing is missing", {"missing": bad.head(20)})

    return check


FILES_ACCOUNTED = Check(
    "files", "Files that lie there = accepted + refused + waiting; the missing one is named.", accounted("files"), True
)
EVENTS_ACCOUNTED = Check(
    "events", "Event rows read = accepted + quarantined + duplicates, and what was accepted is there.",
    accounted("events"), True,
)  # fmt: skip
NONE_FAILED = Check("none_failed", "No partition is left failed.", accounted("partitions"), True)
REFERENCES = Check("references", "What one table names is in the other.", _all_hold("reference"))
VOLUMES = Check(
    "volumes", "End products cover what they are made for; a day of events is no tiny or huge one.", _all_hold("volume")
)
