"""Threads inside one solve, and how the work is cut."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from solver_service.methods import team
from solver_service.methods.team import blocks, in_parallel, parts, worthwhile_threads


def indptr(lengths) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32)


LENGTHS = [[1] * 20, [0] * 5, [100] + [1] * 9, [1] * 9 + [100], [0, 0, 7, 0, 3, 0], [5]]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_cover_all_rows_in_order(lengths, count):
    found = parts(indptr(lengths), count)
    assert 1 <= len(found) <= count
    assert found[0][0] == 0
    assert found[-1][1] == len(lengths)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(start < stop for start, stop in found)


def test_parts_hold_about_as_many_entries_each():
    lengths = np.random.default_rng(0).integers(1, 9, size=1000)
    for count in (2, 3, 8):
        sums = [lengths[start:stop].sum() for start, stop in parts(indptr(lengths), count)]
        assert len(sums) == count
        assert max(sums) - min(sums) <= 16


@pytest.mark.parametrize("lengths", LENGTHS)
def test_blocks_cover_the_range(lengths, monkeypatch):
    monkeypatch.setattr(team, "BLOCK_ENTRIES", 4)
    pointers = indptr(lengths)
    rows = len(lengths)
    for start, stop in ((0, rows), (0, 0), (rows, rows), (rows // 2, rows)):
        found = blocks(pointers, start, stop)
        assert [row for a, b in found for row in range(a, b)] == list(range(start, stop))


def test_blocks_of_equal_rows_are_of_the_size_asked_for(monkeypatch):
    monkeypatch.setattr(team, "BLOCK_ENTRIES", 100)
    pointers = indptr([9] * 1000)
    sizes = [10 * (b - a) for a, b in blocks(pointers, 0, 1000)]
    assert max(sizes) <= 120
    assert len(sizes) == 100


def test_long_rows_in_one_place_do_not_make_a_block_longer(monkeypatch):
    monkeypatch.setattr(team, "BLOCK_ENTRIES", 100)
    lengths = np.array([50] * 20 + [1] * 1000)
    pointers = indptr(lengths)
    assert max(lengths[a:b].sum() for a, b in blocks(pointers, 0, 1020)) <= 150


@pytest.mark.parametrize(
    ("requested", "entries", "expected"),
    [(1, 10**9, 1), (4, 10**9, 4), (4, 1_000_000, 2), (4, 499_999, 1), (4, 0, 1), (2, 1_499_999, 2)],
)
def test_no_thread_has_too_little_to_do(requested, entries, expected, monkeypatch):
    monkeypatch.setattr(team, "available_threads", lambda: 6)
    assert worthwhile_threads(requested, entries) == expected


def test_all_cores_by_default(monkeypatch):
    monkeypatch.setattr(team, "available_threads", lambda: 6)
    assert worthwhile_threads(None, 10**9) == 6
    assert worthwhile_threads(100, 10**9) == 6, "and no more"
    assert worthwhile_threads(4, 300, 100.0) == 3


@pytest.fixture
def pool(monkeypatch):
    """Three threads, on whatever machine."""
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(team, "_pool", lambda: pool)
        yield pool


def test_results_come_in_order_and_the_first_task_runs_here(pool):
    ran: dict[int, threading.Thread] = {}

    def task(number: int) -> float:
        ran[number] = threading.current_thread()
        return 10.0 * number

    assert in_parallel(task, 5) == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert ran[0] is threading.current_thread()


def test_tasks_run_at_the_same_time(pool):
    barrier = threading.Barrier(3, timeout=20.0)
    in_parallel(lambda _: float(barrier.wait()), 3)


def test_a_busy_pool_does_not_make_it_wait(pool):
    release = threading.Event()
    busy = [pool.submit(release.wait, 20.0) for _ in range(3)]
    try:
        assert in_parallel(float, 4) == [0.0, 1.0, 2.0, 3.0]
    finally:
        release.set()
    assert all(future.result() for future in busy)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_exception_is_passed_on_when_no_task_runs_any_more(pool, failing):
    begun, ended = [], []
    together = threading.Barrier(3, timeout=20.0)

    def task(number: int) -> float:
        begun.append(number)
        together.wait()
        if number == failing:
            raise ZeroDivisionError(str(number))
        threading.Event().wait(0.02)
        ended.append(number)
        return 0.0

    with pytest.raises(ZeroDivisionError, match=str(failing)):
        in_parallel(task, 3)
    assert sorted([*ended, failing]) == sorted(begun) == [0, 1, 2]
