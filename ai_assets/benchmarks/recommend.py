"""`benchmark recommend`: the listening models on anybody's table, under a named protocol, beside trivial baselines.

Settings, windows and the served model are chosen on the tuning part; then every model is fitted on the whole training
part and judged once. The work is done in a process of its own, so that the time limit holds in the middle of a fit.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.benchmarks.listening_models import (
    KEYS,
    WINDOWS,
    Fitted,
    LeftOut,
    fit_one,
    fused,
    ranked_lists,
    settings_of,
)
from ai_assets.benchmarks.listening_table import Protocol, Split, split_table, times_differ
from ai_assets.model_training import metrics
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.listening import configs
from ai_assets.recommendation_update.pipeline import fit_pipeline

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("two_tower", "ials")
TUNING_SHARE = 0.02  # of the time limit: a fit that takes longer is made with its first setting only


@dataclass(frozen=True)
class Job:
    """One benchmark: the tables (distinct rows) and the protocol."""

    train: pd.DataFrame
    test: pd.DataFrame | None
    protocol: Protocol
    ratios: tuple[float, ...]
    k: int
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Result:
    """One model with one seed: NDCG on the tuning part, per-user metrics on the test part.

    `cpu_seconds` holds the search for settings too, `fit_seconds` the last fit alone (of a fusion: of its parts).
    """

    key: str
    seed: int
    tuned: float
    values: dict[str, NDArray[np.float64]]
    coverage: float
    cpu_seconds: float
    fit_seconds: float
    settings: dict[str, float]


@dataclass
class State:
    """What one seed has so far: its parts, its fitted models, and the settings that were chosen."""

    seed: int
    split: Split
    learned: dict[str, Fitted] = field(default_factory=dict)
    trained: dict[str, Fitted] = field(default_factory=dict)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def recommend(job: Job, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run the benchmark.

    Returns:
        `models` (means over the seeds), `left_out` (reason by model), `served`, `protocol` and what it was run on.

    Raises:
        TableError: a part would be empty (before anything is fitted).
    """
    first = split_table(job.train, job.test, job.protocol, job.ratios, job.seeds[0])
    results, left_out = _supervise(job, progress)
    finished = [key for key in job.models if sum(item.key == key for item in results) == len(job.seeds)]
    by_model = {key: [item for item in results if item.key == key] for key in finished}
    for key in job.models:
        if key not in finished:
            left_out.setdefault(key, f"not finished within {job.seconds / 60:g} minutes")
    answer: dict[str, Any] = {
        "models": {key: _figures(found) for key, found in by_model.items()},
        "left_out": left_out,
        "served": max(by_model, key=lambda key: float(np.mean([item.tuned for item in by_model[key]])), default=None),
        "protocol": _words(job, first),
        "k": job.k,
        "seeds": list(job.seeds),
        "users": first.train.user_count,
        "items": first.train.item_count,
        "rows": {"train": len(first.train), "test": len(first.test)},
        "settings": {key: found[0].settings for key, found in by_model.items() if found[0].settings},
    }
    if {"pipeline", "fusion"} <= set(finished):
        answer["pipeline_gain"] = _gain(by_model["pipeline"], by_model["fusion"])
    return answer


