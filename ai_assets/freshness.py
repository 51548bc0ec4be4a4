"""How old each end product may be: policies that Dagster's daemon evaluates, in one table. What makes them is jobs."""

from datetime import timedelta

import dagster as dg

DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=36))
WEEKLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=10))

POLICIES: dict[str, dg.FreshnessPolicy] = {
    "recommendations": DAILY,
    "playlists": DAILY,
    "content_index": DAILY,
    "collaborative_index": DAILY,
    "data_quality": DAILY,
    "listening_drift": DAILY,
    "collaborative_model": WEEKLY,
    "ranking_model": WEEKLY,
}


def with_freshness(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Give every end product its policy."""

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = POLICIES.get(spec.key.path[-1])
        return spec if policy is None else spec.replace_attributes(freshness_policy=policy)

    return [definition.map_asset_specs(apply) for definition in assets]
