"""Checks of the audio tables beyond their schemas. Plain functions from frames to verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ai_assets.audio_status import ACCEPTED
from ai_assets.contract import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd


def inventory(listed: int, quality: pd.DataFrame) -> Verdict:
    """Every file of the manifest ends as exactly one row."""
    missing = listed - len(quality)
    accepted = int(quality["status"].isin(ACCEPTED).sum()) if len(quality) else 0
    return Verdict(
        missing == 0,
        f"{listed} files = {accepted} accepted + {len(quality) - accepted} refused"
        + (f"; {missing} lost" if missing else ""),
        {"listed": listed, "accepted": accepted, "refused": len(quality) - accepted},
    )


def _readable(quality: pd.DataFrame) -> Verdict:
    bad = quality[~quality["status"].isin(ACCEPTED)]
    share = len(bad) / len(quality) if len(quality) else 0.0
    shown = bad[["path", "status", "reason"]].head(20)
    return Verdict(
        len(quality) < 5 or share <= 0.5, f"{len(bad)} of {len(quality)} files were not accepted", {"refused": shown}
    )


def _plausible_tempo(descriptors: pd.DataFrame) -> Verdict:
    tempi = descriptors["tempo_bpm"].dropna()
    odd = int(((tempi < 40) | (tempi > 250)).sum())
    return Verdict(len(tempi) < 10 or odd / len(tempi) <= 0.2, f"{odd} of {len(tempi)} tempi lie outside 40 to 250 bpm")


def _abstention(tags: pd.DataFrame) -> Verdict:
    tags = tags[tags["model"].notna()]  # rows that only an added model speaks of are not the classifier's
    share = float(tags["genre"].isna().mean()) if len(tags) else 0.0
    return Verdict(len(tags) < 10 or share <= 0.6, f"the classifier abstains on {share:.0%}", {"abstention": share})


def _known_to_added(rows: pd.DataFrame) -> Verdict:
    names = [column for column in rows if str(column).startswith("model_")]
    missing = {name.removeprefix("model_"): int(rows[name].isna().sum()) for name in names}
    worst = max(missing.values(), default=0)
    return Verdict(worst == 0, f"recordings without an answer of an added model: {missing or 'no model is added'}")


def _unit_vectors(embeddings: pd.DataFrame) -> Verdict:
    if embeddings.empty:
        return Verdict(True, "no embeddings")
    norms = np.array([np.linalg.norm(vector) for vector in embeddings["vector"]])
    wrong = int((~np.isclose(norms, 1.0, atol=1e-3)).sum())
    return Verdict(wrong == 0, f"{wrong} of {len(norms)} vectors are not of unit length")


def _few_errors(anomalies: pd.DataFrame) -> Verdict:
    errors = anomalies[anomalies["severity"] == "error"]
    return Verdict(len(errors) == 0, f"{len(errors)} severe findings", {"severe": errors[["path", "kind"]].head(20)})


INVENTORY = Check("inventory", "Every file of the manifest ends as exactly one row; none is lost.", None, True)
READABLE = Check("readable", "Most files of a batch can be read.", _readable)
PLAUSIBLE_TEMPO = Check("plausible_tempo", "Nearly all tempi lie between 40 and 250 bpm.", _plausible_tempo)
ABSTENTION = Check("abstention", "The classifier knows most recordings of a batch.", _abstention)
KNOWN_TO_ADDED = Check("known_to_added", "Every added model answers for every recording.", _known_to_added)
UNIT_VECTORS = Check("unit_vectors", "Every embedding has unit length.", _unit_vectors, True)
FEW_ERRORS = Check("severe_findings", "No recording of the batch has a severe defect.", _few_errors)
