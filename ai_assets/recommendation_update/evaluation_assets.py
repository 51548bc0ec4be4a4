"""Evaluations beside the lists: keeping up with new plays, and listeners who are new. Judged on plays, never served."""

import pandas as pd

from ai_assets.contract import Table, Verdict, platform_asset
from ai_assets.recommendation_update import checks, schemas
from ai_assets.recommendation_update.quality import COLUMNS

GROUP = "recommendation_update"


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RecommendationQuality,
    kinds=["deltalake"], checks=[checks.KEEPS_UP],
)  # fmt: skip
def update_evaluation(interactions: pd.DataFrame) -> Table:
    """Old model, fold-in, item half-step and full retraining side by side, on plays later than all of them know."""
    from ai_assets.model_training.listening import configs, listening_data
    from ai_assets.model_training.update_readout import readout_rows, update_readout, verdict

    if (few := _too_few(interactions)) is not None:
        return _nothing("keeps_up", few)
    data = listening_data(interactions)
    values = update_readout(data, config=configs(data)[1])
    return Table(pd.DataFrame(readout_rows(values), columns=list(COLUMNS)), verdicts={"keeps_up": verdict(values)})


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.RecommendationQuality,
    kinds=["deltalake"], checks=[checks.NEW_LISTENERS],
)  # fmt: skip
def cold_start_curve(interactions: pd.DataFrame) -> Table:
    """Quality over the first 20 events of new listeners: popularity, fold-in, two-tower, and what is served."""
    from ai_assets.model_training.listening import listening_data
    from ai_assets.recommendation_update.cold_start import cold_start_curves, plot, rows_of, verdict

    if (few := _too_few(interactions)) is not None:
        return _nothing("new_listeners", few)
    curves = cold_start_curves(listening_data(interactions))
    if isinstance(curves, str):
        return _nothing("new_listeners", curves)
    return Table(
        pd.DataFrame(rows_of(curves), columns=list(COLUMNS)), metadata={"plot_cold_start": plot(curves)},
        verdicts={"new_listeners": verdict(curves)},
    )  # fmt: skip


def _too_few(interactions: pd.DataFrame) -> str | None:
    from ai_assets.model_training.listening import LEAST_LISTENERS, LEAST_ROWS

    if len(interactions) >= LEAST_ROWS and interactions["listener"].nunique() >= LEAST_LISTENERS:
        return None
    return f"it takes {LEAST_LISTENERS} listeners and {LEAST_ROWS} rows to judge, there are {len(interactions)} rows"


def _nothing(check: str, reason: str) -> Table:
    return Table(pd.DataFrame(columns=list(COLUMNS)), verdicts={check: Verdict(True, reason)})


ASSETS = [update_evaluation, cold_start_curve]
