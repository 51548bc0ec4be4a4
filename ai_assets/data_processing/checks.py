"""Checks of the data-processing tables beyond their schemas. Plain functions from frames or counts to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ai_assets.contract import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from ai_assets.data_processing.event_inbox import Reading

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
