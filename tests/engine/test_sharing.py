import asyncio
import time

import pool_tasks
import pytest
import shared_tasks as tasks
from shared_tasks import Part, names, outcomes

from solver_service.engine import Pool, PoolConfig, Share, TaskContext
from solver_service.errors import (
    FieldError,
    InvalidInputError,
    QueueFullError,
    RequestTimeoutError,
    SolverServiceError,
)

pytestmark = pytest.mark.anyio


async def test_calls_that_wait_for_the_same_share_a_worker(single, held, submit, released):
    before = single.stats.shared
    async with held(single):
        calls = [submit(single, Part(name)) for name in "abc"]
        assert (single.stats.busy, single.stats.together, single.stats.queued) == (1, 1, 3)
        assert not any(call.begun for call in calls)
    answers = await outcomes(calls)
    assert [answer.name for answer in answers] == ["a", "b", "c"]
    assert [answer.names for answer in answers] == [["a", "b", "c"]] * 3
    assert len({answer.begun for answer in answers}) == 1
    assert all(call.begun for call in calls)
    assert released == ["a", "b", "c"]
    assert single.stats.shared == before + 3


async def test_a_call_that_need_not_wait_goes_alone(single, submit, released, eventually):
    await single.wait_ready()
    before = single.stats.shared
    for name in "ab":
        await eventually(lambda: single.stats.busy == 0)
        call = submit(single, Part(name))
        assert call.begun
        assert await names(call) == [name]
    assert single.stats.shared == before
    assert released == ["a", "b"]


async def test_those_that_come_while_some_share_wait_for_the_next_turn(single, together, submit, tmp_path):
    gate = tmp_path / "gate"
    first = await together(Part("a", "gate", str(gate)), Part("b"))
    assert await names(first[1]) == ["a", "b"]
    later = [submit(single, Part(name)) for name in "cd"]
    assert single.stats.queued == 2
    gate.unlink()
    assert await names(first[0]) == ["a", "b"]
    assert [await names(call) for call in later] == [["c", "d"]] * 2


async def test_only_calls_of_one_key_and_task_share(single, held, submit):
    async with held(single):
        a, b = submit(single, Part("a"), "A"), submit(single, Part("b"), "B")
        plain = single.submit(pool_tasks.echo, 1, lane="main")
        c, d = submit(single, Part("c"), None), submit(single, Part("d"), None)
        other = submit(single, Part("e"), "A", tasks.work_too)
        f, g = submit(single, Part("f"), "B"), submit(single, Part("g"), "A")
    assert [await names(call) for call in (a, b, c, d, other, f, g)] == [
        ["a", "g"],
        ["b", "f"],
        ["c"],
        ["d"],
        ["e"],
        ["b", "f"],
        ["a", "g"],
    ]
    assert await plain.answer() == 1


@pytest.mark.parametrize(
    ("options", "sizes"), [({}, [16, 4]), ({"most_together": 3}, [3] * 6 + [2])], ids=str
)
async def test_no_more_share_than_allowed(held, submit, options, sizes):
    async with Pool(PoolConfig(lanes={"main": 1}, **options)) as pool:
        async with held(pool):
            calls = [submit(pool, Part(str(number))) for number in range(20)]
        answers = await outcomes(calls)
    groups = list(dict.fromkeys(tuple(answer.names) for answer in answers))
    assert [len(group) for group in groups] == sizes
    assert [int(name) for group in groups for name in group] == list(range(20))


async def test_sharing_can_be_turned_off(held, submit, eventually):
    async with Pool(PoolConfig(lanes={"main": 1}, most_together=1)) as pool:
        async with held(pool):
            calls = [submit(pool, Part(name)) for name in "ab"]
        assert [await names(call) for call in calls] == [["a"], ["b"]]
        assert pool.stats.shared == 0
        listening = submit(pool, Part("c", "listen"))
        await eventually(lambda: listening.begun)
        listening.stop(30.0)
        assert await listening.answer() == "best so far"


async def test_priority_goes_before_arrival_for_all_calls(single, held):
    order = []

    def submit(name, priority, *, shared):
        options = {"lane": "main", "priority": priority, "on_release": lambda: order.append(name)}
        if shared:
            return single.submit_shared(tasks.work, Part(name), key=name, **options)
        return single.submit(pool_tasks.echo, name, **options)

    async with held(single):
        calls = [
            submit("low", -10, shared=True),
            submit("usual", 0, shared=False),
            submit("usual too", 0, shared=True),
            submit("lower", -3, shared=False),
            submit("high", 9, shared=True),
            submit("high too", 9, shared=False),
        ]
        highest = single.run(
            pool_tasks.echo, 1, lane="main", priority=10, on_release=lambda: order.append("highest")
        )
        calls.append(asyncio.create_task(highest))
        await asyncio.sleep(0)
    await calls.pop()
    await outcomes(calls)
    assert order == ["highest", "high", "high too", "usual", "usual too", "lower", "low"]


