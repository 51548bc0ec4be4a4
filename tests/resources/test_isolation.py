"""Limited workers: whatever one item does, it costs one outcome."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import isolation_tasks as tasks
import pytest

from resources.isolation import LimitedError, LimitedPool, run_limited


def test_outcomes_come_in_input_order_with_few_processes() -> None:
    with LimitedPool(2) as pool:
        outcomes = list(pool.map(tasks.square, range(500)))
        assert [outcome.value for outcome in outcomes] == [number * number for number in range(500)]
        assert [outcome.item_index for outcome in outcomes] == list(range(500))
        assert len({outcome.value for outcome in pool.map(tasks.process_id, range(200))}) <= 2
        assert pool.started_workers == 2


def test_functions_are_given_by_name_as_partials_and_with_several_arguments() -> None:
    with LimitedPool(1) as pool:
        assert [outcome.value for outcome in pool.map("isolation_tasks:square", [3])] == [9]
        assert [outcome.value for outcome in pool.map(functools.partial(tasks.add, 1), [2])] == [3]
        assert [outcome.value for outcome in pool.map(tasks.add, [(1, 2), (3, 4)], expand=True)] == [3, 7]
        assert list(pool.map(tasks.square, [])) == []
        with pytest.raises(AttributeError):
            list(pool.map("isolation_tasks:missing", [1]))
        with pytest.raises(RuntimeError, match="mapping already"):
            for _ in pool.map(tasks.square, [1, 2]):
                list(pool.map(tasks.square, [1]))


def test_a_native_crash_costs_two_workers_and_one_outcome() -> None:
    with LimitedPool(2) as pool:
        outcomes = list(pool.map(tasks.crash_on_three, range(30)))
        assert [outcome.status for outcome in outcomes] == ["ok"] * 3 + ["killed"] + ["ok"] * 26
        assert "SIGSEGV" in outcomes[3].error
        assert pool.started_workers <= 4


def test_an_item_whose_worker_was_killed_from_outside_is_tried_once_more(tmp_path: Path) -> None:
    with LimitedPool(1) as pool:
        (outcome,) = pool.map(tasks.crash_once, [str(tmp_path / "marker")])
    assert (outcome.status, outcome.value) == ("ok", "survived")


def test_the_last_words_of_a_dying_worker_are_reported() -> None:
    with LimitedPool(1) as pool:
        (outcome,) = pool.map(tasks.abort_with_words, [0])
    assert "SIGABRT" in outcome.error and "codec assertion failed" in outcome.error


@pytest.mark.parametrize("function", [tasks.hang_on_one, tasks.hang_in_native_code])
def test_a_hang_is_killed_alone_after_its_wall_time(function: object) -> None:
    started = time.monotonic()
    with LimitedPool(2, wall_seconds=1.0) as pool:
        items = range(6) if function is tasks.hang_on_one else [1]
        outcomes = {outcome.item_index: outcome.status for outcome in pool.map(function, items)}
    hung = 1 if function is tasks.hang_on_one else 0
    assert outcomes.pop(hung) == "timeout"
    assert set(outcomes.values()) <= {"ok"}
    assert time.monotonic() - started < 20


def test_outcomes_as_completed_do_not_wait_for_the_slow_one() -> None:
    with LimitedPool(2, wall_seconds=3.0) as pool:
        order = [outcome.item_index for outcome in pool.map(tasks.hang_on_one, range(20), ordered=False)]
    assert sorted(order) == list(range(20))
    assert order[-1] == 1


def test_cpu_time_is_limited_per_item_and_renewed_for_the_next() -> None:
    with LimitedPool(1, cpu_seconds=1.0, wall_seconds=60.0) as pool:
        outcomes = list(pool.map(tasks.spin_on_one, range(3)))
    assert [outcome.status for outcome in outcomes] == ["ok", "timeout", "ok"]
    assert "CPU" in outcomes[1].error


def test_memory_is_limited_and_the_worker_lives_on() -> None:
    with LimitedPool(1, memory_bytes=256 << 20) as pool:
        outcomes = list(pool.map(tasks.allocate, [1 << 20, 1 << 30, 1 << 20]))
        assert [outcome.status for outcome in outcomes] == ["ok", "memory", "ok"]
        assert pool.started_workers == 1


def test_peak_memory_belongs_to_the_item_that_used_it() -> None:
    with LimitedPool(1) as pool:
        small, large, after = pool.map(tasks.touch_memory, [1, 200 << 20, 1])
    assert large.peak_bytes > 200 << 20
    assert small.peak_bytes < 100 << 20
    assert after.peak_bytes < 100 << 20


def test_an_exception_is_an_outcome_with_its_traceback() -> None:
    with LimitedPool(1) as pool:
        first, second = pool.map(tasks.fail, [1, 2])
    assert first.status == second.status == "error"
    assert isinstance(first.exception, ValueError)
    assert "item 1 is bad" in first.error and "isolation_tasks.py" in first.error


def test_a_result_that_cannot_be_sent_is_an_error_and_not_a_hang() -> None:
    with LimitedPool(1) as pool:
        first, second = pool.map(tasks.return_a_lock, [1, 2])
    assert first.status == second.status == "error"
    assert "cannot be sent" in first.error


def test_noise_on_standard_output_and_large_results_do_not_disturb_the_channel() -> None:
    with LimitedPool(2) as pool:
        assert [outcome.value for outcome in pool.map(tasks.shout, range(50))] == list(range(50))
        assert [len(outcome.value) for outcome in pool.map(tasks.big_result, [5 << 20] * 3)] == [5 << 20] * 3


def test_numeric_libraries_get_one_thread() -> None:
    with LimitedPool(1) as pool:
        names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]
        assert {outcome.value for outcome in pool.map(tasks.environment, names)} == {"1"}


def test_an_abandoned_map_leaves_a_usable_pool() -> None:
    with LimitedPool(2, wall_seconds=30.0) as pool:
        for outcome in pool.map(tasks.hang_on_one, range(10)):
            assert outcome.item_index == 0
            break
        assert [outcome.value for outcome in pool.map(tasks.square, [2, 3])] == [4, 9]


def test_a_worker_starts_fast() -> None:
    preload = ("ai_assets.audio_analysis.decode",)
    with LimitedPool(1, preload=preload) as pool:
        list(pool.map(tasks.square, [1]))
        assert pool.start_cpu_seconds[0] < 0.6


def _alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("thread", [False, True])
def test_workers_die_with_a_killed_parent(tmp_path: Path, thread: bool) -> None:
    marker = tmp_path / "pid"
    script = (
        "import threading, isolation_tasks as tasks\n"
        "from resources.isolation import LimitedPool\n"
        "def run():\n"
        "    with LimitedPool(1) as pool:\n"
        f"        list(pool.map(tasks.record_and_sleep, [{str(marker)!r}]))\n"
        f"threading.Thread(target=run).start() if {thread} else run()\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path})
    deadline = time.monotonic() + 30
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = int(marker.read_text())
    assert _alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(worker)


def test_a_pool_outlives_the_thread_that_opened_it() -> None:
    pools: list[LimitedPool] = []
    opener = threading.Thread(target=lambda: pools.append(LimitedPool(1).__enter__()))
    opener.start()
    opener.join()
    with pools[0] as pool:
        time.sleep(0.2)
        assert [outcome.value for outcome in pool.map(tasks.square, [2])] == [4]
        assert pool.started_workers == 1


def test_functions_of_main_are_refused_before_a_worker_is_asked() -> None:
    script = (
        "from resources.isolation import LimitedPool\n"
        "def local(x): return x\n"
        "with LimitedPool(1) as pool:\n"
        "    try: list(pool.map(local, [1]))\n"
        "    except ValueError as error: assert 'move it to a module' in str(error); print('refused')\n"
    )
    path = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "refused"


def test_no_descriptor_or_process_is_left_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with LimitedPool(2, wall_seconds=1.0) as pool:
        list(pool.map(tasks.crash_on_three, range(5)))
        list(pool.map(tasks.hang_on_one, range(3)))
    run_limited(tasks.square, 3)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not children


def test_a_heavy_job_returns_its_value_and_its_lines() -> None:
    lines: list[str] = []
    assert run_limited("isolation_tasks:train", 3, on_line=lines.append) == {"epochs": 3}
    assert [line for line in lines if line.startswith("loss")] == ["loss 0", "loss 1", "loss 2"]
    assert "INFO training: epoch 2" in lines


@pytest.mark.parametrize(
    ("function", "argument", "limits", "status"),
    [
        (tasks.hang_on_one, 1, {"wall_seconds": 1.0}, "timeout"),
        (tasks.spin_on_one, 1, {"cpu_seconds": 1.0}, "timeout"),
        (tasks.allocate, 1 << 30, {"memory_bytes": 200 << 20}, "memory"),
        (tasks.crash_on_three, 3, {}, "killed"),
    ],
)
def test_a_heavy_job_is_stopped_at_its_limit(
    function: object, argument: int, limits: dict[str, float], status: str
) -> None:
    with pytest.raises(LimitedError) as caught:
        run_limited(function, argument, **limits)
    assert caught.value.status == status


def test_a_heavy_job_that_raises_raises_here_with_the_remote_traceback() -> None:
    with pytest.raises(ValueError, match="item 7 is bad") as caught:
        run_limited(tasks.fail, 7)
    assert "isolation_tasks.py" in str(caught.value.__cause__)
