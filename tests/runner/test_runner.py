"""The runner with a pool whose answers are told by the test."""

import asyncio
import time
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import numpy as np
import pytest

from solver_service.errors import (
    DiskFullError,
    NoWorkerError,
    OutOfMemoryError,
    QueueFullError,
    RequestTimeoutError,
    ShuttingDownError,
    WorkerLostError,
)
from solver_service.jobs import Job, NewJob, Spec, State
from solver_service.methods import Status
from solver_service.runner import Feed, Runner, RunnerConfig
from solver_service.runner.running import Running
from solver_service.storage import JobFiles
from solver_service.storage.database import JobTable, migrate, open_engine
from solver_service.tasks.run_jobs import Heard, RunAnswer

pytestmark = pytest.mark.anyio

ID = "job_" + "1" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(status):
    progress = {"iterations": 1, "epochs": 1.0, "seconds": 1.0, "relative_residual": 0.5}
    return RunAnswer(b"{}", Status(status), False, "solution-1.npy", None, 100, progress)


class Call:
    """What the pool returns."""

    def __init__(self, request):
        self.request = request
        self.stopped = asyncio.Event()
        self.future = asyncio.get_running_loop().create_future()

    def stop(self, grace):
        del grace
        self.stopped.set()

    async def answer(self):
        return await self.future

    def give(self, what):
        if isinstance(what, Exception):
            self.future.set_exception(what)
        else:
            self.future.set_result(what)


class Pool:
    """Takes calls, or refuses the next ones with `refusals`."""

    def __init__(self):
        self.calls = asyncio.Queue()
        self.refusals = []

    def idle(self, lane):
        del lane
        return 1

    def submit_together(self, task, parts, *, lane):
        del task, lane
        if self.refusals:
            raise self.refusals.pop()
        calls = [Call(part.payload) for part in parts]
        for call in calls:
            self.calls.put_nowait(call)
        return calls

    async def next(self):
        async with asyncio.timeout(5):
            return await self.calls.get()


class Desk:
    """A runner with all that it needs."""

    def __init__(self, folder, **config):
        engine = open_engine(f"sqlite:///{folder / 'jobs.sqlite3'}")
        migrate(engine)
        self.table, self.files, self.pool = JobTable(engine), JobFiles(folder), Pool()
        config = {"lane": "jobs", "workers": 1, "beat_seconds": 0.1, "stall_seconds": 5.0} | config
        self.runner = Runner(self.table, self.files, self.pool, Feed(self.table), RunnerConfig(**config))

    def add(self, **spec):
        with self.files.receive() as folder:
            folder.write_input(np.ones(9), None)
            folder.publish(ID)
            new = NewJob(
                id=ID, spec=Spec(matrix_id="m", shape=(9, 5), nnz=9, **spec), size=folder.size(), digest=""
            )
            self.table.add(new, most_queued=9, matrix_exists=lambda: True).result()

    async def until(self, condition):
        async with asyncio.timeout(5):
            while True:
                job = await asyncio.to_thread(self.table.get, ID)
                if condition(job):
                    return job
                await asyncio.sleep(0.02)

    async def ended(self):
        return await self.until(lambda job: not job.active)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def desk(tmp_path):
    """Make a runner at work."""

    @asynccontextmanager
    async def make(spec=None, **config):
        desk = Desk(tmp_path, **config)
        desk.add(**(spec or {}))
        desk.runner.start()
        try:
            yield desk
        finally:
            while not desk.pool.calls.empty():
                desk.pool.calls.get_nowait().give(ShuttingDownError("over"))
            await desk.runner.close()
            desk.table.close()

    return make


async def test_a_request_to_stop_leaves_alone_what_is_being_settled(desk):
    async with desk({"options": {"time_limit": 1.0}}) as at:
        (await at.pool.next()).give(RequestTimeoutError("killed"))
        settling = await at.pool.next()
        assert settling.request.settle == "time_limit"
        at.table.request_stop(ID).result()
        await asyncio.sleep(0.4)
        assert not settling.stopped.is_set()
        settling.give(answer("time_limit"))
        assert (await at.ended()).state is State.CANCELLED


async def test_a_worker_that_dies_while_settling_is_given_a_second_chance(desk):
    async with desk() as at:
        call = await at.pool.next()
        at.table.request_stop(ID).result()
        await asyncio.wait_for(call.stopped.wait(), 5)
        call.give(RequestTimeoutError("killed"))
        (await at.pool.next()).give(WorkerLostError("killed from outside"))
        (await at.pool.next()).give(answer("cancelled"))
        job = await at.ended()
        assert (job.state, job.solution) == (State.CANCELLED, "solution-1.npy")


async def test_a_pool_without_room_is_asked_again(desk):
    async with desk() as at:
        at.pool.refusals = [QueueFullError("no")] * 2
        (await at.pool.next()).give(answer("converged"))
        assert (await at.ended()).state is State.SUCCEEDED


async def test_what_was_given_to_another_is_not_settled(desk):
    async with desk() as at:
        call = await at.pool.next()
        at.table.give_back_stalled(-1.0, 5).result()
        await asyncio.wait_for(call.stopped.wait(), 5)
        call.give(RequestTimeoutError("killed"))
        again = await at.pool.next()
        assert (again.request.attempt, again.request.settle) == (2, None)
        again.give(answer("converged"))
        assert (await at.ended()).state is State.SUCCEEDED


