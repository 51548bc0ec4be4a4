"""Base and delta together: right to the last deleted track, whatever was written and whenever it was compacted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.database import Database
from resources.vector_index import BuildRefused, build, builder, current
from resources.vector_index.delta import DeltaStore, LiveIndex, compact

DIM = 8


def _store(folder: Path, name: str = "content", model: str = "m1") -> DeltaStore:
    database = Database(f"sqlite:///{folder / 'platform.db'}", folder / "locks")
    database.prepare()
    return DeltaStore(database, name, dim=DIM, model_version=model)


def _vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def _base(folder: Path, count: int, **options: Any) -> None:
    vectors = np.array([_vector(code) for code in range(count)]).reshape(count, DIM)
    build(folder / "index", [f"t{code}" for code in range(count)], vectors, model_version="m1", **options)


def _brute(live: dict[str, np.ndarray], query: np.ndarray, k: int) -> dict[str, float]:
    cosines = {name: float(v @ query / np.linalg.norm(v) / np.linalg.norm(query)) for name, v in live.items()}
    return dict(sorted(cosines.items(), key=lambda item: -item[1])[:k])


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.integers(0, 30), st.integers(0, 10_000)),
        st.tuples(st.just("delete"), st.integers(0, 30), st.just(0)),
        st.tuples(st.sampled_from(["compact", "reopen", "crash"]), st.integers(0, 6), st.just(0)),
    ),
    max_size=25,
)


class Crash(Exception):
    pass


def _crashing(folder: Path, store: DeltaStore, step: int) -> None:
    """Compact, and die at a write."""
    count = 0
    real = os.fsync

    def fsync(handle: int) -> None:
        nonlocal count
        count += 1
        if count > step:
            raise Crash
        real(handle)

    os.fsync = fsync
    try:
        compact(folder / "index", store)
    except Crash:
        pass
    finally:
        os.fsync = real


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(operations=OPERATIONS, base=st.sampled_from([0, 1, 12]), engine=st.sampled_from(["annoy", "exact"]))
def test_any_sequence_of_writes_equals_brute_force_over_what_lives(
    operations: list[tuple[str, int, int]], base: int, engine: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, live = _store(folder), {f"t{code}": _vector(code) for code in range(base)}
        if base:
            _base(folder, base)
        gone: set[str] = set()
        for operation, code, seed in operations:
            track = f"t{code}"
            if operation == "upsert":
                store.upsert(track, _vector(seed))
                live[track] = _vector(seed)
                gone.discard(track)
            elif operation == "delete":
                store.delete(track)
                live.pop(track, None)
                gone.add(track)
            elif operation == "compact":
                compact(folder / "index", store)
            elif operation == "crash":
                _crashing(folder, store, code)
            else:
                store = _store(folder)
        index = LiveIndex.open(folder / "index", store)
        assert dict(zip(*index.merged(), strict=True)).keys() == live.keys()
        found = 0
        wanted = 0
        for seed in range(20_000, 20_003):
            names, cosines = index.search(_vector(seed), 10, engine=engine)
            truth = _brute(live, _vector(seed), 10)
            assert not gone & set(names) and set(names) <= set(live) and len(set(names)) == len(names)
            assert len(names) == len(truth) and (np.diff(cosines) <= 1e-6).all()
            bound = min(truth.values(), default=0.0) - 1e-5
            found += int((cosines >= bound).sum())
            wanted += len(truth)
        assert found >= 0.95 * wanted


def test_the_last_write_of_a_track_wins(tmp_path: Path) -> None:
    store = _store(tmp_path)
    _base(tmp_path, 5)
    numbers = [store.upsert("t1", _vector(77)), store.delete("t1"), store.upsert("t1", _vector(78)), store.delete("t2")]
    assert numbers == sorted(set(numbers))
    index = LiveIndex.open(tmp_path / "index", store)
    names, cosines = index.search(_vector(78), 10)
    assert names[0] == "t1" and cosines[0] == pytest.approx(1.0, abs=1e-6) and sorted(names) == ["t0", "t1", "t3", "t4"]


def test_what_is_written_while_compacting_stays_above_the_watermark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tmp_path)
    _base(tmp_path, 5)
    store.upsert("early", _vector(50))
    real = builder._build_annoy

    def meanwhile(*arguments: Any) -> Any:
        store.upsert("late", _vector(51))
        store.delete("t3")
        return real(*arguments)

    monkeypatch.setattr(builder, "_build_annoy", meanwhile)
    compact(tmp_path / "index", store)
    index = LiveIndex.open(tmp_path / "index", store)
    assert index.base is not None and "early" in index.base.codes and "late" not in index.base.codes
    assert sorted(index.search(_vector(1), 20)[0]) == ["early", "late", "t0", "t1", "t2", "t4"]


def test_a_refused_compaction_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    _base(tmp_path, 30)
    store.upsert("new", _vector(50))
    monkeypatch.setattr(builder, "recall", lambda *_: 0.5)
    with pytest.raises(BuildRefused):
        compact(tmp_path / "index", store)
    assert "new" in LiveIndex.open(tmp_path / "index", store).search(_vector(50), 3)[0]


def test_rows_are_pruned_only_behind_the_previous_generation(tmp_path: Path) -> None:
    """Going back one generation finds all that it does not hold in the delta."""
    store = _store(tmp_path)
    _base(tmp_path, 5)
    store.upsert("a", _vector(60))
    compact(tmp_path / "index", store)
    store.upsert("b", _vector(61))
    compact(tmp_path / "index", store)
    (tmp_path / "index" / "CURRENT").write_text("gen-2")
    names = LiveIndex.open(tmp_path / "index", store).search(_vector(61), 10)[0]
    assert {"a", "b"} <= set(names) and len(store.after(0).ids) == 1


def test_numbers_are_not_given_twice_after_pruning(tmp_path: Path) -> None:
    store = _store(tmp_path)
    last = store.upsert("a", _vector(1))
    store.prune(last)
    assert store.upsert("b", _vector(2)) > last


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 1.0])
def test_many_tombstones_do_not_starve_the_answer(share: float, tmp_path: Path) -> None:
    _base(tmp_path, 200)
    store = _store(tmp_path)
    dead = [f"t{code}" for code in range(int(200 * share))]
    for track in dead:
        store.delete(track)
    index = LiveIndex.open(tmp_path / "index", store)
    for engine in ("annoy", "exact"):
        names, _ = index.search(_vector(3), 10, engine=engine)
        assert len(names) == min(10, 200 - len(dead)) and not set(names) & set(dead)


def test_excluded_tracks_are_replaced_by_the_next_best(tmp_path: Path) -> None:
    _base(tmp_path, 100)
    store = _store(tmp_path)
    store.upsert("new", _vector(3))
    index = LiveIndex.open(tmp_path / "index", store)
    whole = index.search(_vector(3), 20)[0].tolist()
    assert index.search(_vector(3), 10, excluded=whole[:10])[0].tolist() == whole[10:]


def test_a_delta_mixes_no_model_versions_but_every_delete_holds(tmp_path: Path) -> None:
    _base(tmp_path, 5)
    old, new = _store(tmp_path), _store(tmp_path, model="m2")
    new.upsert("t9", _vector(9))
    new.delete("t1")
    index = LiveIndex.open(tmp_path / "index", old)
    assert sorted(index.search(_vector(1), 10)[0]) == ["t0", "t2", "t3", "t4"]
    other = LiveIndex.open(tmp_path / "index", new)
    assert other.base is None and other.search(_vector(1), 10)[0].tolist() == ["t9"]


def test_the_bounds_of_compaction(tmp_path: Path) -> None:
    _base(tmp_path, 40)
    store = _store(tmp_path)
    for code in range(4):
        store.upsert(f"n{code}", _vector(code + 90))
    assert not LiveIndex.open(tmp_path / "index", store).needs_compaction()
    store.upsert("n4", _vector(99))
    assert LiveIndex.open(tmp_path / "index", store).needs_compaction()
    compact(tmp_path / "index", store)
    assert not LiveIndex.open(tmp_path / "index", store).needs_compaction()
    found = current(tmp_path / "index")
    assert found is not None and len(found.ids) == 45


@pytest.mark.parametrize("vector", [np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM + 1)])
def test_a_bad_vector_never_enters_the_delta(vector: np.ndarray, tmp_path: Path) -> None:
    store = _store(tmp_path)
    with pytest.raises(ValueError, match="track x"):
        store.upsert("x", vector)
    assert store.after(0).sequence == 0
