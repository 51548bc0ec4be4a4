"""The two policies of automation, applied to all assets in one place.

`keep_fresh`: rebuilt when the content of an input has changed. One shared condition rebuilds late days, is not held up
by one failed batch, loses no change that arrives while a run is working, and ignores models. It needs no gate on
checks, because an output that fails a blocking check is never published.

`sensor_led` (days of events, identities, catalogue, content index): the sensors ask the ledger what is stale and
request it in one run, so that a dropped file is found after two runs and a late event rebuilds its day alone.
`on_request` (models, content) and `source` have no condition either: a dropped file starts no training.
"""

import dagster as dg

from ai_assets.contract.spec import CONTRACTS

LANDING = dg.AssetSelection.assets("landing_files", "landing_scores")


def keep_fresh(*, partitioned: bool, ignored: dg.AssetSelection) -> dg.AutomationCondition:
    """The condition of a table. What lies in the landing folders counts as made; only its changes matter.

    Args:
        partitioned: of the asset: it then waits for its own partition of every input, else for at least one.
        ignored: inputs whose changes do not count (models, and events that a sensor follows day by day).
    """
    c = dg.AutomationCondition
    changed = c.any_deps_match(c.data_version_changed() & ~c.executed_with_root_target()).ignore(ignored)
    quiet = ignored | LANDING
    made = ~c.any_deps_missing().ignore(quiet) if partitioned else c.all_deps_match(~c.missing()).ignore(quiet)
    wanted = c.missing().newly_true().since(c.newly_requested() | c.newly_updated()) | changed.since(
        c.newly_requested() & ~changed
    )
    return (wanted & made & ~c.any_deps_in_progress() & ~c.in_progress()).with_label("keep_fresh")


def with_automation(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Give every asset the condition of its policy."""
    models = {name for name, contract in CONTRACTS.items() if contract.policy == "on_request" or name == "raw_events"}
    conditions = {
        name: keep_fresh(
            partitioned=contract.partitioning is not None,
            ignored=dg.AssetSelection.assets(*sorted(models | set(contract.quiet))),
        )
        for name, contract in CONTRACTS.items()
        if contract.policy == "keep_fresh"
    }

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        condition = conditions.get(spec.key.path[-1])
        return spec if condition is None else spec.replace_attributes(automation_condition=condition)

    return [definition.map_asset_specs(apply) for definition in assets]