def _supervise(job: Job, progress: Callable[[str], None]) -> tuple[list[Result], dict[str, str]]:
    """Run the work in a child process and collect what it has finished when the time is over."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, job), daemon=True)
    child.start()
    theirs.close()
    results: list[Result] = []
    left_out: dict[str, str] = {}
    deadline = time.monotonic() + job.seconds
    try:
        while ours.poll(max(0.0, deadline - time.monotonic())):
            kind, content = ours.recv()
            if kind == "result":
                results.append(content)
            elif kind == "left_out":
                left_out.setdefault(*content)
            else:
                progress(content)
    except EOFError:
        child.join()
        if child.exitcode:
            progress(f"the benchmark's process ended early (status {child.exitcode}); see left_out")
            for key in job.models:
                if sum(item.key == key for item in results) < len(job.seeds):
                    left_out.setdefault(key, f"the process ended with status {child.exitcode} (out of memory?)")
    finally:
        child.kill()
        child.join()
        ours.close()
    return results, left_out


def _work(connection: Connection, job: Job) -> None:
    splits = {seed: split_table(job.train, job.test, job.protocol, job.ratios, seed) for seed in job.seeds}
    states = [State(seed, split) for seed, split in splits.items()]
    wanted = [key for key in KEYS if key in _with_parts(job.models)]
    out: set[str] = set()
    for key in wanted:
        for state in states:
            if key in out:
                break
            connection.send(("progress", f"{key}, seed {state.seed}"))
            try:
                result = _judge(state, key, job)
            except LeftOut as error:
                out.add(key)
                connection.send(("left_out", (key, str(error))))
                continue
            if key in job.models:
                connection.send(("result", result))
    connection.close()


def _with_parts(models: Iterable[str]) -> set[str]:
    """The models asked for, and those that they are made of."""
    asked = set(models)
    return asked | (set(PARTS) if asked & {"fusion", "pipeline"} else set())


def _judge(state: State, key: str, job: Job) -> Result:
    """Choose settings on the tuning part, fit on the whole training part, judge on the test part."""
    split, before = state.split, time.process_time()
    if key == "fusion":
        if not set(PARTS) <= set(state.trained):
            raise LeftOut("one of its parts (two_tower, ials) was left out")
        state.learned[key] = fused([state.learned[part] for part in PARTS])
        tuned = _ndcg(state.learned[key], split.learn, split.tune, job.k)
        start = time.process_time() - sum(state.seconds[part] for part in PARTS)
        state.trained[key] = fused([state.trained[part] for part in PARTS])
    elif key == "pipeline":
        if not set(PARTS) <= set(state.trained):
            raise LeftOut("one of its parts (two_tower, ials) was left out")
        state.learned[key] = _pipeline(state, split.learn)
        tuned = _ndcg(state.learned[key], split.learn, split.tune, job.k)
        start = time.process_time()
        state.trained[key] = _pipeline(state, split.train)
    else:
        tuned = _tune(state, key, job)
        start = time.process_time()
        score = fit_one(key, split.train, state.chosen[key], state.seed)
        state.trained[key] = Fitted(score, state.learned[key].window)
    now = time.process_time()
    state.seconds[key] = now - start
    users = np.unique(split.test.users)
    ranked = ranked_lists(state.trained[key], split.train, users, job.k)
    settings = {**state.chosen.get(key, {})}
    if (window := state.trained[key].window) is not None:
        settings["window"] = window
    values = metrics.evaluate(ranked, split.test.matrix()[users])
    shown = metrics.coverage(ranked, split.train.item_count)
    return Result(key, state.seed, tuned, values, shown, now - before, now - start, settings)


def _tune(state: State, key: str, job: Job) -> float:
    """The setting and window with the best NDCG on the tuning part; returns that NDCG."""
    learn, tune = state.split.learn, state.split.tune
    windows = WINDOWS if times_differ(learn) and key != "popularity" else WINDOWS[:1]
    best = -1.0
    for arguments in settings_of(key):
        before = time.monotonic()
        score = fit_one(key, learn, arguments, state.seed)
        for window in windows:
            value = _ndcg(Fitted(score, window), learn, tune, job.k)
            if value > best:
                best, state.chosen[key], state.learned[key] = value, arguments, Fitted(score, window)
        if time.monotonic() - before > TUNING_SHARE * job.seconds:
            break
    return best


def _pipeline(state: State, data: Interactions) -> Fitted:
    tower, ials = configs(data)
    tuned = (replace(tower, **state.chosen["two_tower"]), replace(ials, **state.chosen["ials"]))
    return Fitted(fit_pipeline(data, seed=state.seed, settings=tuned).scores)


def _ndcg(model: Fitted, train: Interactions, held: Interactions, k: int) -> float:
    users = np.unique(held.users)
    ranked = ranked_lists(model, train, users, k)
    return float(np.nanmean(metrics.ndcg(metrics.hits(ranked, relevant := held.matrix()[users]), relevant)))


def _figures(found: Sequence[Result]) -> dict[str, float]:
    means = {name: [float(np.nanmean(item.values[name])) for item in found] for name in metrics.PER_USER}
    figures = {name: float(np.mean(values)) for name, values in means.items()}
    if len(found) > 1:
        figures["ndcg_std"] = float(np.std(means["ndcg"], ddof=1))
    figures["coverage"] = float(np.mean([item.coverage for item in found]))
    figures["cpu_seconds"] = float(np.mean([item.cpu_seconds for item in found]))
    figures["fit_cpu_seconds"] = float(np.mean([item.fit_seconds for item in found]))
    return figures


def _gain(pipeline: Sequence[Result], fusion: Sequence[Result]) -> dict[str, float | str]:
    """NDCG of the pipeline over retrieval alone: mean difference and its 95 % interval over users and seeds."""
    theirs = {item.seed: item.values["ndcg"] for item in fusion}
    difference = np.concatenate([item.values["ndcg"] - theirs[item.seed] for item in pipeline])
    low, high = paired_bootstrap(difference)
    return {"over": "fusion", "mean": float(np.nanmean(difference)), "low": low, "high": high}


def _words(job: Job, split: Split) -> str:
    names = {
        "random": "every user's rows at random",
        "user-time": "the tail of every user's rows (other users' later rows leak)",
        "time": "one date for all users",
        "fixed": "the given test table",
    }
    shares = "" if job.protocol == "fixed" else " " + ":".join(f"{share:g}" for share in job.ratios)
    users = len(np.unique(split.test.users))
    return (
        f"{job.protocol}{shares}: {names[job.protocol]}; {split.test.item_count:,} items ranked, training items "
        f"masked, {users:,} users judged at k={job.k}; settings and the served model chosen on a part cut from the "
        "training part by the same protocol"
    )
