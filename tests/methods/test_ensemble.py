"""How solves take turns: what they ask for at the same time is done together, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from solver_service.methods.interruption import Interrupted
from solver_service.methods.result import Status
from solver_service.methods.together import Ensemble, Request, perform


class Asked(Request):
    """Notes who was done with whom."""

    def __init__(
        self,
        name: str,
        key: str = "work",
        log: list | None = None,
        tick: Callable[[], None] = lambda: None,
        pieces: int = 1,
    ) -> None:
        self.name, self.key, self.tick = name, key, tick
        self.urgent = key == "look"
        self.log = [] if log is None else log
        self.pieces = pieces

    def alone(self) -> str:
        self.log.append((self.key, self.name))
        return self.name

    @classmethod
    def together(cls, requests):
        for _ in range(requests[0].pieces):
            yield
        requests[0].log.append((requests[0].key, *(request.name for request in requests)))
        for request in requests:
            request.result = request.name


def steps(name: str, keys: str, log: list, ended: list) -> Callable[[], None]:
    """A solve that asks for `work` at a letter w, and for a `look` at an l."""

    def solve() -> None:
        for letter in keys:
            assert perform(Asked(name, "look" if letter == "l" else "work", log)) == name
        ended.append(name)

    return solve


def test_without_an_ensemble_a_request_is_a_call():
    log: list = []
    assert perform(Asked("a", log=log)) == "a"
    assert log == [("work", "a")]


def test_equal_requests_are_done_together_and_those_who_looked_catch_up():
    log, ended = [], []
    Ensemble(8).run(
        [steps("a", "www", log, ended), steps("b", "wlww", log, ended), steps("c", "www", log, ended)]
    )
    assert log == [
        ("work", "a", "b", "c"),
        ("look", "b"),
        ("work", "a", "b", "c"),
        ("work", "a", "b", "c"),
    ]
    assert ended == ["a", "b", "c"]


def test_every_group_has_its_turn():
    """One that asks for something else each time does not hold up the others, nor they it."""
    log, ended = [], []

    def other() -> None:
        for number in range(4):
            perform(Asked("x", f"other {number}", log))
        ended.append("x")

    Ensemble(8).run([steps("a", "wwwwwwww", log, ended), other, steps("b", "wwwwwwww", log, ended)])
    turns = [entry[0] for entry in log]
    assert turns[:8:2] == ["other 0", "other 1", "other 2", "other 3"]
    assert turns[1:8:2] == ["work"] * 4
    assert ended == ["x", "a", "b"]


def test_at_most_so_many_go_at_a_time_and_new_ones_come_when_half_are_done():
    log, ended = [], []
    names = "abcdefg"
    Ensemble(4).run(steps(name, "w" * (1 + names.index(name) // 2), log, ended) for name in names)
    assert sorted(ended) == list(names)
    assert max(len(entry) - 1 for entry in log) == 4
    assert log[0] == ("work", "a", "b", "c", "d")
    assert log[1] == ("work", "c", "d", "e", "f")


def test_who_waits_and_has_to_end_is_begun_at_once(monkeypatch):
    monkeypatch.setattr("solver_service.methods.together._LONGEST_WAIT", -1.0)
    log, ended = [], []
    solves = [steps(name, "wwwww", log, ended) for name in "abcd"]
    Ensemble(2, over=lambda solve: solve is solves[3] and len(log) >= 2).run(solves)
    assert log[:2] == [("work", "a", "b")] * 2
    assert log[2] == ("work", "a", "b", "d")
    assert sorted(ended) == list("abcd")


def test_whom_a_limit_ends_in_long_work_leaves_at_once_and_does_the_rest_alone(monkeypatch):
    monkeypatch.setattr("solver_service.methods.together._PATIENCE", -1.0)
    log, ended, ticks = [], [], []

    def tick() -> None:
        ticks.append(len(log))
        raise Interrupted(Status.CANCELLED)

    def unlucky() -> None:
        with pytest.raises(Interrupted):
            perform(Asked("u", log=log, tick=tick, pieces=3))
        perform(Asked("u", "look", log))
        ended.append("u")

    def lucky(name: str) -> Callable[[], None]:
        def solve() -> None:
            perform(Asked(name, log=log, pieces=3))
            ended.append(name)

        return solve

    Ensemble(4).run([lucky("a"), unlucky, lucky("b")])
    assert log == [("look", "u"), ("work", "a", "u", "b")]
    assert ended == ["u", "a", "b"]
    assert len(ticks) == 1


def test_short_work_is_not_interrupted():
    """There the state could not be captured; it is seen before the next."""
    done: list[str] = []

    def tick() -> None:
        raise Interrupted(Status.CANCELLED)

    def solve() -> None:
        done.append(perform(Asked("a", tick=tick)))

    Ensemble(4).run([solve, solve])
    assert done == ["a", "a"]


def test_a_group_without_room_is_done_one_by_one():
    class Large(Asked):
        @classmethod
        def together(cls, requests):
            del requests
            raise MemoryError
            yield

    log: list = []
    done = []
    Ensemble(4).run([lambda name=name: done.append(perform(Large(name, log=log))) for name in "ab"])
    assert log == [("work", "a"), ("work", "b")]
    assert done == ["a", "b"]


def test_small_groups_of_what_is_not_worth_it_are_done_one_by_one():
    class Look(Asked):
        least = 3

    log: list = []
    for count in (2, 3):
        Ensemble(4).run([lambda name=name: perform(Look(name, log=log)) for name in "abc"[:count]])
    assert log == [("work", "a"), ("work", "b"), ("work", "a", "b", "c")]


@pytest.mark.parametrize("where", ["in a solve", "in the work"])
def test_an_error_ends_all_and_lets_them_clean_up(where):
    cleaned: list[str] = []

    class Broken(Asked):
        @classmethod
        def together(cls, requests):
            del requests
            yield
            raise ValueError("broken")

    def broken() -> None:
        if where == "in a solve":
            perform(Asked("x"))
            raise ValueError("broken")
        perform(Broken("x", "broken"))

    def other(name: str) -> Callable[[], None]:
        def solve() -> None:
            try:
                if where == "in the work":
                    perform(Broken(name, "broken"))
                while True:
                    perform(Asked(name))
            finally:
                cleaned.append(name)

        return solve

    with pytest.raises(ValueError, match="broken"):
        Ensemble(4).run([other("a"), broken, other("b")])
    assert sorted(cleaned) == ["a", "b"]


def test_ensembles_may_be_nested():
    log, ended = [], []

    def outer(name: str) -> Callable[[], None]:
        def solve() -> None:
            perform(Asked(name, "outer", log))
            Ensemble(4).run([steps(name + "1", "w", log, ended), steps(name + "2", "w", log, ended)])
            perform(Asked(name, "outer", log))

        return solve

    Ensemble(4).run([outer("a"), outer("b")])
    assert log == [("outer", "a", "b"), ("work", "a1", "a2"), ("work", "b1", "b2"), ("outer", "a", "b")]


def test_floating_point_warnings_of_the_caller_stay_its_own():
    seen = []

    def solve() -> None:
        seen.append(np.geterr()["over"])
        with np.errstate(over="ignore"):
            perform(Asked("a"))
            seen.append(np.geterr()["over"])

    with np.errstate(over="raise"):
        Ensemble(4).run([solve, solve])
        assert np.geterr()["over"] == "raise"
    assert seen == ["raise", "raise", "ignore", "ignore"]
