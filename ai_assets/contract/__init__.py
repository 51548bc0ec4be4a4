"""The contract: what every asset and task of the platform owes its users, one small module per duty."""

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
