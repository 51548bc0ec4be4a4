"""The catalogue: one current row per track from identities, tags and analysis, and its history. Plain functions."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.audio_status import ACCEPTED
from ai_assets.data_processing.batches import CANARY, newest_of_files
from resources.lake.tables import LakeTable, reading

if TYPE_CHECKING:
    import pandas as pd

HISTORY_COLUMNS = ["track", "title", "artist", "album", "genre", "path", "deleted"]


def mood_of(tempo_bpm: float | None, key: str | None, energy: float | None) -> str | None:
    """A mood word from tempo, mode and energy; a plain rule, not a trained model (Russell's circumplex, 1980).

    | energy | major, fast | major, slow | minor, fast | minor, slow |
    | --- | --- | --- | --- | --- |
    | high (> .6) | happy | energetic | aggressive | dark |
    | middle | happy | romantic | energetic | melancholic |
    | low (< .35) | relaxed | calm | dreamy | sad |
    """
    if key is None or energy is None or energy != energy:
        return None
    fast = tempo_bpm is not None and tempo_bpm >= 105
    column = (0 if fast else 1) + (2 if key.endswith("minor") else 0)
    row = 0 if energy > 0.6 else 2 if energy < 0.35 else 1
    table = (
        ("happy", "energetic", "aggressive", "dark"),
        ("happy", "romantic", "energetic", "melancholic"),
        ("relaxed", "calm", "dreamy", "sad"),
    )
    return table[row][column]


def build_catalogue(
    identities: pd.DataFrame,
    manifest: pd.DataFrame,
    analysis: pd.DataFrame,
    classes: pd.DataFrame,
    heard: pd.DataFrame,
    gone: set[tuple[str, str]],
) -> pd.DataFrame:
    """Current rows of all tracks.

    Args:
        identities: rows of `track_identities`.
        manifest: rows of `audio_manifest` (tags).
        analysis: `audio_hash duration_seconds tempo_bpm key loudness_lufs energy_index`, one row per audio.
        classes: `audio_hash genre` of tracks whose class was recognised (the classifier may abstain).
        heard: `track track_reference` of tracks known from events alone.
        gone: (root, path) of files that are no longer there or can no longer be played.
    """
    import pandas as pd

    tags = newest_of_files(manifest)[["root", "path", "album", "genre", "year", "track_number"]]
    files = identities.merge(tags, on=["root", "path"], how="left")
    files["gone"] = [place in gone for place in zip(files["root"], files["path"], strict=True)]
    files = files.sort_values(["track", "gone", "batch", "root", "path"], kind="stable")
    head = files.drop_duplicates("track").set_index("track")
    count = files.groupby("track").size()
    rows = head.join(count.rename("files"))
    rows["deleted"] = files.groupby("track")["gone"].all() | (rows["root"] == CANARY)  # no answer shows either
    rows = (
        rows.reset_index()
        .merge(analysis, on="audio_hash", how="left")
        .merge(classes.rename(columns={"genre": "recognised"}), on="audio_hash", how="left")
    )
    rows["title"] = rows["title"].fillna(rows["path"].map(lambda path: PurePosixPath(path).stem))
    rows["artist"] = rows["artist"].fillna("Unknown artist")
    tagged, recognised = rows["genre"].notna(), rows["recognised"].notna()
    rows["genre_source"] = pd.Series("tag", rows.index, dtype=object).where(tagged, None)
    rows.loc[~tagged & recognised, "genre_source"] = "classifier"
    rows["genre"] = rows["genre"].where(tagged, rows["recognised"])
    rows["mood"] = [
        mood_of(_number(tempo), key if isinstance(key, str) else None, _number(energy))
        for tempo, key, energy in zip(rows["tempo_bpm"], rows["key"], rows["energy_index"], strict=True)
    ]
    rows["has_audio"] = True
    unheard = _from_events(heard[~heard["track"].isin(rows["track"])])
    frame = (
        pd.concat([part for part in (rows, unheard) if len(part)], ignore_index=True)
        if len(rows) + len(unheard)
        else rows
    )
    return frame.sort_values("track", kind="stable", ignore_index=True)


def damaged(quality: pd.DataFrame) -> set[tuple[str, str]]:
    """(root, path) of files whose newest content was not accepted: out of every answer until they are repaired."""
    newest = newest_of_files(quality[["batch", "root", "path", "status"]])
    refused = newest[~newest["status"].isin(ACCEPTED)]
    return set(zip(refused["root"], refused["path"], strict=True))


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _from_events(heard: pd.DataFrame) -> pd.DataFrame:
    """Catalogue rows of tracks without audio: artist and title from "artist - title", else the reference itself."""
    import pandas as pd

    rows = []
    for row in heard.drop_duplicates("track").to_dict("records"):
        artist, dash, title = str(row["track_reference"]).partition(" - ")
        rows.append(
            {
                "track": row["track"],
                "title": title if dash else str(row["track_reference"]),
                "artist": artist if dash else "Unknown artist",
                "files": 0,
                "has_audio": False,
                "deleted": False,
            }
        )
    return pd.DataFrame(rows)


HEARD_QUERY = """
SELECT track, min(track_reference) AS track_reference FROM listening_events
WHERE track LIKE 'e%' GROUP BY track ORDER BY track
"""


def heard_tracks(events: LakeTable) -> pd.DataFrame:
    """`track track_reference` of the tracks that only events name."""
    import pandas as pd

    if not events.exists:
        return pd.DataFrame(columns=["track", "track_reference"])
    with reading(events) as connection:
        return connection.execute(HEARD_QUERY).df()


def extend_history(history: pd.DataFrame, current: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Close rows that no longer hold and open the new ones; rows that still hold stay as they are."""
    import pandas as pd

    open_rows = history[history["valid_to"].isna()]
    closed = history[history["valid_to"].notna()]
    fresh = current[HISTORY_COLUMNS].astype(object).where(current[HISTORY_COLUMNS].notna(), None)
    before = open_rows[HISTORY_COLUMNS].astype(object).where(open_rows[HISTORY_COLUMNS].notna(), None)
    now_set = {tuple(row) for row in fresh.itertuples(index=False)}
    old_set = {tuple(row) for row in before.itertuples(index=False)}
    holds = np.array([tuple(row) in now_set for row in before.itertuples(index=False)], bool)
    new = np.array([tuple(row) not in old_set for row in fresh.itertuples(index=False)], bool)
    ending = open_rows[~holds].assign(valid_to=pd.Timestamp(now))
    starting = current.loc[new, HISTORY_COLUMNS].assign(valid_from=pd.Timestamp(now), valid_to=pd.NaT)
    parts = [part for part in (closed, open_rows[holds], ending, starting) if len(part)]
    if not parts:
        return history
    return pd.concat(parts, ignore_index=True).sort_values(["track", "valid_from"], kind="stable", ignore_index=True)
