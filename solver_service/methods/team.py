"""Threads inside one solve: serial kernels, which hold no GIL, on parts of the rows or columns."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..kernels.jit import UnsignedArray

BLOCK_ENTRIES = 1_000_000
"""Most entries touched between two looks at the cancel flag: a few milliseconds of work."""

LEAST_ENTRIES = 500_000
"""Entries of A for each thread, below which a hand-over between threads costs more than it saves."""


def available_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worthwhile_threads(requested: int | None, entries: float, least: float | None = None) -> int:
    """Threads to use: those requested (None: all cores), but no more than there are cores.

    And none that would have less to do than `least` entries, `LEAST_ENTRIES` unless given.
    """
    cores = available_threads()
    wanted = cores if requested is None else min(requested, cores)
    return max(1, min(wanted, int(entries // (LEAST_ENTRIES if least is None else least))))


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    # Shared by all solves of the process; threads start when they are first needed.
    return ThreadPoolExecutor(max_workers=available_threads(), thread_name_prefix="solve")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def in_parallel(task: Callable[[int], float], count: int) -> list[float]:
    """Run task(0) … task(count − 1) at once, the first in this thread, and return what they return.

    Tasks that no other thread has begun by then are run here too, so that neither a busy pool nor a call from
    within a task can make it wait for ever. When it returns or raises, no task is running.
    """
    others = [_pool().submit(task, number) for number in range(1, count)]
    try:
        first = task(0)
        return [first, *(task(k) if f.cancel() else f.result() for k, f in enumerate(others, 1))]
    finally:
        for future in others:  # after an error nobody may go on working on our arrays
            if not future.cancel():
                future.exception()


def parts(indptr: UnsignedArray, count: int) -> list[tuple[int, int]]:
    """Cut the rows into `count` ranges (start, stop) of about as many entries each."""
    rows, entries = indptr.size - 1, int(indptr[-1])
    cuts = np.searchsorted(indptr, [entries * k // count for k in range(1, count)], side="left")
    edges = [0, *map(int, cuts), rows]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def blocks(indptr: UnsignedArray, start: int, stop: int) -> list[tuple[int, int]]:
    """Cut rows start … stop into ranges of some milliseconds of work each, however long the rows are."""
    first, entries = int(indptr[start]), int(indptr[stop]) - int(indptr[start])
    count = -(-(entries + (stop - start)) // BLOCK_ENTRIES)
    # Of the type of `indptr`, which would be converted otherwise.
    wanted = np.array([first + entries * k // count for k in range(1, count)], dtype=indptr.dtype)
    cuts = np.searchsorted(indptr[start : stop + 1], wanted, side="left")
    edges = [start, *(start + int(cut) for cut in cuts), stop]
    return [(a, b) for a, b in pairwise(edges) if b > a]
