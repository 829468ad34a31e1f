"""What becomes of calls that share a task when it goes wrong or has to end."""

import asyncio
import random
import time

import pool_tasks
import pytest
import shared_tasks as tasks
from shared_tasks import Part, names, outcomes

from solver_service.engine import Pool, PoolConfig
from solver_service.errors import (
    InvalidInputError,
    OutOfMemoryError,
    RequestTimeoutError,
    ShuttingDownError,
    SolverServiceError,
    WorkerLostError,
)

pytestmark = pytest.mark.anyio

MIB = 1 << 20


async def test_a_task_that_does_not_return_after_its_answers_is_killed(
    single, together, tmp_path, eventually, monkeypatch, caplog
):
    monkeypatch.setattr("solver_service.engine.slot._LINGER_SECONDS", 0.05)
    restarts = single.stats.restarts
    calls = await together(Part("a", path=str(tmp_path / "lingers")), Part("b"), task=tasks.linger)
    assert [answer.name for answer in await outcomes(calls)] == ["a", "b"]
    await eventually(lambda: single.stats.restarts == restarts + 1)
    assert "after the last answer" in caplog.text
    assert await single.run(pool_tasks.echo, 1, lane="main") == 1


@pytest.mark.parametrize("way", ["stop", "abandon", "deadline"])
async def test_a_deaf_call_is_killed_and_the_others_are_repeated_alone(
    single, held, submit, eventually, released, way
):
    restarts = single.stats.restarts
    async with held(single):
        a = submit(single, Part("a", "alone"), deadline=time.monotonic() + 100)
        other = submit(single, Part("c"), "another key")
        deadline = time.monotonic() + 0.5 if way == "deadline" else None
        deaf = submit(single, Part("x", "never"), deadline=deadline)
        b = submit(single, Part("b", "alone"))
    await eventually(lambda: deaf.begun)
    if way != "deadline":
        getattr(deaf, way)()
    answers = [await call.answer() for call in (a, b, other)]
    assert [answer.names for answer in answers] == [["a"], ["b"], ["c"]]
    assert answers[0].begun < answers[1].begun < answers[2].begun
    with pytest.raises(asyncio.CancelledError if way == "abandon" else RequestTimeoutError):
        await deaf.answer()
    assert released == ["x", "a", "b", "c"]
    assert single.stats.restarts == restarts + 1


FAULTS = {
    "killed": (Part("x", "die"), WorkerLostError, 2),
    "gone": (Part("x", "leave"), WorkerLostError, 2),
    "memory": (Part("x", "exhaust", extra=80 * MIB), OutOfMemoryError, 0),
    "memory kept": (Part("x", "keep", extra=4 * MIB), OutOfMemoryError, 2),
    "payload too large": (Part("x", extra=bytes(80 * MIB)), OutOfMemoryError, 0),
    "payload unreadable": (Part("x", extra=pool_tasks.RejectsReading()), SolverServiceError, 0),
    "exception": (Part("x", "raise", extra=ValueError("a secret path")), SolverServiceError, 0),
    "exit": (Part("x", "raise", extra=SystemExit()), SolverServiceError, 0),
    "our exception": (Part("x", "raise", extra=InvalidInputError("b is wrong")), InvalidInputError, 0),
}


@pytest.mark.parametrize(("fault", "error", "deaths"), FAULTS.values(), ids=FAULTS)
async def test_where_a_task_breaks_its_calls_are_repeated_one_by_one(
    single, together, released, fault, error, deaths
):
    restarts = single.stats.restarts
    first, last, other = await outcomes(await together(Part("a", "alone"), fault, Part("b", "alone")))
    assert [first.names, other.names] == [["a"], ["b"]]
    assert type(last) is error
    assert "secret" not in str(last)
    assert released == ["a", "x", "b"]
    await single.wait_ready()
    assert single.stats.restarts == restarts + deaths


