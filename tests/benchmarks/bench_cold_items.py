"""HetRec Last.fm: a fifth of the artists lose all plays; NDCG@10 among them, from their tags, by way and seed.

`python tests/benchmarks/bench_cold_items.py [SEED ...]` prints one JSON line per seed: of the artists with at least five
listeners and a tag, and of all artists.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from ai_assets.benchmarks.cold_items import cold_items, hetrec

ROOT = Path(os.environ.get("AI_ASSETS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

if __name__ == "__main__":
    for least, seed in [(least, int(seed)) for least in (5, 0) for seed in sys.argv[1:] or "012"]:
        data, facts = hetrec(ROOT / "hetrec2011-lastfm-2k", least=least)
        before = time.process_time()
        found = {way: round(float(np.nanmean(values)), 4) for way, values in cold_items(data, facts, seed=seed).items()}
        sys.stdout.write(
            json.dumps(
                {
                    "least_listeners": least,
                    "items": data.item_count,
                    "seed": seed,
                    **found,
                    "cpu_s": round(time.process_time() - before, 1),
                }
            )
            + "\n"
        )
        sys.stdout.flush()
