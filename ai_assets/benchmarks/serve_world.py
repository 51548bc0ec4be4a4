"""A home of a given size for measuring the API: synthetic vectors, popularity and histories, and a fitted ranker.

Vectors are clustered unit vectors, popularity is Zipf's, and iALS factors are as long as the logarithm of the plays
(as fitted ones are: research gives a correlation of .95). No model is judged on this.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.platform import Platform
from resources.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

EMBEDDING, LISTENING = "synthetic/1", "collaborative_model/1"
PER_CLUSTER = 80
LISTENERS, HISTORY = 1_000, 100
TABLES = (
    "ai_assets.data_processing.external_tracks", "ai_assets.recommendation_update.rule_store",
    "resources.event_stream", "resources.lake.ledger", "resources.lake.fence", "resources.quarantine",
)  # fmt: skip


@dataclass(frozen=True)
class Synthetic:
    """The home and what the load asks of it."""

    platform: Platform
    content: NDArray[np.float32]
    listeners: list[str]


def make_home(folder: Path, *, tracks: int, dim: int, say: Callable[[str], None], seed: int = 0) -> Synthetic:
    """Write a home with a serving generation, both indices and a table of events."""
    platform = Platform(Settings(home=folder))
    platform.home.make()
    for module in TABLES:
        importlib.import_module(module)
    platform.database.prepare()
    platform.pseudonyms.prepare()
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, max(2, tracks // PER_CLUSTER), tracks)
    content, tower = (_clustered(clusters, dim, rng) for _ in range(2))
    plays = np.maximum(1, (tracks / rng.permutation(np.arange(1, tracks + 1))) ** 0.9 * 50).astype(np.int64)
    factors = (tower * (np.log1p(plays) / np.log1p(plays).max())[:, None]).astype(np.float32)
    names = [f"t{code:06}" for code in range(tracks)]
    say("writing the generation and training a ranker")
    _write_serving(platform, names, clusters, plays, content, tower, factors, rng)
    for index, vectors, model in (("content", content, EMBEDDING), ("collaborative", tower, LISTENING)):
        say(f"building the {index} index")
        _build(platform, index, names, vectors, model)
    say("writing events")
    listeners = [f"listener-{number}" for number in range(LISTENERS)]
    _write_events(platform, listeners, _histories(clusters, rng), names)
    return Synthetic(platform, content, listeners)


def _clustered(clusters: NDArray[np.int64], dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    centres = rng.standard_normal((clusters.max() + 1, dim)).astype(np.float32)
    vectors = centres[clusters] + 0.6 * rng.standard_normal((len(clusters), dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _histories(clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(listeners, history) codes; each listener has five clusters, and wanders."""
    order = np.argsort(clusters, kind="stable")
    bounds = np.searchsorted(clusters[order], np.arange(clusters.max() + 2))
    rows = np.empty((LISTENERS, HISTORY), np.int64)
    for listener in range(LISTENERS):
        own = rng.choice(np.unique(clusters), size=5)
        for place, cluster in enumerate(rng.choice(own, size=HISTORY)):
            rows[listener, place] = order[rng.integers(bounds[cluster], bounds[cluster + 1])]
    return rows


def _write_serving(
    platform: Platform, names: list[str], clusters: NDArray[np.int64], plays: NDArray[np.int64],
    content: NDArray[np.float32], tower: NDArray[np.float32], factors: NDArray[np.float32], rng: np.random.Generator,
) -> None:  # fmt: skip
    import pandas as pd

    from ai_assets.model_training.ials import Ials, IalsConfig
    from ai_assets.model_training.two_tower import TowerConfig, TwoTower
    from ai_assets.recommendation_update import ranking
    from ai_assets.recommendation_update.candidates import Sources
    from ai_assets.recommendation_update.serving_folder import write_generation

    count, config = len(names), IalsConfig(dim=content.shape[1])
    artists = clusters * 10 + rng.integers(0, 10, count)
    sources = Sources(
        plays=plays.astype(np.float32), artists=artists, tower=TwoTower(tower, tower, TowerConfig()),
        ials=Ials(factors, config), content=content,
    )  # fmt: skip
    frames = []
    for row, history in enumerate(_histories(clusters, rng)[:40]):
        later = np.flatnonzero(np.isin(clusters, clusters[history[-20:]]) & (rng.random(count) < 0.3))
        frames.append(ranking.training_rows(sources, f"l{row}", history, later, np.ones(count, bool), 150))
    ranker = ranking.fit_ranker(pd.concat(frames, ignore_index=True))
    catalogue = pd.DataFrame(
        {
            "track": names, "title": [f"Song {code}" for code in range(count)],
            "artist": [f"Artist {code}" for code in artists], "album": [f"Album {code}" for code in artists],
            "genre": [f"genre {code % 20}" for code in clusters], "root": "landing/audio",
            "path": [f"{code}.flac" for code in range(count)], "duration_seconds": 200.0, "deleted": False,
            "has_audio": True, "plays": plays,
        }
    )  # fmt: skip
    facts = {
        "models": {"collaborative_model": LISTENING, "ranking_model": "ranking_model/1"}, "embedding": EMBEDDING,
        "external_sequence": -1, "delta_sequence": 0, "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ials_config": {name: getattr(config, name) for name in ("dim", "alpha0", "reg", "exponent", "sweeps")},
    }  # fmt: skip
    arrays = {"tower_inputs": tower, "tower_outputs": tower, "ials_items": factors, "content": content}
    write_generation(platform.home.indices / "serving", catalogue, arrays, ranker=ranker, facts=facts)


def _build(platform: Platform, index: str, names: list[str], vectors: NDArray[np.float32], model: str) -> None:
    from resources.vector_index import build

    build(platform.home.indices / index, names, vectors, model_version=model)


def _write_events(platform: Platform, listeners: list[str], histories: NDArray[np.int64], names: list[str]) -> None:
    import deltalake
    import pyarrow as pa

    frame = _events(platform, listeners, histories, names)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column("liked", pa.array([None] * len(frame), pa.bool_()))
    deltalake.write_deltalake(f"{platform.settings.lake_root}/listening_events", table)


def _events(platform: Platform, listeners: list[str], histories: NDArray[np.int64], names: list[str]) -> pd.DataFrame:
    import pandas as pd

    start = datetime.now(UTC) - timedelta(days=HISTORY)
    rows = [
        (f"e{listener}-{place}", platform.pseudonyms.of(name), names[code], start + timedelta(hours=20 * place))
        for listener, name in enumerate(listeners)
        for place, code in enumerate(histories[listener].tolist())
    ]
    frame = pd.DataFrame(rows, columns=["event_id", "listener", "track", "played_at"])
    return frame.assign(seconds_played=200.0, skipped=False)