async def test_calls_of_lower_priority_ride_along_behind_the_others(single, held, submit):
    async with held(single):
        low, other = submit(single, Part("low"), priority=-5), submit(single, Part("other"), "B")
        high, usual = submit(single, Part("high"), priority=5), submit(single, Part("usual"))
    answers = await outcomes([high, usual, low])
    assert [answer.names for answer in answers] == [["high", "usual", "low"]] * 3
    assert (await other.answer()).begun > answers[0].begun


async def test_an_answer_is_there_while_others_still_run(single, together, tmp_path, released):
    gate = tmp_path / "gate"
    slow, quick = await together(Part("slow", "gate", str(gate)), Part("quick"))
    assert await names(quick) == ["slow", "quick"]
    assert not slow.done
    assert released == ["quick"]
    assert (single.stats.busy, single.stats.together) == (1, 1)
    gate.unlink()
    assert await names(slow) == ["slow", "quick"]
    assert released == ["quick", "slow"]


async def test_a_worker_is_busy_until_its_task_returns(single, together, tmp_path, eventually):
    path = tmp_path / "lingers"
    calls = await together(Part("a", path=str(path)), Part("b"), task=tasks.linger)
    await outcomes(calls)
    assert (single.stats.busy, single.stats.together, single.idle("main")) == (1, 0, 0)
    calls[0].stop()
    calls[1].abandon()
    next_one = single.submit(pool_tasks.echo, 1, lane="main")
    assert not next_one.begun
    path.unlink()
    assert await next_one.answer() == 1
    await eventually(lambda: single.stats.busy == 0)


async def test_a_failure_of_one_is_its_own(single, together, caplog):
    restarts = single.stats.restarts
    bad = InvalidInputError("b is wrong", errors=[FieldError("b[3]", "is NaN")], retry_after=7)
    calls = await together(
        Part("bad", "fail", extra=bad),
        Part("broken", "fail", extra=ValueError("a secret path")),
        Part("closure", "closure"),
        Part("unsendable", "unsendable"),
        Part("unreadable", "unreadable"),
        Part("forgotten", "forget"),
        Part("good"),
    )
    *failed, good = await outcomes(calls)
    assert isinstance(failed[0], InvalidInputError)
    assert failed[0].errors == (FieldError("b[3]", "is NaN"),)
    assert failed[0].retry_after == 7
    for error in failed[1:]:
        assert type(error) is SolverServiceError
        assert error.detail == "internal error"
    assert len(good.names) == 7
    assert caplog.text.count("secret") == 1
    assert "without an answer" in caplog.text
    assert single.stats.restarts == restarts


@pytest.mark.parametrize("way", ["stop", "abandon"])
async def test_stopping_one_does_not_disturb_the_others(single, together, eventually, released, way):
    restarts = single.stats.restarts
    calls = await together(*(Part(name, "listen") for name in "abcd"))
    await eventually(lambda: all(call.begun for call in calls))
    for position in (2, 0, 3):
        getattr(calls[position], way)()
        await eventually(lambda name="abcd"[position]: name in released)
        if way == "stop":
            assert await calls[position].answer() == "best so far"
        else:
            with pytest.raises(asyncio.CancelledError):
                await calls[position].answer()
    assert not calls[1].done
    assert released == ["c", "a", "d"]
    calls[1].stop()
    assert await calls[1].answer() == "best so far"
    assert released == ["c", "a", "d", "b"]
    assert single.stats.restarts == restarts


