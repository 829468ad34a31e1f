"""A job in a worker, without a pool around it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from solver_service.engine import Share
from solver_service.errors import NoSolutionError
from solver_service.methods import Options, Status, Trial, Tuning, parts, solving_seconds
from solver_service.methods.tuning import Lesson
from solver_service.storage import JobFolder, read_snapshot
from solver_service.tasks.learning import Experience
from solver_service.tasks.run_jobs import RunRequest, run_jobs

ID = "job_" + "1" * 32


def run_alone(context, request):
    """Run one job; return its answer."""
    answers = []
    run_jobs([Share(context, request, answers.append, answers.append)])
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


@pytest.fixture
def job(worker, stored, matrix):
    """Make a job with k right-hand sides, and what asks to run it."""

    def make(columns=1, **options):
        A = matrix(1, 60, 40)
        record = stored(A).record
        b = A @ np.random.default_rng(2).standard_normal((40, columns))
        with worker.files.receive() as folder:
            folder.write_input(b[:, 0] if columns == 1 else b, None)
            folder.publish(ID)

        def request(**members):
            given = {"waited": 0.0, "due": None, "seconds_before": 0.0, "seconds": 0.0} | members
            return RunRequest(
                id=ID, attempt=1, matrix_id=record.id, options=asdict(Options(**options)), **given
            )

        return request

    return make


def test_the_seconds_of_all_right_hand_sides_are_told(job, worker, context):
    request = job(columns=30, method="kaczmarz", rtol=1e-9, max_epochs=30.0)
    answer = run_alone(context(), request())
    state = read_snapshot(worker.files.folder(ID).path / answer.saved_state)
    # A job that resumes this one is to have all of its time limit.
    assert answer.progress["seconds"] >= solving_seconds(state) > 0.0


@pytest.mark.parametrize("settle", ["cancelled", "time_limit"])
def test_what_is_settled_ends_as_it_should_whoever_stops_it(job, context, settle):
    answer = run_alone(context(cancelled=lambda: True), job(method="kaczmarz", rtol=1e-12)(settle=settle))
    assert answer.status is Status(settle)
    assert json.loads(answer.document)["status"] == settle


def test_a_job_is_one_use_however_often_it_is_taken_up(job, worker, context):
    request = job()()
    for attempt in (1, 2, 3):
        run_alone(context(), replace(request, attempt=attempt))
    assert worker.store.usage_of(worker.store.get(request.matrix_id)).uses == 1


def test_a_job_leaves_what_it_has_derived(job, worker, context, monkeypatch):
    monkeypatch.setattr(parts, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(parts, "_BYTES_PER_SECOND", 1e18)
    request, later = job(method="ssor_cgls")(), []
    run_alone(context(afterwards=later.append), request)
    for piece in later:
        piece()
    names = {part.name for part in worker.store.prepared.parts(request.matrix_id)}
    assert {"transpose", "column_norms"} <= names


@pytest.fixture
def block(worker, stored, matrix):
    """Make several jobs of one matrix, and what asks to run them."""
    A = matrix(1, 60, 40)
    id_ = stored(A).record.id
    rng = np.random.default_rng(2)

    def make(count, **options):
        requests = []
        for number in range(count):
            name = f"job_{number:032x}"
            with worker.files.receive() as folder:
                folder.write_input(A @ rng.standard_normal(40), None)
                folder.publish(name)
            requests.append(
                RunRequest(
                    id=name,
                    attempt=1,
                    matrix_id=id_,
                    options=asdict(Options(threads=1, **options)),
                    waited=0.0,
                    due=None,
                    seconds_before=0.0,
                    seconds=0.0,
                )
            )
        return requests

    return make


def run_block(context, requests):
    """Run them in one task; return what each was answered or failed with."""
    heard = [[] for _ in requests]
    run_jobs(
        [
            Share(context(), request, told.append, told.append)
            for request, told in zip(requests, heard, strict=True)
        ]
    )
    return [told for [told] in heard]


def x_of(worker, request, answer):
    return worker.files.folder(request.id).read_solution(answer.solution)[0].copy()


def test_jobs_in_a_block_have_the_bits_that_they_have_alone(block, worker, context):
    requests = block(4, method="cgmn", rtol=1e-10)
    answers = run_block(context, requests)
    together = [x_of(worker, *pair) for pair in zip(requests, answers, strict=True)]
    assert [json.loads(answer.document)["shared"] for answer in answers] == [4] * 4
    for request, x in zip(requests, together, strict=True):
        answer = run_alone(context(), request)  # as after the loss of a worker, with the same attempt
        assert json.loads(answer.document)["shared"] == 1
        np.testing.assert_array_equal(x_of(worker, request, answer), x)


def test_what_fails_one_leaves_the_others_alone(block, worker, context, monkeypatch):
    requests = block(4, method="cgmn")
    (worker.files.folder(requests[0].id).path / "b.npy").unlink()
    write = JobFolder.write_solution

    def fail(self, *arguments):
        if self.path.name == requests[2].id:
            raise ValueError("cannot be written")
        return write(self, *arguments)

    monkeypatch.setattr(JobFolder, "write_solution", fail)
    missing, good, unwritable, last = run_block(context, requests)
    assert isinstance(missing, NoSolutionError)
    assert isinstance(unwritable, ValueError)
    assert good.status is last.status is Status.CONVERGED


def test_what_was_learned_after_acceptance_is_not_used(block, worker, context):
    [request] = block(1, method="auto", rtol=1e-9)
    prepared = worker.prepared(request.matrix_id)
    experience, later = Experience(worker, prepared), []

    def tuning_of(answer):
        return json.loads(answer.document)["parameters"]["tuning"]

    first = run_alone(context(afterwards=later.append), request)
    x = x_of(worker, request, first)
    experience.note([(Trial("lsqr", Lesson(1e-9, won=True)),)], context(afterwards=later.append))
    for piece in later:
        piece()
    assert experience.newest().version > 0
    again = run_alone(context(), request)
    assert tuning_of(again) == tuning_of(first) == Tuning().label
    np.testing.assert_array_equal(x_of(worker, request, again), x)
    newest = replace(request, tuning=experience.newest().version, warm_start=3)
    assert tuning_of(run_alone(context(), newest)) == replace(experience.newest(), warm_start=3).label
