"""Jobs that wait for the same matrix are solved as one block, and each is as if it were alone."""

from __future__ import annotations

import io
from contextlib import ExitStack

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array, random_array

import solver_service


def rod(n):
    """A thin rod, on which row methods take very long."""
    return csr_array(diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]))


def document(A):
    A = A.tocoo()
    parts = {"row": A.row.tolist(), "col": A.col.tolist(), "data": A.data.tolist()}
    return {"format": "coo", "shape": list(A.shape), **parts}


class Desk:
    """A client, and two stored matrices: of a short solve and of a long one."""

    def __init__(self, server, client):
        self.server, self.client = server, client
        rng = np.random.default_rng(5)
        self.A = csr_array(random_array((60, 40), density=0.2, rng=rng, data_sampler=rng.standard_normal))
        self.rod = rod(2000)
        self.short, self.long = (self.store(A) for A in (self.A, self.rod))

    def store(self, A):
        return self.client.post("/v1/matrices", json=document(A)).json()["id"]

    def submit(self, matrix, b, **members):
        options = {"method": "cgmn", "rtol": 1e-9} | members.pop("options", {})
        body = {"matrix": {"id": matrix}, "b": b.tolist(), "options": options, **members}
        response = self.client.post("/v1/jobs", json=body)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def submit_endless(self, **members):
        options = {
            "method": "kaczmarz",
            "momentum": "none",
            "batch_size": 1,
            "rtol": 1e-13,
            "max_epochs": 1e12,
        }
        b = self.rod @ np.sin(np.arange(2000.0))
        return self.submit(self.long, b, options=options, **members)

    def get(self, id_, wait=0):
        return self.client.get(f"/v1/jobs/{id_}", params={"wait": wait}).json()

    def ended(self, id_):
        job = self.get(id_, 30)
        assert job["finished_at"] is not None, job
        return job

    def cancel(self, id_):
        self.client.post(f"/v1/jobs/{id_}/cancel")

    def x(self, id_):
        response = self.client.get(f"/v1/jobs/{id_}/solution", headers={"Accept": "application/x-npy"})
        return np.load(io.BytesIO(response.content))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def desk(request, live, tmp_path_factory):
    settings = {"job_workers": 1, "stall_seconds": 5, "checkpoint_seconds": 0.2}
    with ExitStack() as stack:
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            settings["database_url"] = stack.enter_context(server.database())
        server = stack.enter_context(live(tmp_path_factory.mktemp("shared"), **settings))
        yield Desk(server, stack.enter_context(server.client()))


@pytest.fixture
def behind(desk, wait_until):
    """Call something while the only worker is busy, and let it go on after that."""

    def behind(submit):
        blocker = desk.submit_endless(priority=10)
        wait_until(lambda: desk.get(blocker)["state"] == "running")
        submitted = submit()
        desk.cancel(blocker)
        assert desk.ended(blocker)["state"] == "cancelled"
        return submitted

    return behind


def test_those_that_wait_share_a_block_and_have_the_bits_that_they_have_alone(desk, behind):
    sides = desk.A @ np.random.default_rng(1).standard_normal((40, 5))
    tolerances = [1e-3, 1e-6, 1e-9, 1e-12, 1e-5]
    jobs = behind(
        lambda: [
            desk.submit(desk.short, b, options={"rtol": rtol})
            for b, rtol in zip(sides.T, tolerances, strict=True)
        ]
    )
    for id_, b, rtol in zip(jobs, sides.T, tolerances, strict=True):
        job = desk.ended(id_)
        assert (job["state"], job["attempts"], job["result"]["shared"]) == ("succeeded", 1, 5)
        alone = solver_service.solve(desk.A, b, method="cgmn", rtol=rtol, threads=1)
        np.testing.assert_array_equal(desk.x(id_), alone.x)
        assert job["result"]["iterations"] == alone.iterations == job["progress"]["iterations"]


def test_a_job_that_need_not_wait_is_alone(desk):
    for _ in range(2):
        job = desk.ended(desk.submit(desk.short, desk.A @ np.ones(40)))
        assert job["result"]["shared"] == 1


def test_each_goes_its_own_way(desk, behind):
    A, rng = desk.A, np.random.default_rng(2)
    contradictory = A @ np.ones(40) + rng.standard_normal(60)
    good, bad, slow, other_priority, wide, limited, threaded = behind(
        lambda: [
            desk.submit(desk.short, A @ np.ones(40)),
            desk.submit(desk.short, contradictory),
            desk.submit(desk.short, contradictory, options={"max_epochs": 2}),
            desk.submit(desk.short, A @ np.ones(40), priority=1),
            desk.submit(desk.short, A @ rng.standard_normal((40, 3))),
            desk.submit(desk.short, A @ np.ones(40), options={"time_limit": 50.0}),
            desk.submit(desk.short, A @ np.ones(40), options={"threads": 2}),
        ]
    )
    ends = [desk.ended(id_) for id_ in (good, bad, slow, wide)]
    assert [job["result"]["shared"] for job in ends] == [4] * 4
    statuses = [job["result"]["status"] for job in ends]
    assert statuses == ["converged", "inconsistent", "max_epochs", "converged"]
    assert [desk.ended(id_)["result"]["shared"] for id_ in (other_priority, limited, threaded)] == [1] * 3