async def test_a_stop_reaches_its_own_call_and_none_after_it(together, eventually):
    for size in (3, 1, 16, 2, 16):
        calls = await together(*(Part(str(number), "listen") for number in range(size)))
        await eventually(lambda last=calls[-1]: last.begun)
        calls[size // 2].stop(30.0)
        assert await calls[size // 2].answer() == "best so far"
        assert sum(call.done for call in calls) == 1
        for call in calls:
            call.stop(30.0)
        assert await outcomes(calls) == ["best so far"] * size


async def test_a_call_that_is_stopped_while_it_waits_leaves_the_queue(single, held, submit, released):
    async with held(single):
        calls = [submit(single, Part(name)) for name in "abcd"]
        calls[0].stop()
        waiter = asyncio.create_task(calls[2].answer())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert single.stats.queued == 2
        assert released == ["a", "c"]
    with pytest.raises(RequestTimeoutError, match="before it could begin"):
        await calls[0].answer()
    assert [await names(calls[position]) for position in (1, 3)] == [["b", "d"]] * 2


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_caller_that_goes_in_the_instant_of_the_start_is_left_out(
    single, submit, eventually, tmp_path, gone
):
    path = tmp_path / "held"
    await single.wait_ready()
    holding = single.submit(
        pool_tasks.until_released, str(path), lane="main", on_release=lambda: waiters[gone].cancel()
    )
    waiters = [asyncio.create_task(submit(single, Part(name)).answer()) for name in "abc"]
    await eventually(lambda: path.exists() and single.stats.queued == 3)
    path.unlink()
    await holding.answer()
    await asyncio.gather(*waiters, return_exceptions=True)
    left = [name for position, name in enumerate("abc") if position != gone]
    assert waiters.pop(gone).cancelled()
    assert [waiter.result().names for waiter in waiters] == [left] * 2


async def test_each_has_its_own_deadline(single, held, submit):
    due = time.monotonic() + 0.5
    async with held(single):
        soon = submit(single, Part("a", "deadline"), deadline=due)
        late = submit(single, Part("b", "listen"), deadline=due + 100)
        never = submit(single, Part("c", "listen"))
    assert await soon.answer() == due
    assert not late.done
    assert not never.done
    late.stop()
    never.stop()
    assert await outcomes([late, never]) == ["best so far"] * 2


async def test_reports_go_to_their_own_callers(single, held, submit, eventually):
    seen = {name: [] for name in "abc"}
    async with held(single):
        calls = [submit(single, Part(name, "report"), on_report=seen[name].append) for name in "abc"]
    await eventually(lambda: all(len(reports) > 100 for reports in seen.values()))
    for call in calls:
        call.stop()
    assert await outcomes(calls) == ["reported"] * 3
    assert all(set(reports) == {name} for name, reports in seen.items())


async def test_a_report_after_the_answer_is_dropped(single, held, submit):
    seen = []
    restarts = single.stats.restarts
    async with held(single):
        calls = [
            submit(single, Part(name), task=tasks.report_after_the_answer, on_report=seen.append)
            for name in "ab"
        ]
    assert await outcomes(calls) == ["a", "b"]
    assert await single.run(pool_tasks.echo, 1, lane="main") == 1
    assert seen == []
    assert single.stats.restarts == restarts


async def test_nobody_is_answered_twice(single, submit, caplog):
    assert await submit(single, Part("a"), task=tasks.answer_twice).answer() == 1
    assert await single.run(pool_tasks.echo, 1, lane="main") == 1
    assert "only once" in caplog.text


async def test_a_deadline_can_pass_in_the_queue(single, held, submit):
    async with held(single):
        late, patient = submit(single, Part("a"), deadline=time.monotonic() + 0.05), submit(single, Part("b"))
        with pytest.raises(QueueFullError, match="deadline"):
            await late.answer()
    assert await names(patient) == ["b"]


async def test_calls_gather_before_the_first_worker_is_warm(submit):
    async with Pool(PoolConfig(lanes={"main": 1})) as pool:
        calls = [submit(pool, Part(name)) for name in "ab"]
        assert [await names(call) for call in calls] == [["a", "b"]] * 2


async def test_retry_after_reckons_with_the_time_for_each_call(single, together, eventually, tmp_path):
    gate = tmp_path / "gate"
    lane = single._lane("main")
    begun = time.monotonic()
    calls = await together(Part("0", "gate", str(gate)), *(Part(str(number)) for number in range(1, 10)))
    await outcomes(calls[1:])
    lane._durations.clear()
    gate.unlink()
    await calls[0].answer()
    await eventually(lambda: single.stats.busy == 0)
    assert 0 < lane._durations[0] <= (time.monotonic() - begun) / 10


async def test_a_payload_that_cannot_be_sent_is_an_internal_error(single, submit, released):
    with pytest.raises(SolverServiceError, match="internal"):
        submit(single, Part("a", extra=lambda: None))
    assert released == ["a"]


async def test_shares_can_be_made_without_a_pool():
    answers, errors = [], []
    context = TaskContext(time.monotonic())
    parts = (Part("good"), Part("bad", "unsendable"))
    good, bad = (Share(context, part, answers.append, errors.append) for part in parts)
    tasks.work([good, bad])
    assert [answer.name for answer in answers] == ["good"]
    assert [type(error) for error in errors] == [SolverServiceError]
    for share in (good, bad, Share(context, Part("x"))):
        if not share.settled:
            share.answer("nobody listens")
        with pytest.raises(RuntimeError, match="once"):
            share.answer(1)
        with pytest.raises(RuntimeError, match="once"):
            share.fail(ValueError())
