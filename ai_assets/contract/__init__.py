"""The contract: what every asset and task of the platform owes its users, one small module per duty."""

import warnings

import dagster as dg

# Partitioned checks are in preview and single-run backfills in beta in dagster 1.13; both are pinned and tested here.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from ai_assets.contract.assets import Out, platform_asset, platform_multi_asset
from ai_assets.contract.errors import PermanentError
from ai_assets.contract.rejection import accept, reject
from ai_assets.contract.spec import CONTRACTS, Check, Partitioning, Product, Table, Verdict

__all__ = [
    "CONTRACTS",
    "Check",
    "Out",
    "Partitioning",
    "PermanentError",
    "Product",
    "Table",
    "Verdict",
    "accept",
    "platform_asset",
    "platform_multi_asset",
    "reject",
]
