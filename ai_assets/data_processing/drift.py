"""Has listening changed since the models were made? Population stability index of shares, with a plot. Plain functions.

PSI = sum over bins of (c - r) * ln(c / r), r and c the shares in the reference and the current days; the usual reading
is: below .1 stable, from .1 a moderate and from .25 a large change (Siddiqi, "Credit Risk Scorecards", 2006).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

WARN, ALARM = 0.1, 0.25
LEAST_ROWS = 500
LEAST_LISTENER_DAYS = 200
"""Events of one listener on one day belong together, so few listeners over few days look like a drift by themselves."""
BINS = 10
TRACK_QUANTITIES = ("tempo_bpm", "energy_index", "loudness_lufs")
LISTENER_QUANTITIES = ("plays_7d", "skip_rate_28d")
FEATURES = (*TRACK_QUANTITIES, *LISTENER_QUANTITIES)
COUNTED = ["quantity", "bin", "reference", "current", "psi"]
COLUMNS = [*COUNTED, "since"]


def psi(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Population stability index of two vectors of counts over the same bins; half a row is added to every bin."""
    r, c = reference + 0.5, current + 0.5
    r, c = r / r.sum(), c / c.sum()
    return float(((c - r) * np.log(c / r)).sum())


def drift_rows(quantity: str, counts: pd.DataFrame) -> pd.DataFrame:
    """Rows of one quantity, without `since`, from counts: columns `bin`, `current` (truth value) and `n`.

    Empty where a period has fewer than 500 rows: a PSI of few rows is noise.
    """
    table = counts.assign(bin=counts["bin"].astype(str)).pivot_table(
        index="bin", columns="current", values="n", aggfunc="sum", fill_value=0
    )
    table = table.reindex(columns=[False, True], fill_value=0).sort_index()
    reference, current = (table[name].to_numpy(float) for name in (False, True))
    if min(reference.sum(), current.sum()) < LEAST_ROWS:
        return counts.iloc[:0].reindex(columns=COUNTED)
    frame = table.reset_index()[["bin"]]
    return frame.assign(
        quantity=quantity,
        reference=reference / reference.sum(),
        current=current / current.sum(),
        psi=psi(reference, current),
    )[COUNTED]


def measure(connection: Any, first_current: str, *, has_tracks: bool, has_features: bool) -> pd.DataFrame:
    """All quantities, reference = days before `first_current`.

    Empty where a period has too few days of listeners to tell a change from chance.

    Args:
        connection: DuckDB with `listening_events`, and `tracks` and `listener_features` where they exist.
    """
    import pandas as pd

    run = connection.execute
    held = run(_LISTENER_DAYS, [first_current]).fetchone()
    if min(held) < LEAST_LISTENER_DAYS:
        return pd.DataFrame(columns=COLUMNS)
    events = "SELECT *, day >= ? AS current FROM listening_events"
    parts = [
        drift_rows(
            "event_mix",
            run(
                "SELECT coalesce(source, 'unknown') || CASE WHEN skipped THEN ', skipped' ELSE '' END AS bin, "
                f"current, count(*) AS n FROM ({events}) GROUP BY ALL",
                [first_current],
            ).df(),
        ),
        drift_rows(
            "hour",
            run(
                f"SELECT lpad(CAST(hour(played_at AT TIME ZONE 'UTC') AS VARCHAR), 2, '0') AS bin, current, "
                f"count(*) AS n FROM ({events}) GROUP BY ALL",
                [first_current],
            ).df(),
        ),
        drift_rows("popularity", run(_POPULARITY.format(events=events), [first_current]).df()),
    ]
    if has_tracks:
        for name in TRACK_QUANTITIES:
            rows = f"SELECT t.{name} AS x, e.current FROM ({events}) e JOIN tracks t USING (track)"
            parts.append(drift_rows(name, _deciles(run, rows, first_current)))
    if has_features:
        for name in LISTENER_QUANTITIES:
            rows = f"SELECT {name} AS x, day >= ? AS current FROM listener_features"
            parts.append(drift_rows(name, _deciles(run, rows, first_current)))
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(filled, ignore_index=True).assign(since=first_current)[COLUMNS]


_LISTENER_DAYS = """
SELECT count(*) FILTER (NOT current), count(*) FILTER (current)
FROM (SELECT DISTINCT listener, day, day >= ? AS current FROM listening_events)
"""

_POPULARITY = """
WITH e AS ({events}),
     heard AS (SELECT track, ntile(10) OVER (ORDER BY count(*) DESC, track) AS decile
               FROM e WHERE NOT current GROUP BY track)
SELECT coalesce(lpad(CAST(decile AS VARCHAR), 2, '0'), 'new track') AS bin, current, count(*) AS n
FROM e LEFT JOIN heard USING (track) GROUP BY ALL
"""


def _deciles(run: Any, rows: str, first_current: str) -> pd.DataFrame:
    """Counts of a number by the reference's deciles (equal edges are joined, so that ties stay in one bin)."""
    levels = [index / BINS for index in range(1, BINS)]
    found = run(
        f"SELECT quantile_disc(x, {levels}) AS edges FROM ({rows}) WHERE NOT current AND x IS NOT NULL", [first_current]
    ).fetchone()[0]
    edges = sorted({float(edge) for edge in found or []})
    names = [f"{index:02} {_range(edges, index)}" for index in range(len(edges) + 1)]
    cases = " ".join(f"WHEN x <= {edge!r} THEN '{names[index]}'" for index, edge in enumerate(edges))
    case = f"CASE {cases} ELSE '{names[-1]}' END" if edges else f"'{names[-1]}'"
    return run(
        f"SELECT {case} AS bin, current, count(*) AS n FROM ({rows}) WHERE x IS NOT NULL GROUP BY ALL", [first_current]
    ).df()


def _range(edges: Sequence[float], index: int) -> str:
    if not edges:
        return "all"
    if index == len(edges):
        return f"over {edges[-1]:.4g}"
    return f"to {edges[index]:.4g}"


def psi_of(rows: pd.DataFrame, quantities: Sequence[str]) -> dict[str, float]:
    """The index of each of the quantities that could be judged."""
    found = rows[rows["quantity"].isin(quantities)].drop_duplicates("quantity")
    return {str(name): float(value) for name, value in zip(found["quantity"], found["psi"], strict=True)}


def plot(rows: pd.DataFrame) -> bytes:
    """Shares of reference and current days side by side, one panel per quantity, as a PNG."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(rows["quantity"])) or ["nothing to compare yet"]
    columns = 2
    height = -(-len(names) // columns)
    figure = Figure(figsize=(9, 2.1 * height))
    axes = np.atleast_1d(figure.subplots(height, columns)).ravel()
    figure.subplots_adjust(hspace=1.0, wspace=0.15, bottom=0.3 / height, top=1 - 0.2 / height, left=0.06, right=0.98)
    for axis, name in zip(axes, names, strict=False):
        part = rows[rows["quantity"] == name]
        place = np.arange(len(part))
        axis.bar(place - 0.2, part["reference"], 0.4, color="#9aa5b1", label="reference")
        axis.bar(place + 0.2, part["current"], 0.4, color="#2a6f97", label="current")
        axis.set_title(f"{name}: PSI {part['psi'].iloc[0]:.3f}" if len(part) else name, fontsize=8)
        axis.set_xticks(place, [label[:22] for label in part["bin"]], rotation=60, fontsize=5)
        axis.tick_params(axis="y", labelsize=6)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    if len(rows):
        axes[0].legend(fontsize=6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
