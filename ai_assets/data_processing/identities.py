"""Which track a file holds. A track is minted once, from the decoded audio at first sight; later files may join it.

Tiers: the same decoded audio, the track as which another system entered the file, the same recording id in the tags
(MBID, ISRC), the same fingerprint and nearly the same duration. Where two tracks fit, the file abstains and becomes a
track of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DURATION_TOLERANCE = 0.02

COLUMNS = ["track", "root", "path", "batch", "file_hash", "audio_hash", "mbid", "isrc", "title", "artist", "matched_by"]


def mint(audio_hash: str) -> str:
    """The id of a track first seen with this audio."""
    return f"t{audio_hash[:20]}"


def assign_identities(
    files: pd.DataFrame,
    duplicates: Callable[[pd.DataFrame], list[tuple[str, str]]],
    entered: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Give every file its track.

    Args:
        files: one row per readable file, with `batch root path file_hash audio_hash mbid isrc title artist
            duration_seconds fingerprint`; a file met again in a later batch counts once, at its last content.
        duplicates: pairs of audio hashes whose fingerprints match.
        entered: track by file hash of the files that another system entered as that track.

    Returns:
        Rows of `COLUMNS`, ordered by batch, root and path. A pure function of all files ever accepted: a rebuild
        mints the same ids.
    """
    import pandas as pd

    ordered = files.sort_values(["batch", "root", "path"], kind="stable", ignore_index=True)
    lengths = dict(zip(ordered["audio_hash"], ordered["duration_seconds"], strict=True))
    neighbours: dict[str, set[str]] = {}
    for one, other in duplicates(ordered.drop_duplicates("audio_hash")):
        if abs(lengths[one] - lengths[other]) <= DURATION_TOLERANCE * max(lengths[one], lengths[other], 1.0):
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    by_audio: dict[str, str] = {}
    by_recording: dict[str, set[str]] = {}
    rows = []
    for row in ordered.to_dict("records"):
        ids = [str(row[name]) for name in ("mbid", "isrc") if isinstance(row[name], str) and row[name]]
        track, how = _match(row["audio_hash"], ids, by_audio, by_recording, neighbours, entered.get(row["file_hash"]))
        by_audio[row["audio_hash"]] = track
        for recording in ids:
            by_recording.setdefault(recording, set()).add(track)
        rows.append({**row, "track": track, "matched_by": how})
    frame = pd.DataFrame(rows, columns=COLUMNS) if rows else pd.DataFrame(columns=COLUMNS)
    return frame.drop_duplicates(["root", "path"], keep="last").reset_index(drop=True)


def _match(
    audio_hash: str,
    recording_ids: list[str],
    by_audio: dict[str, str],
    by_recording: dict[str, set[str]],
    neighbours: dict[str, set[str]],
    entered: str | None,
) -> tuple[str, str]:
    if audio_hash in by_audio:
        return by_audio[audio_hash], "audio_hash"
    if entered is not None:
        return entered, "entered"
    known = set().union(*(by_recording.get(item, set()) for item in recording_ids)) if recording_ids else set()
    if len(known) == 1:
        return next(iter(known)), "recording_id"
    near = {by_audio[other] for other in neighbours.get(audio_hash, ()) if other in by_audio}
    if len(near) == 1:
        return next(iter(near)), "fingerprint"
    return mint(audio_hash), "first"
