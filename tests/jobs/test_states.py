"""The table of transitions."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from solver_service.jobs import ACTIVE, ENDED, Claim, Job, Spec, State, may_follow, sources
from solver_service.jobs.states import TRANSITIONS

LEGAL = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("running", "cancelled"),
    ("running", "failed"),
}


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_which_may_follow(before, after):
    legal = (before, after) in LEGAL
    assert may_follow(before, after) is legal
    assert (before in sources(after)) is legal


def test_every_state_is_in_the_table():
    assert set(TRANSITIONS) == set(State)
    assert set(State) == ACTIVE | ENDED
    assert not ACTIVE & ENDED
    assert {State.QUEUED, State.RUNNING} == ACTIVE


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TRANSITIONS[State.FAILED] = frozenset(State)


@pytest.mark.parametrize("state", list(State))
def test_a_job_knows_whether_it_is_active(state, make_job):
    assert make_job(state=state).active is (state in ACTIVE)


def test_the_claim_of_a_job(make_job):
    assert make_job(attempts=3, owner="me").claim == Claim(1, 3, "me")
    assert make_job().claim == Claim(1, 0, "")


@pytest.fixture
def make_job():
    spec = Spec(matrix_id="mat_x", shape=(1, 1), nnz=1)
    fixed = {"number": 1, "id": "job_x", "spec": spec, "created_at": datetime.now(UTC)}

    def make_job(**values):
        return Job(**{"state": State.QUEUED} | fixed | values)

    return make_job
