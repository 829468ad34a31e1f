"""What solves leave for later ones: tunings that never change, and solutions that newer ones replace."""

import numpy as np
import pytest

from solver_service.methods import Solutions, Trial, Tuning, learn
from solver_service.methods.tuning import Lesson
from solver_service.problems.problem import Problem
from solver_service.storage import PreparedStore
from solver_service.tasks import state
from solver_service.tasks.learning import Experience, newest_version


@pytest.fixture
def prepared(worker, stored, matrix):
    return worker.prepared(stored(matrix(1)).record.id)


@pytest.fixture
def experience(worker, prepared):
    return Experience(worker, prepared)


def lesson(name="lsmr", price=3.0):
    return (Trial(name, Lesson(price, won=True)),)


def taught(experience, context, *lessons):
    """Learn, with what was left for later done."""
    later = []
    experience.note(lessons, context(afterwards=later.append))
    for piece in later:
        piece()
    return later


def solved(experience, context, x):
    later = []
    experience.note_solution(x, context(afterwards=later.append))
    for piece in later:
        piece()


def names(experience):
    return [part.name for part in experience._store.parts(experience._id)]


def test_nothing_is_known_at_first(experience):
    assert experience.newest() == experience.pinned(0) == experience.pinned(3) == Tuning()
    assert newest_version(experience._store, experience._id) == 0


def test_each_version_stays_as_it_was(experience, context):
    taught(experience, context, lesson("lsmr"))
    first = experience.newest()
    assert first == learn(Tuning(), [lesson("lsmr")])
    taught(experience, context, lesson("cgmn/0"))
    second = experience.newest()
    assert second == learn(first, [lesson("cgmn/0")])
    assert experience.pinned(1) == first
    assert newest_version(experience._store, experience._id) == second.version == 2


def test_what_is_known_already_makes_no_version(experience, context):
    taught(experience, context, lesson())
    taught(experience, context, lesson())
    assert names(experience) == ["tuning-1"]
    assert taught(experience, context) == []


def test_of_two_workers_the_first_teaches_both(experience, context, worker, prepared, monkeypatch):
    other = Experience(worker, prepared)
    monkeypatch.setattr(other, "newest", lambda: Tuning())  # it looked before the first had stored it
    taught(experience, context, lesson("lsmr"))
    expected = experience.newest()
    taught(other, context, lesson("cgmn/0"))
    assert Experience(worker, prepared).newest() == expected


@pytest.mark.parametrize("content", [{"nonsense": 1}, Tuning(version=3).to_document()])
def test_what_is_no_tuning_is_removed_and_learned_anew(experience, context, content):
    taught(experience, context, lesson())
    experience._store.save(experience._id, "tuning-2", content)
    assert experience.newest().version == 1
    taught(experience, context, lesson("cgmn/0"))
    assert experience.newest().version == 2


@pytest.mark.parametrize("name", ["tuning-99999999999999999999999999", "tuning-٣", "tuning-0", "tuning-+1"])
def test_names_that_are_no_versions_count_for_nothing(experience, context, name):
    taught(experience, context, lesson("lsmr"))
    (experience._store._part(experience._id, "tuning-1").parent / name).mkdir()
    assert newest_version(experience._store, experience._id) == experience.newest().version == 1


def test_tunings_outlive_the_rest(experience, context):
    taught(experience, context, lesson())
    solved(experience, context, np.ones(15))
    experience._store.trim(0)
    assert names(experience) == ["tuning-1"]


def test_a_start_comes_from_earlier_solutions(experience, context, prepared):
    x = np.arange(1.0, 16.0)
    problem = Problem.build(prepared.matrix, prepared.matrix.csr @ (3.0 * x))
    assert experience.warm(problem, Tuning(2)) == (problem, Tuning(2))
    solved(experience, context, x)
    warm, tuning = experience.warm(problem, Tuning(2))
    np.testing.assert_allclose(warm.x0, 3.0 * x, rtol=1e-12)
    assert tuning.label == "2.2+1"
    assert problem.x0 is None


def test_a_start_that_helps_nobody_is_not_told(experience, context, prepared):
    csr = prepared.matrix.csr
    solved(experience, context, np.eye(15)[0])
    b = csr @ np.arange(15.0)
    b -= csr[:, [0]].toarray()[:, 0] * (b @ csr[:, [0]].toarray()[:, 0]) / (csr[:, [0]].power(2).sum())
    problem = Problem.build(prepared.matrix, b)
    assert experience.warm(problem, Tuning()) == (problem, Tuning())


def test_newer_solutions_take_the_place_of_older_ones(experience, context):
    solved(experience, context, np.ones(15))
    solved(experience, context, np.arange(15.0))
    solved(experience, context, 2.0 * np.arange(15.0))
    assert names(experience) == ["solutions-2"]
    assert experience._solutions().solutions.shape == (15, 2)


def test_of_many_right_hand_sides_a_few_are_kept(experience, context):
    solved(experience, context, np.random.default_rng(1).standard_normal((15, 12)))
    found = experience._solutions()
    assert found.version == 1
    assert found.solutions.shape == (15, 8)


@pytest.mark.parametrize("content", [{"nonsense": 1}, Solutions.none((4, 4)).pack()])
def test_what_are_no_solutions_is_removed(experience, context, content):
    experience._store.save(experience._id, "solutions-9", content)
    solved(experience, context, np.ones(15))
    assert names(experience) == ["solutions-1"]


def test_solutions_that_are_replaced_while_they_are_looked_for_are_found(experience, context, monkeypatch):
    solved(experience, context, np.ones(15))
    load = PreparedStore.load

    def replaced(store, matrix_id, name):
        monkeypatch.undo()
        solved(experience, context, np.arange(15.0))
        return load(store, matrix_id, name)

    monkeypatch.setattr(PreparedStore, "load", replaced)
    assert experience._solutions().version == 2


@pytest.mark.parametrize("changes", [{"prepared_disk_bytes": 0}, {}])
def test_without_disk_or_store_nothing_is_kept(worker, prepared, context, monkeypatch, changes):
    config = worker.config
    members = {name: getattr(config, name) for name in config.__slots__}
    state.configure(state.TaskConfig(**members | changes))
    worker = state.current()
    one = worker.prepared(prepared.matrix.id) if changes else type(prepared)(prepared.matrix)
    experience = Experience(worker, one)
    assert taught(experience, context, lesson()) == []
    solved(experience, context, np.ones(15))
    assert experience.newest() == Tuning()
    problem = Problem.build(one.matrix, one.matrix.csr @ np.ones(15))
    assert experience.warm(problem, Tuning()) == (problem, Tuning())
    assert worker.store.prepared.parts(prepared.matrix.id) == []


def test_nothing_is_left_of_a_matrix_that_is_gone(worker, experience, prepared, context):
    worker.store.take_away(prepared.matrix.id)()
    taught(experience, context, lesson())
    solved(experience, context, np.ones(15))
    assert worker.store.prepared.ids() == []