async def test_what_ends_without_x_keeps_its_states_and_is_counted(desk):
    async with desk() as at:
        call = await at.pool.next()
        folder = at.files.folder(ID)
        with folder.new_state(1) as path:
            path.write_bytes(bytes(1000))
        at.table.request_stop(ID).result()
        await asyncio.wait_for(call.stopped.wait(), 5)
        call.give(RequestTimeoutError("killed"))
        for _ in range(2):
            (await at.pool.next()).give(WorkerLostError("killed, too"))
        job = await at.ended()
        assert (job.state, job.solution) == (State.CANCELLED, None)
        assert job.size == folder.size() + 1000
        assert [path.name for path in folder.states()] == ["state-1.zip"]


async def test_what_stops_slowly_is_heard_of_until_it_has_stopped(desk):
    async with desk(stall_seconds=1.0) as at:
        call = await at.pool.next()
        closing = asyncio.create_task(at.runner.close())
        await asyncio.sleep(1.5)
        assert at.table.give_back_stalled(1.0, 5).result() == []
        call.give(ShuttingDownError("stopped"))
        await closing
        job = at.table.get(ID)
        assert (job.state, job.strikes) == (State.QUEUED, 0)


async def test_jobs_that_are_claimed_while_it_closes_are_given_back(desk, monkeypatch):
    claim = JobTable.claim

    def slowly(self, *arguments):
        self._writer.submit(lambda _: time.sleep(0.3))
        return claim(self, *arguments)

    monkeypatch.setattr(JobTable, "claim", slowly)
    async with desk() as at:
        at.runner.wake()
        await asyncio.sleep(0.1)
        at.pool.refusals = [ShuttingDownError("over")]
        await at.runner.close()
        job = at.table.get(ID)
        assert (job.state, job.strikes, job.attempts) == (State.QUEUED, 0, 1)


async def test_a_full_disk_at_the_end_is_waited_for(desk, monkeypatch):
    monkeypatch.setattr("solver_service.runner.runner._WANT_SECONDS", 0.3)
    async with desk() as at:
        began = time.monotonic()
        (await at.pool.next()).give(DiskFullError("no space"))
        again = await at.pool.next()
        assert time.monotonic() - began > 0.25
        assert again.request.attempt == 2
        again.give(answer("converged"))
        job = await at.ended()
        assert (job.state, job.strikes) == (State.SUCCEEDED, 0)


async def test_memory_that_does_not_suffice_is_no_reason_to_try_again(desk):
    async with desk() as at:
        (await at.pool.next()).give(OutOfMemoryError("it needs more than a worker may use"))
        job = await at.ended()
        assert (job.state, job.error) == (
            State.FAILED,
            ("out_of_memory", "it needs more than a worker may use"),
        )


async def test_lost_workers_are_given_ever_more_time(desk, monkeypatch):
    monkeypatch.setattr("solver_service.runner.runner._FIRST_PAUSE", 0.1)
    async with desk(most_strikes=3) as at:
        pauses = []
        for _ in range(3):
            call = await at.pool.next()
            began = time.monotonic()
            call.give(WorkerLostError("killed"))
            await at.until(lambda job, attempt=call.request.attempt: job.attempts > attempt or not job.active)
            pauses.append(time.monotonic() - began)
        assert pauses[0] > 0.1
        assert pauses[1] > 0.2
        assert pauses[2] > 0.4
        job = await at.ended()
        assert (job.state, job.error[0], job.strikes) == (State.FAILED, "worker_lost", 3)


async def test_what_the_database_will_never_take_does_not_stay_for_ever(desk, monkeypatch):
    async with desk() as at:
        finish, told = at.table.finish, []

        def refuse(claim, outcome):
            told.append(outcome)
            if len(told) == 1:
                future = Future()
                future.set_exception(ValueError("too long"))
                return future
            return finish(claim, outcome)

        monkeypatch.setattr(at.table, "finish", refuse)
        (await at.pool.next()).give(answer("converged"))
        job = await at.ended()
        assert (job.state, job.error[0]) == (State.FAILED, "internal")


@pytest.mark.parametrize("want", [DiskFullError("no space"), NoWorkerError("none can start")])
async def test_what_is_to_be_settled_waits_for_what_is_wanting(desk, monkeypatch, want):
    monkeypatch.setattr("solver_service.runner.runner._WANT_SECONDS", 0.2)
    async with desk() as at:
        call = await at.pool.next()
        at.table.request_stop(ID).result()
        await asyncio.wait_for(call.stopped.wait(), 5)
        call.give(RequestTimeoutError("killed"))
        (await at.pool.next()).give(want)
        again = await at.pool.next()
        assert (again.request.settle, again.request.attempt) == ("cancelled", 2)
        again.give(answer("cancelled"))
        job = await at.ended()
        assert (job.state, job.solution, job.strikes) == (State.CANCELLED, "solution-1.npy", 0)


async def test_seconds_stand_still_while_nobody_works():
    spec = Spec(matrix_id="m", shape=(1, 1), nnz=1)
    job = Job(number=1, id=ID, state=State.RUNNING, spec=spec, created_at=NOW)
    running = Running(job, [job])
    assert running.report().progress is None
    running.hear(Heard(progress={"iterations": 1, "seconds": 5.0}))
    running.rests()
    told = running.report().progress["seconds"]
    await asyncio.sleep(0.05)
    assert told == pytest.approx(5.0, abs=0.04)
    assert running.seconds == told
