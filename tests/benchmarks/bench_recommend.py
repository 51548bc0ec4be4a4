"""HetRec Last.fm, 8:1:1 per user at random, k=10, all artists ranked, training items masked, default settings.

`python tests/benchmarks/bench_recommend.py [SEED ...]` prints one JSON line per protocol and seed. Three variants, all
printed, each under its name: fitted on the 8 parts with those masked (`fit8 mask8`) or with the validation part masked
too (`fit8 mask9`), and fitted on 9 parts (`fit9 mask9`), which sees an eighth more data than `fit8`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ai_assets.model_training import metrics
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.ials import fit_ials
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.model_training.splits import random_split
from ai_assets.model_training.two_tower import fit_two_tower

ROOT = Path(os.environ.get("AI_ASSETS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def measure(seed: int, protocol: str) -> dict[str, dict[str, float]]:
    """Metrics on the test part and CPU seconds of training, by model."""
    frame = pd.read_csv(ROOT / "hetrec2011-lastfm-2k" / "user_artists.dat", sep="\t")
    data = Interactions.of(frame, user="userID", item="artistID", time=None)
    first, second, test = random_split(data, seed=seed)
    both = data.take(np.flatnonzero(np.asarray((first.matrix() + second.matrix())[data.users, data.items]).ravel() > 0))
    train = both if protocol == "fit9" else first
    histories, relevant = train.histories(), test.matrix()
    scores: dict[str, np.ndarray] = {"popularity": np.array(fit_popularity(train).scores(histories))}
    seconds = {"popularity": 0.0}
    for name, fit in (("ials", fit_ials), ("two_tower", fit_two_tower)):
        before = time.process_time()
        model = fit(train, seed=seed)
        seconds[name] = time.process_time() - before
        scores[name] = model.scores(histories)
    scores["fusion"] = reciprocal_rank_fusion([scores["ials"], scores["two_tower"]])
    seconds["fusion"] = seconds["ials"] + seconds["two_tower"]
    found = {}
    masks = {"mask9": both.matrix()} if protocol == "fit9" else {"mask8": first.matrix(), "mask9": both.matrix()}
    for mask, seen in masks.items():
        for name, values in scores.items():
            ranked = metrics.top_k(values, 10, seen=seen)
            row = {key: float(np.nanmean(part)) for key, part in metrics.evaluate(ranked, relevant).items()}
            row |= {"coverage": metrics.coverage(ranked, data.item_count), "cpu_seconds": seconds[name]}
            found[f"{protocol} {mask} {name}"] = row
    return found


if __name__ == "__main__":
    for protocol in ("fit8", "fit9"):
        for chosen in [int(text) for text in sys.argv[1:]] or [0, 1, 2]:
            sys.stdout.write(json.dumps({"seed": chosen, **measure(chosen, protocol)}) + "\n")
            sys.stdout.flush()
