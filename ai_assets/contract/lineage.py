"""From what a partition is made: one digest over the content of all its inputs, the basis of staleness."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ai_assets.contract.spec import CONTRACTS, AssetContract
from resources.lake.ledger import Entry

Entries = Mapping[str, Mapping[str, Entry]]


def inputs_digest(contract: AssetContract, key: str, entries: Entries) -> str:
    """sha256 over the content hashes of the inputs of one partition ("" of an unpartitioned asset).

    An input that is kept by the same column counts with that partition alone, any other with all it holds.
    """
    digest = hashlib.sha256()
    for name in sorted(set(contract.dependencies) - set(contract.quiet)):
        held = entries.get(name, {})
        upstream = CONTRACTS.get(name)
        own = contract.partitioning is not None and upstream is not None
        if own and upstream.ledger_column == contract.partitioning.column:  # type: ignore[union-attr]
            found = [held[key].content_hash] if key in held else []
        else:
            found = [f"{partition}:{held[partition].content_hash}" for partition in sorted(held)]
        digest.update(f"{name}={','.join(found)};".encode())
    return digest.hexdigest()
