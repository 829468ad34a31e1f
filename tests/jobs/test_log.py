"""The log: the first and the last states, and a bounded curve that is evenly spaced in log(iterations)."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from solver_service.jobs.log import MOST_POINTS, PROGRESS, STATE, since, with_progress, with_state


def grown(iterations, log=()):
    for revision, count in enumerate(iterations, len(log) + 1):
        log = with_progress(log, revision, {"iterations": count})
    return log


def counts(log):
    return [data["iterations"] for _, kind, data in log if kind == PROGRESS]


def test_nothing_is_lost_while_there_is_room():
    assert counts(grown(range(MOST_POINTS))) == list(range(MOST_POINTS))


def test_the_first_and_the_last_stay():
    found = counts(grown(range(10, 5010, 10)))
    assert len(found) == MOST_POINTS
    assert (found[0], found[-1]) == (10, 5000)
    assert found == sorted(set(found))


def test_points_are_spread_over_the_decades():
    found = counts(grown(range(1, 20_001)))
    decades = [sum(10**decade <= count < 10 ** (decade + 1) for count in found) for decade in range(4)]
    assert decades[0] >= 5
    assert min(decades[1:]) >= 10
    gaps = [math.log((after + 1) / (before + 1)) for before, after in pairwise(found)]
    assert max(gaps) < 1.0


def test_changes_of_state_stay():
    log = with_state((), 1, "queued")
    for round_ in range(20):
        log = with_state(log, 2 * round_ + 2, "running")
        log = grown(range(50), log)
        log = with_state(log, 10**6 + round_, "queued")
    assert [data["state"] for _, kind, data in log if kind == STATE] == ["queued"] + [
        "running",
        "queued",
    ] * 20
    assert len(counts(log)) == MOST_POINTS


def test_of_very_many_changes_of_state_the_first_and_the_last_stay():
    log = ()
    for revision in range(1, 1001):
        log = with_state(log, revision, "running" if revision % 2 else "queued")
        if revision == 500:
            log = (*log, (501, PROGRESS, {"iterations": 1}))
    found = [revision for revision, kind, _ in log if kind == STATE]
    assert found == [*range(1, 33), *range(969, 1001)]
    assert counts(log) == [1]


def test_what_came_after():
    log = grown(range(3), with_state((), 1, "queued"))
    assert since(log, 0) == log
    assert [revision for revision, _, _ in since(log, 2)] == [3, 4]
    assert since(log, 99) == ()


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**12), st.floats(0, 1e12)), max_size=200))
def test_whatever_the_counts(iterations):
    """Attempts that begin anew count anew, and some progress has no count: no order may be relied on."""
    log = grown(iterations)
    assert len(log) == min(len(iterations), MOST_POINTS)
    assert counts(log)[-1:] == iterations[-1:]
    assert counts(log)[:1] == iterations[:1]
