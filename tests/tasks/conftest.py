"""A configured worker, in this process."""

import json
import time

import numpy as np
import pytest
from scipy.sparse import random_array

from solver_service.engine import Share, TaskContext
from solver_service.problems.limits import Limits
from solver_service.tasks import state
from solver_service.tasks.matrices import StoreRequest, store_matrix
from solver_service.tasks.solve import solve
from solver_service.wire.systems import InputLimits


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """The state of this process as a worker."""
    monkeypatch.setattr(state, "_current", None)
    limits = InputLimits(Limits(), 10_000_000)
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    state.configure(state.TaskConfig(tmp_path, url, limits, 2**20, 60.0, 3600.0))
    return state.current()


@pytest.fixture
def context():
    """Make the context of a task that waited for a quarter of a second."""

    def make(**members):
        return TaskContext(submitted=time.monotonic() - 0.25, **members)

    return make


@pytest.fixture
def solve_one():
    """Solve a request alone; return its reply, or raise what is wrong with it."""

    def ask(context, request):
        outcomes = []
        solve([Share(context, request, outcomes.append, outcomes.append)])
        (outcome,) = outcomes
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return ask


@pytest.fixture
def matrix():
    """Make a random matrix."""

    def make(seed, m=40, n=15):
        generator = np.random.default_rng(seed)
        normal = generator.standard_normal
        return random_array((m, n), density=0.3, rng=generator, format="csr", data_sampler=normal)

    return make


def _document(A):
    return {
        "format": "csr",
        "shape": list(A.shape),
        "indptr": A.indptr.tolist(),
        "indices": A.indices.tolist(),
        "data": A.data.tolist(),
    }


@pytest.fixture
def document():
    """Write a matrix as a JSON document."""
    return _document


@pytest.fixture
def stored(worker, context):
    """Store a matrix."""

    def make(A):
        content = json.dumps(_document(A)).encode()
        return store_matrix(context(), StoreRequest(content, None, must_be_json=True))

    return make
