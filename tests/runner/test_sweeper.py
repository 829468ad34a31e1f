import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.sparse import random_array

from solver_service.errors import JobNotFoundError, MatrixNotFoundError
from solver_service.jobs import NewJob, Outcome, Spec, State
from solver_service.problems.matrix import Matrix
from solver_service.runner import Retention, Sweeper
from solver_service.storage import JobFiles, MatrixStore
from solver_service.storage.database import JobTable, migrate, open_engine

DAY = 86_400.0


class House:
    """Matrices, jobs and their files, with a clock that can be set."""

    def __init__(self, folder):
        self.folder = folder
        self.now = datetime.now(UTC)
        engine = open_engine(f"sqlite:///{folder / 'jobs.sqlite3'}")
        migrate(engine)
        self.table = JobTable(engine, clock=lambda: self.now)
        self.files, self.store = JobFiles(folder), MatrixStore(folder)
        self.files.adopt(self.table.installation(), self.table.revisions)
        self._count = 0

    def matrix(self, seed):
        return self.store.put(Matrix.from_any(random_array((9, 5), density=0.4, rng=seed, format="csr")))[
            0
        ].id

    def add(self, matrix_id, *, size=100, key=None):
        self._count += 1
        id_ = f"job_{self._count:032x}"
        with self.files.receive() as folder:
            folder.write_input(np.ones(9), None)
            folder.publish(id_)
            spec = Spec(matrix_id=matrix_id, shape=(9, 5), nnz=18)
            new = NewJob(id=id_, spec=spec, size=size, digest="d", key=key)
            self.table.add(new, most_queued=100, matrix_exists=lambda: True).result()
        return id_

    def end(self, size=100):
        """Run the next job to its end."""
        ((job,),) = self.table.claim("me", 1).result()
        folder = self.files.folder(job.id)
        solution = folder.write_solution(1, np.ones(5), None)
        assert self.table.finish(
            job.claim, Outcome(state=State.SUCCEEDED, solution=solution, size=size)
        ).result()
        return job.id

    def sweeper(self, **retention):
        defaults = {"job_seconds": None, "matrix_seconds": None, "most_bytes": None}
        retention = Retention(**defaults | retention)
        return Sweeper(self.table, self.files, self.store, retention, clock=lambda: self.now)

    def sweep(self, **retention):
        self.sweeper(**retention).sweep()

    def jobs(self):
        return {job.id for job in self.table.list()[0]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.table.close()


def test_left_overs_go_and_nothing_else(house):
    matrix = house.matrix(1)
    waiting, done = house.add(matrix), house.add(matrix)
    house.end()
    house.end()
    active = house.add(matrix)
    for id_, files in {done: ["state-1.new", "state-1.zip"], active: ["state-1.zip", "state-2.new"]}.items():
        for name in files:
            (house.folder / "jobs" / id_ / name).write_bytes(b"x")
    orphan = house.folder / "jobs" / ("job_" + "f" * 32)
    orphan.mkdir()
    (orphan / "b.npy").write_bytes(b"x")
    with house.files.receive() as arriving:  # published, and not yet on record
        arriving.write_input(np.ones(9), None)
        arriving.publish("job_" + "e" * 32)
        house.sweep()
        assert arriving.path.is_dir()
    house.sweep()
    left = {path.name: names(path) for path in (house.folder / "jobs").iterdir()}
    assert left == {
        waiting: ["b.npy", "solution-1.npy"],
        done: ["b.npy", "solution-1.npy"],
        active: ["b.npy", "state-1.zip", "state-2.new"],
    }


def test_later_sweeps_open_only_what_is_not_on_record(house, monkeypatch):
    matrix = house.matrix(1)
    house.add(matrix)
    done = house.end()
    house.add(matrix)
    left_over = house.folder / "jobs" / done / "state-1.new"
    left_over.write_bytes(b"x")
    sweeper = house.sweeper()
    sweeper.sweep()
    assert not left_over.exists()
    left_over.write_bytes(b"x")
    orphan = house.folder / "jobs" / ("job_" + "f" * 32)
    orphan.mkdir()
    opened, unlocked = [], house.files.unlocked
    monkeypatch.setattr(house.files, "unlocked", lambda ids: (opened.extend(ids), unlocked(ids))[1])
    sweeper.sweep()
    assert opened == [orphan.name]
    assert not orphan.exists()
    assert left_over.exists()  # for the next process
    house.sweep()
    assert not left_over.exists()


@pytest.mark.parametrize("owner", ["f" * 32, None])
def test_nothing_goes_from_a_folder_of_another_database(house, caplog, owner):
    matrix = house.matrix(1)
    house.add(matrix)
    ended = house.end()
    orphan = house.folder / "jobs" / ("job_" + "f" * 32)
    orphan.mkdir()
    mark = house.folder / "owner" / "database"
    mark.unlink()
    if owner is not None:
        mark.write_text(owner)
    house.now += timedelta(days=99)
    house.sweep(most_bytes=1, job_seconds=60.0, matrix_seconds=60.0)
    assert "does not belong" in caplog.text
    assert orphan.exists()
    assert house.jobs() == {ended}
    assert [usage.id for usage in house.store.usage()] == [matrix]


def test_old_jobs_go_by_age_but_not_active_ones(house):
    matrix = house.matrix(1)
    old = house.add(matrix)
    house.end()
    house.now += timedelta(seconds=2 * DAY)
    young = house.add(matrix)
    house.end()
    active = house.add(matrix)
    house.now += timedelta(seconds=DAY / 2)
    house.sweep(job_seconds=DAY)
    assert house.jobs() == {young, active}
    assert not (house.folder / "jobs" / old).exists()
    house.now += timedelta(seconds=30 * DAY)
    house.sweep(job_seconds=DAY)
    assert house.jobs() == {active}
    with pytest.raises(JobNotFoundError):
        house.table.get(young)


def test_unused_matrices_go_by_age_but_not_those_of_active_jobs(house):
    used, unused, fresh = (house.matrix(seed) for seed in range(3))
    house.add(used)
    past = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for id_ in (used, unused):
        os.utime(house.folder / "matrices" / id_ / "uses", (past, past))
    house.sweep(matrix_seconds=30 * DAY)
    assert {house.store.get(id_).id for id_ in (used, fresh)} == {used, fresh}
    with pytest.raises(MatrixNotFoundError):
        house.store.get(unused)


def test_using_a_matrix_makes_it_young(house):
    matrix = house.matrix(1)
    past = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    os.utime(house.folder / "matrices" / matrix / "uses", (past, past))
    house.store.touch(matrix)
    house.sweep(matrix_seconds=30 * DAY)
    assert house.store.get(matrix).id == matrix


def test_too_much_goes_oldest_first_matrices_last_and_never_what_is_active(house):
    matrix = house.matrix(1)
    bytes_ = house.store.get(matrix).bytes
    ids = []
    for _ in range(4):
        ids.append(house.add(matrix, size=1000))
        house.end(size=1000)
        house.now += timedelta(seconds=1)
    active = house.add(matrix, size=1000)
    keyed = house.add(house.matrix(2), size=1000, key="k")
    total = house.table.total_size() + 2 * bytes_
    house.sweep(most_bytes=total - 1500)
    assert house.jobs() == {*ids[2:], active, keyed}
    house.sweep(most_bytes=1)
    assert house.jobs() == {active, keyed}
    assert {usage.id for usage in house.store.usage()} == {matrix, house.table.get(keyed).spec.matrix_id}


def test_a_job_that_a_key_still_names_is_kept_for_a_retry(house):
    matrix = house.matrix(1)
    job = house.add(matrix, size=1000, key="k")
    house.end(size=1000)
    house.now += timedelta(seconds=DAY)
    house.sweep(most_bytes=1, job_seconds=60.0)
    assert house.jobs() == {job}
    house.now += timedelta(days=3)
    house.sweep(most_bytes=1)
    assert house.jobs() == set()
    assert list(house.store.usage()) == []


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_sweep_goes_no_further_once_it_is_closed(house, anyio_backend):
    orphan = house.folder / "jobs" / ("job_" + "f" * 32)
    orphan.mkdir()
    sweeper = house.sweeper()
    await sweeper.close()
    sweeper.sweep()
    assert orphan.exists()


def test_what_was_derived_from_matrices_that_are_gone_is_removed(house):
    kept = house.store.prepared
    matrix, gone = house.matrix(1), "mat_" + "0" * 32
    for id_ in (matrix, gone):
        kept.save(id_, "gram", {"part": 1})
    house.sweep()
    assert kept.ids() == [matrix]
    house.now += timedelta(days=40)
    house.sweep(matrix_seconds=30 * DAY)
    assert kept.ids() == []
