"""Generations: built or refused, measured, swapped by one rename, never half there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resources.vector_index import BuildRefused, Generation, build, builder, current, open_generation
from resources.vector_index.generation import CURRENT

FILES = ("base.ann", "ids.npy", "vectors.npy", "manifest.json")


def _vectors(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def _ids(count: int) -> list[str]:
    return [f"t{code}" for code in range(count)]


def _build(folder: Path, count: int = 300, **options: object) -> Generation:
    return build(folder, _ids(count), _vectors(count), model_version="m1", **options)  # type: ignore[arg-type]


def test_two_builds_of_the_same_input_are_equal_byte_by_byte(tmp_path: Path) -> None:
    one, two = _build(tmp_path / "a"), _build(tmp_path / "b")
    for name in FILES:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("engine", ["exact", "annoy"])
def test_an_index_of_none_one_or_five_vectors_answers(count: int, engine: str, tmp_path: Path) -> None:
    index = _build(tmp_path, count)
    ids, cosines = index.search(_vectors(1, seed=5)[0], 10, engine=engine)
    assert sorted(ids) == sorted(_ids(count)) and (np.diff(cosines) <= 0).all()
    assert index.manifest["recall"] == 1.0


def test_both_engines_agree_with_brute_force(tmp_path: Path) -> None:
    index, vectors = _build(tmp_path, 2_000), _vectors(2_000)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = 0
    for query in _vectors(50, seed=7):
        truth = np.argsort(-(unit @ query))[:10]
        exact, cosines = index.search(query, 10, engine="exact")
        assert exact.tolist() == [f"t{code}" for code in truth]
        np.testing.assert_allclose(cosines, unit[truth] @ query / np.linalg.norm(query), atol=1e-6)
        hits += len(set(index.search(query, 10, engine="annoy")[0]) & set(exact))
    assert hits / 500 >= 0.95


def test_equal_vectors_are_no_misses(tmp_path: Path) -> None:
    """200 tracks of five equal sounds: whichever of them is found, it is as near as the exact ones."""
    vectors = np.repeat(_vectors(5), 40, axis=0)
    assert build(tmp_path, _ids(200), vectors, model_version="m1").manifest["recall"] >= 0.95


def test_recall_counts_what_is_farther_than_the_exact_neighbours_as_a_miss() -> None:
    unit = np.eye(20, 20, dtype=np.float32)
    probes = unit[:1] + 0.5 * unit[1:2] + 0.25 * unit[2:3]

    class Blind:
        def get_nns_by_vector(self, _probe: np.ndarray, _k: int, search_k: int) -> list[int]:
            return [0, 15]

    bounds = builder.kth_cosines(unit, probes, 2)
    assert builder.recall(Blind(), unit, probes, bounds, 1, k=2) == 0.5


def test_a_build_whose_recall_stays_low_is_not_swapped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _build(tmp_path)
    monkeypatch.setattr(builder, "recall", lambda *_: 0.9)
    with pytest.raises(BuildRefused, match=r"0\.900 with 400 trees"):
        _build(tmp_path, 400)
    after = current(tmp_path)
    assert after is not None and after.name == before.name
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURRENT, before.name]


@pytest.mark.parametrize(
    ("ids", "vectors", "names"),
    [
        (["a", "b"], np.array([[1, np.nan], [1, 0]]), "1 vectors are not finite"),
        (["a", "b"], np.array([[1, np.inf], [1, 0]]), "1 vectors are not finite"),
        (["a", "b"], np.array([[0.0, 0.0], [1, 0]]), "1 vectors are zero"),
        (["a", "a"], np.array([[1.0, 0.0], [1, 0]]), "twice"),
        (["a"], np.array([[1.0, 0.0], [1, 0]]), "1 ids need as many"),
        (["a", "b"], np.array([1.0, 2.0]), "shape"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(
    ids: list[str], vectors: np.ndarray, names: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildRefused, match=names):
        build(tmp_path / "index", ids, vectors, model_version="m1")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("query", [np.ones(15), np.zeros(16), np.full(16, np.nan), np.full(16, np.inf)])
def test_a_bad_query_is_refused(query: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 finite numbers"):
        _build(tmp_path).search(query.astype(np.float32), 3)


def test_extra_facts_may_not_overwrite_measured_ones(tmp_path: Path) -> None:
    assert _build(tmp_path, extra={"catalogue": 7}).manifest["catalogue"] == 7
    with pytest.raises(ValueError, match="recall"):
        _build(tmp_path, extra={"recall": 1.0})
    written = json.loads((tmp_path / "gen-1" / "manifest.json").read_text())
    assert set(written) == builder.MEASURED | {"catalogue"}


@pytest.mark.parametrize("name", ["base.ann", "ids.npy", "vectors.npy"])
def test_a_damaged_file_is_found(name: str, tmp_path: Path) -> None:
    index = _build(tmp_path)
    open_generation(index.folder, verify=True)
    data = bytearray((index.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (index.folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        open_generation(index.folder, verify=True)


def test_a_reader_keeps_its_generation_while_others_come_and_the_oldest_go(tmp_path: Path) -> None:
    held = _build(tmp_path)
    expected = held.search(_vectors(1)[0], 5, engine="annoy")[0].tolist()
    for count in (310, 320, 330, 340):
        _build(tmp_path, count)
        assert held.search(_vectors(1)[0], 5, engine="annoy")[0].tolist() == expected
    newest = current(tmp_path)
    assert newest is not None and (newest.name, len(newest.ids)) == ("gen-5", 340)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURRENT, "gen-3", "gen-4", "gen-5"]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, os.getcwd())
count = 0
def counted(real):
    def call(*arguments, **options):
        global count
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call
os.fsync = counted(os.fsync)
os.replace = counted(os.replace)
os.rename = counted(os.rename)
np.save = counted(np.save)
Path.replace = counted(Path.replace)
Path.write_text = counted(Path.write_text)
from resources.vector_index import build
vectors = np.random.default_rng(9).standard_normal((60, 16)).astype(np.float32)
build(Path(sys.argv[1]), [f"n{code}" for code in range(60)], vectors, model_version="m2")
print(count)
"""


def test_a_build_killed_at_any_write_leaves_the_old_generation_or_the_whole_new_one(tmp_path: Path) -> None:
    outcomes = []
    for step in range(1, 40):
        folder = tmp_path / str(step)
        _build(folder, 50)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(step)], capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        found = current(folder)
        assert found is not None
        open_generation(found.folder, verify=True)
        assert (found.name, len(found.ids)) in {("gen-1", 50), ("gen-2", 60)}, step
        outcomes.append(found.name)
        again = _build(folder, 55)
        assert current(folder) is not None and len(again.ids) == 55
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.returncode == 0 and len(outcomes) > 8
    assert outcomes == sorted(outcomes) and set(outcomes) == {"gen-1", "gen-2"}