def test_one_is_cancelled_one_is_overdue_and_the_others_go_on(desk, behind, wait_until):
    stays, stopped, overdue = behind(
        lambda: [desk.submit_endless(), desk.submit_endless(), desk.submit_endless(deadline=3.0)]
    )
    wait_until(lambda: all((desk.get(id_)["progress"] or {}).get("iterations") for id_ in (stays, stopped)))
    desk.cancel(stopped)
    job = desk.ended(stopped)
    assert (job["state"], job["attempts"], job["result"]["shared"]) == ("cancelled", 1, 3)
    job = desk.ended(overdue)
    assert (job["state"], job["result"]["status"]) == ("cancelled", "time_limit")
    at = desk.get(stays)
    assert at["state"] == "running"
    wait_until(lambda: desk.get(stays)["progress"]["iterations"] > at["progress"]["iterations"])
    desk.cancel(stays)
    assert desk.ended(stays)["result"]["shared"] == 3


def test_when_their_worker_is_killed_each_ends_all_the_same_and_once(desk, behind, wait_until):
    n = 300
    A = rod(n)
    matrix = desk.store(A)
    sides = A @ np.random.default_rng(3).standard_normal((n, 3))
    options = {"method": "kaczmarz", "rtol": 1e-4, "max_epochs": 1e9, "seed": 3}
    jobs = behind(lambda: [desk.submit(matrix, b, options=options) for b in sides.T])
    wait_until(lambda: all((desk.get(id_)["progress"] or {}).get("iterations") for id_ in jobs))
    busy = max(desk.server.workers, key=lambda worker: worker.cpu_times().user)
    busy.kill()
    for id_, b in zip(jobs, sides.T, strict=True):
        job = desk.ended(id_)
        assert (job["state"], job["attempts"], job["result"]["shared"]) == ("succeeded", 1, 1)
        alone = solver_service.solve(A, b, threads=1, **options)
        np.testing.assert_array_equal(desk.x(id_), alone.x)


def test_what_is_learned_after_acceptance_changes_no_bit(desk, behind):
    """The tuning of a job is that of the moment at which it was accepted."""
    A = csr_array(
        random_array((300, 200), density=0.03, rng=np.random.default_rng(8)) + 1e-2 * rod(300)[:, :200]
    )
    matrix, b = desk.store(A), A @ np.ones(200)
    first = desk.ended(desk.submit(matrix, b, options={"method": "auto"}))

    def submit():
        early = desk.submit(matrix, b, options={"method": "auto"})
        told = desk.client.get(f"/v1/matrices/{matrix}").json()["prepared"]["tuning"]
        for rtol in (1e-4, 1e-11):
            body = {"matrix": {"id": matrix}, "b": (A @ np.arange(200.0)).tolist(), "options": {"rtol": rtol}}
            assert desk.client.post("/v1/solve", json=body).json()["converged"]
        return early, told or first["result"]["parameters"]["tuning"]

    early, told = behind(submit)
    job = desk.ended(early)
    assert job["result"]["parameters"]["tuning"] == told
    assert job["result"]["converged"]


def test_a_warm_start_is_pinned_and_its_solution_kept(desk, behind):
    b = desk.A @ np.arange(1.0, 41.0)
    options = {"warm_start": "auto"}
    cold = desk.ended(desk.submit(desk.short, b, options=options))
    assert cold["options"]["warm_start"] == "auto"
    assert "+" not in cold["result"]["parameters"]["tuning"]
    headers = {"Idempotency-Key": f"warm-{cold['id']}"}
    body = {"matrix": {"id": desk.short}, "b": (2 * b).tolist(), "options": {"method": "cgmn", **options}}
    job = desk.client.post("/v1/jobs", json=body, headers=headers).json()
    warm = desk.ended(job["id"])
    assert warm["result"]["parameters"]["tuning"].endswith("+1")
    assert warm["result"]["iterations"] < cold["result"]["iterations"]
    desk.ended(desk.submit(desk.short, desk.A @ np.cos(np.arange(40.0)), options=options))
    # Other solutions are there by now; it is the same request all the same.
    assert desk.client.post("/v1/jobs", json=body, headers=headers).json()["id"] == job["id"]
    body["options"]["warm_start"] = "none"
    assert desk.client.post("/v1/jobs", json=body, headers=headers).status_code == 409


def test_sharing_can_be_turned_off(live, tmp_path, wait_until):
    with live(tmp_path, job_workers=1, coalesce=False) as server, server.client() as client:
        desk = Desk(server, client)
        blocker = desk.submit_endless(priority=10)
        wait_until(lambda: desk.get(blocker)["state"] == "running")
        jobs = [desk.submit(desk.short, desk.A @ np.ones(40)) for _ in range(3)]
        desk.cancel(blocker)
        assert [desk.ended(id_)["result"]["shared"] for id_ in jobs] == [1] * 3