async def test_what_was_answered_before_a_crash_is_not_repeated(single, together, released):
    calls = await together(Part("a"), Part("b"), Part("x", "die"), Part("c"))
    *good, lost = await outcomes([calls[0], calls[1], calls[3], calls[2]])
    assert [answer.names for answer in good] == [["a", "b", "x", "c"]] * 2 + [["c"]]
    assert type(lost) is WorkerLostError
    assert released == ["a", "b", "x", "c"]


async def test_an_answer_too_large_to_be_sent_is_its_own_fault(single, together):
    restarts = single.stats.restarts
    first, large, last = await outcomes(
        await together(Part("a"), Part("x", "bulk", extra=40 * MIB), Part("b"))
    )
    assert first.names == last.names == ["a", "x", "b"]
    assert type(large) is OutOfMemoryError
    assert single.stats.restarts == restarts


@pytest.mark.parametrize(
    ("part", "error", "deaths"),
    [(fault, error, deaths // 2) for fault, error, deaths in FAULTS.values()],
    ids=FAULTS,
)
@pytest.mark.parametrize("key", ["A", None])
async def test_a_call_that_runs_alone_fails_at_once(single, submit, released, part, error, deaths, key):
    await single.wait_ready()
    restarts = single.stats.restarts
    with pytest.raises(SolverServiceError) as caught:
        await submit(single, part, key).answer()
    assert type(caught.value) is error
    assert released == ["x"]
    await single.wait_ready()
    assert single.stats.restarts == restarts + deaths


async def test_an_exception_after_the_last_answer_is_logged(single, together, caplog):
    calls = await together(Part("a"), Part("b"), task=tasks.raise_after_the_answers)
    assert [answer.names for answer in await outcomes(calls)] == [["a", "b"]] * 2
    assert await single.run(pool_tasks.echo, 1, lane="main") == 1
    assert "a secret path" in caplog.text


async def test_those_who_do_not_wait_any_more_are_not_repeated(single, together, eventually, released):
    calls = await together(*(Part(name, "never") for name in "ab"), Part("c", "alone"))
    await eventually(lambda: calls[0].begun)
    calls[0].stop(30.0)
    calls[1].abandon()
    assert await names(calls[2]) == ["c"]
    with pytest.raises(RequestTimeoutError):
        await calls[0].answer()
    assert not calls[0].begun
    assert released == ["a", "b", "c"]


async def test_deadlines_go_on_while_calls_are_repeated(single, held, submit, eventually):
    begun = time.monotonic()
    restarts = single.stats.restarts
    async with held(single):
        deadlines = [begun + 0.5, begun + 0.55, begun + 1.2, begun + 100.0]
        calls = [submit(single, Part(str(n), "never"), deadline=due) for n, due in enumerate(deadlines)]
    await eventually(lambda: calls[0].begun)
    for call in calls[:2]:  # the second was due when the worker was killed for the first
        with pytest.raises(RequestTimeoutError, match="deadline"):
            await call.answer()
    assert time.monotonic() - begun >= 0.6
    with pytest.raises(RequestTimeoutError, match="deadline"):
        await calls[2].answer()
    assert time.monotonic() - begun >= 1.3
    calls[3].stop()
    with pytest.raises(RequestTimeoutError):
        await calls[3].answer()
    await single.wait_ready()
    assert single.stats.restarts >= restarts + 2


async def test_a_call_is_repeated_by_another_worker_while_the_first_goes_on(
    held, submit, eventually, tmp_path
):
    config = PoolConfig(lanes={"main": 2}, memory_limit_bytes=64 * MIB)
    async with Pool(config) as pool:
        await pool.wait_ready()
        gate = tmp_path / "gate"
        other = pool.submit(pool_tasks.until_released, str(gate), lane="main")
        await eventually(gate.exists)
        full = tmp_path / "full"
        async with held(pool):
            large = submit(pool, Part("x", "bulk", str(full), 40 * MIB))
            going = submit(pool, Part("a", "listen"))
        await eventually(full.exists)
        gate.unlink()
        await other.answer()
        full.unlink()
        with pytest.raises(OutOfMemoryError):
            await large.answer()
        assert not going.done
        going.stop()
        assert await going.answer() == "best so far"


async def test_cancel_running_gets_the_best_answer_of_each(held, submit, eventually, released):
    async with Pool(PoolConfig(lanes={"main": 1}, grace_seconds=0.2)) as pool:
        async with held(pool):
            parts = [Part("a", "listen"), Part("b", "never"), Part("c", "listen"), Part("d", "never")]
            calls = [submit(pool, part) for part in parts]
        await eventually(lambda: calls[0].begun)
        waiting = submit(pool, Part("e"))
        pool.cancel_running()
        with pytest.raises(ShuttingDownError):
            await waiting.answer()
        assert [await calls[position].answer() for position in (0, 2)] == ["best so far"] * 2
        for position in (1, 3):
            with pytest.raises(ShuttingDownError):
                await calls[position].answer()
        with pytest.raises(ShuttingDownError):
            submit(pool, Part("f"))
    assert sorted(released) == list("abcdef")


@pytest.mark.parametrize("grace", [0.0, 0.2])
@pytest.mark.usefixtures("no_processes_left")
async def test_close_leaves_nobody_waiting(held, submit, eventually, released, grace):
    pool = Pool(PoolConfig(lanes={"main": 1}, grace_seconds=grace))
    await pool.start()
    async with held(pool):
        calls = [submit(pool, Part(name, "never")) for name in "abc"]
    await eventually(lambda: calls[0].begun)
    await pool.close()
    assert [type(outcome) for outcome in await outcomes(calls)] == [ShuttingDownError] * 3
    assert released == ["a", "b", "c"]


async def test_many_calls_of_all_kinds_at_random(eventually):
    rng = random.Random(1)
    gate = asyncio.Semaphore(40)
    outcomes = []

    async def one(pool, number):
        seen, released = [], []
        options = {
            "lane": "main",
            "priority": rng.randrange(-2, 3),
            "on_report": seen.append,
            "on_release": lambda: released.append(number),
        }
        do = rng.choices(["answer", "report", "listen", "never", "die", "raise"], [60, 10, 10, 2, 2, 4])[0]
        way = rng.choice(["wait", "stop", "abandon"])
        if way == "wait" and do not in ("die", "raise"):
            do = "answer"
        async with gate:
            part = Part(str(number), do, extra=ValueError())
            if do == "answer" and rng.random() < 0.2:
                call = pool.submit(pool_tasks.echo, part, **options)
            else:
                call = pool.submit_shared(tasks.work, part, key=rng.choice("ab"), **options)
            if way != "wait":
                for _ in range(rng.randrange(30)):
                    await asyncio.sleep(0)
                getattr(call, way)(*([0.05] if way == "stop" else []))
            [outcome] = await asyncio.gather(call.answer(), return_exceptions=True)
            await eventually(lambda: released)
        if do == "answer" and way == "wait":
            assert outcome.name == part.name
        assert set(seen) <= {part.name}
        assert released == [number]
        outcomes.append((way, do, type(outcome).__name__))

    async with Pool(PoolConfig(lanes={"main": 2}, grace_seconds=0.05)) as pool:
        await pool.wait_ready()
        await asyncio.gather(*(one(pool, number) for number in range(400)))
        await eventually(lambda: not pool.stats.busy)
        assert pool.stats.queued == pool.stats.together == 0
        assert pool.stats.shared > 50
        await pool.wait_ready()
    kinds = {(way, do): {k for w, d, k in outcomes if (w, d) == (way, do)} for way, do, _ in outcomes}
    assert kinds["wait", "answer"] <= {"Answer", "Part"}
    assert kinds["wait", "die"] == {"WorkerLostError"}
    assert kinds["wait", "raise"] == {"SolverServiceError"}
    assert kinds["stop", "never"] == {"RequestTimeoutError"}
    assert {k for (way, _), ks in kinds.items() if way == "abandon" for k in ks} >= {"CancelledError"}
