"""A job in a worker, without a pool around it."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from solver_service.methods import Options, Status, solving_seconds
from solver_service.storage import read_snapshot
from solver_service.tasks.jobs import RunRequest, run_job

ID = "job_" + "1" * 32


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
    answer = run_job(context(), request())
    state = read_snapshot(worker.files.folder(ID).path / answer.saved_state)
    # A job that resumes this one is to have all of its time limit.
    assert answer.progress["seconds"] >= solving_seconds(state) > 0.0


@pytest.mark.parametrize("settle", ["cancelled", "time_limit"])
def test_what_is_settled_ends_as_it_should_whoever_stops_it(job, context, settle):
    answer = run_job(context(cancelled=lambda: True), job(method="kaczmarz", rtol=1e-12)(settle=settle))
    assert answer.status is Status(settle)
    assert json.loads(answer.document)["status"] == settle
