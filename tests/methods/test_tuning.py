"""What `auto` learns of a matrix: less work the next time, the same bits for the same lessons, no harm."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from killing import always, start
from scipy import sparse

from solver_service import InvalidInputError, Options, prepare
from solver_service.methods import Prepared, Trial, Tuning, compatible, learn
from solver_service.methods.auto import Race
from solver_service.methods.state import State
from solver_service.methods.tuning import Lesson, fall
from solver_service.problems import gallery
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.matrix import Matrix
from solver_service.problems.problem import Problem
from solver_service.storage import read_snapshot, write_snapshot

PROBED = ["convection_diffusion", "comparisons", "tomography"]
FALL = math.log(1e6)


def solved(A, b, tuning=None, **options):
    """A result, and what is known after it."""
    lessons = []
    result = start((A, b), options, tuning=tuning, lessons=lessons)
    return result, learn(tuning or Tuning(), lessons)


def race(A, tuning, **options):
    state = State(Matrix.from_any(A))
    return Race(state, np.ones(A.shape[0]), Options(**options), tuning=tuning, fall=FALL)


def right_sides(A, count, seed=5):
    rng = np.random.default_rng(seed)
    return [A @ rng.standard_normal(A.shape[1]) for _ in range(count)]


@pytest.mark.parametrize("name", PROBED)
def test_the_second_solve_begins_with_what_has_won(name):
    problem = PROBLEMS[name]()
    first, tuning = solved(problem.A, problem.b, rtol=1e-8)
    assert first.converged
    assert len(first.phases) > 1
    assert tuning.version == 1
    for b in [problem.b, *right_sides(problem.A, 2)]:
        second, _ = solved(problem.A, b, tuning, rtol=1e-8)
        assert second.converged
        assert [phase.method for phase in second.phases] == [first.method]
        assert "in earlier solves of this matrix" in second.reason
        assert second.epochs < first.epochs


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_what_is_known_is_told_and_decides_the_bits(name):
    problem = PROBLEMS[name]()
    first, tuning = solved(problem.A, problem.b)
    assert first.parameters.tuning == "2"
    results = [solved(problem.A, problem.b, tuning)[0] for _ in range(2)]
    assert all(result.converged for result in results)
    assert results[0].x.tobytes() == results[1].x.tobytes()
    assert results[0].parameters.tuning == ("2.1" if tuning.version else "2")


def test_with_nothing_known_nothing_changes():
    problem = PROBLEMS["convection_diffusion"]()
    prepared = prepare(problem.A)
    results = [prepared.solve(problem.b, threads=1) for _ in range(3)]
    results.append(start((problem.A, problem.b), {}, tuning=Tuning()))
    assert len({result.x.tobytes() for result in results}) == 1
    assert {len(result.phases) for result in results} == {2}, "solving by itself teaches nothing"


def test_a_prepared_matrix_brings_what_is_known():
    problem = PROBLEMS["convection_diffusion"]()
    _, tuning = solved(problem.A, problem.b)
    prepared = Prepared(Matrix.from_any(problem.A), tuning=tuning)
    result = prepared.solve(problem.b, threads=1)
    assert result.parameters.tuning == "2.1"
    assert result.x.tobytes() == solved(problem.A, problem.b, tuning)[0].x.tobytes()


def test_a_column_has_the_bits_it_has_alone_and_all_teach():
    problem = PROBLEMS["ill_conditioned"]()
    bs = right_sides(problem.A, 3)
    _, tuning = solved(problem.A, problem.b)
    together, after = solved(problem.A, np.stack(bs, axis=1), tuning)
    for place, b in enumerate(bs):
        assert together.x[:, place].tobytes() == solved(problem.A, b, tuning)[0].x.tobytes()
    assert after == tuning, "what is known was right"
    _, of_all = solved(problem.A, np.stack(bs, axis=1))
    assert of_all.version == 1


def test_another_tolerance_may_choose_another():
    problem = gallery.convection_diffusion(60)
    first, tuning = solved(problem.A, problem.b, rtol=1e-10)
    assert first.method == "direct"
    loose, _ = solved(problem.A, problem.b, tuning, rtol=0.3)
    assert loose.converged
    assert loose.method != "direct", "for so little the steps that were tried are cheaper"


@pytest.mark.parametrize("name", ["ill_conditioned", "rank_deficient", "wide_random"])
def test_lessons_are_of_use_with_minimum_norm_and_do_not_touch_it(name):
    problem = PROBLEMS[name]()
    _, tuning = solved(problem.A, problem.b)
    result, _ = solved(problem.A, problem.b, tuning, minimum_norm=True, rtol=1e-9)
    assert result.converged
    exact = np.linalg.pinv(problem.A.toarray()) @ problem.b
    assert np.linalg.norm(result.x - exact) <= 1e-5 * np.linalg.norm(exact)
    again, after = solved(problem.A, problem.b, tuning, minimum_norm=True, rtol=1e-9)
    assert result.x.tobytes() == again.x.tobytes()
    third, _ = solved(problem.A, problem.b, after, minimum_norm=True, rtol=1e-9)
    assert len(third.phases) <= len(result.phases)


@pytest.mark.parametrize("options", [{"method": "cgmn"}, {"batch_size": 4}, {"momentum": "none"}])
def test_only_auto_by_itself_teaches(options):
    problem = PROBLEMS["spd_random"]()
    assert solved(problem.A, problem.b, **options)[1] == Tuning()


def test_what_did_not_converge_teaches_nothing_of_rates():
    problem = PROBLEMS["rank_deficient"]()
    b = problem.b + np.random.default_rng(0).standard_normal(problem.b.size)
    result, tuning = solved(problem.A, b)
    assert result.status == "inconsistent"
    assert not any(lesson.won or lesson.out_of_reach < math.inf for lesson in tuning.lessons.values())
    cancelled, tuning = solved(problem.A, problem.b, time_limit=1e-9)
    assert cancelled.status == "time_limit"
    assert tuning == Tuning()


@pytest.mark.parametrize("name", ["convection_diffusion", "ill_conditioned", "poisson2d", "tall_random"])
def test_it_comes_to_rest(name):
    A = PROBLEMS[name]().A
    tuning, versions = Tuning(), []
    for place, b in enumerate(right_sides(A, 24)):
        rtol = 10.0 ** -(2 + 2 * (place % 4))
        result, tuning = solved(A, b, tuning, rtol=rtol)
        assert result.converged
        versions.append(tuning.version)
    assert versions == sorted(versions)
    assert versions[-1] <= 8
    assert len(set(versions[12:])) == 1


def test_whatever_happens_there_are_few_versions():
    tuning = Tuning()
    for k in range(50):
        name, other = ("cgmn/0", "lsmr/0") if k % 2 else ("lsmr/0", "cgmn/0")
        tuning = learn(tuning, [[Trial(name, Lesson(3.0**k, won=True)), Trial(other, Lesson(9.0**k))]])
    assert tuning.version == 8


def test_a_right_side_that_is_easy_does_not_spoil_the_next():
    """Where b is hit by the first step, all that is learned is far too good to be true."""
    problem = ill = gallery.ill_conditioned(600, 60, 6, decades=2.0)
    A = sparse.csr_array(ill.A)
    easy = A @ np.linalg.svd(A.toarray(), full_matrices=False)[2][0]
    lucky, tuning = solved(A, easy)
    for b in right_sides(A, 3):
        cold, _ = solved(A, b)
        warm, after = solved(A, b, tuning)
        assert warm.converged
        assert warm.epochs <= 1.5 * cold.epochs + lucky.epochs
        assert solved(A, b, after)[0].converged
    assert problem.A.shape == A.shape


@pytest.mark.parametrize("price", [1e-3, 1.0, 1e15])
@pytest.mark.parametrize(
    "candidate", ["cgmn/1", "ssor_cgls/0", "ssor_cgls/1", "lsmr/0", "direct/0", "kaczmarz/0"]
)
@pytest.mark.parametrize("name", ["ill_conditioned", "comparisons"])
def test_no_lesson_prevents_a_solution(name, candidate, price):
    problem = PROBLEMS[name]()
    tuning = Tuning(1, {candidate: Lesson(price, won=True)})
    cold, _ = solved(problem.A, problem.b, rtol=1e-8)
    result, after = solved(problem.A, problem.b, tuning, rtol=1e-8)
    assert result.converged
    if price < 1e15:
        assert result.epochs <= 2.0 * cold.epochs + 8.0, "it is left as soon as it has disappointed"
        assert after.version == (1 if candidate == "direct/0" else 2), "a factorisation has its price"
        again, _ = solved(problem.A, problem.b, after, rtol=1e-8)
        assert again.converged


def test_what_has_failed_is_left_for_last_where_that_much_is_asked():
    A = PROBLEMS["poisson2d"]().A
    failed = Tuning(1, {"direct/0": Lesson(1e3, won=True, out_of_reach=FALL + 1.0)})
    attempt, _ = race(A, failed).next()
    assert attempt.method == "direct", "this much has not been out of its reach"
    failed = Tuning(1, {"direct/0": Lesson(1e3, won=True, out_of_reach=FALL - 1.0)})
    running = race(A, failed)
    order = []
    while (move := running.next()) is not None:
        order.append(move[0].candidate)
        move[0].done = True
    assert order[0] == "ssor_cg/0"
    assert order[-1] == "direct/0", "but it is tried"


def test_a_search_for_blocks_is_not_repeated(monkeypatch):
    A = PROBLEMS["poisson2d"]().A
    known = race(A, Tuning(1, {"blocks": Lesson(math.inf)}))
    monkeypatch.setattr(State, "labels", property(lambda _: pytest.fail("it was searched")))
    known._solve_block = None
    while (move := known.next()) is not None:
        move[0].done = True


def test_a_known_factorisation_that_would_take_too_long_is_not_priced_again(monkeypatch):
    monkeypatch.setattr(State, "factor_cost", property(lambda _: pytest.fail("it was priced")))
    running = race(PROBLEMS["poisson2d"]().A, Tuning(1, {"direct/0": Lesson(math.inf)}))
    while (move := running.next()) is not None:
        assert move[0].candidate != "direct/0"
        move[0].done = True


def test_the_leader_may_spend_what_it_took_and_no_more():
    A = PROBLEMS["rank_deficient"]().A
    running = race(A, Tuning(1, {"lsmr/0": Lesson(1e5, won=True), "cgmn/1": Lesson(1e9)}))
    for final in running.attempts:
        final.done = final.final
    attempt, budget = running.next()
    assert attempt.candidate == "lsmr/0"
    assert budget == pytest.approx(2.0 * 1e5 * FALL)


@pytest.mark.parametrize("method", ["auto", "cgmn"])
def test_a_run_goes_on_with_what_was_known_when_it_began(tmp_path, method):
    problem = PROBLEMS["tomography"]()
    system, options = (problem.A, problem.b), {"rtol": 1e-8, "method": method}
    _, tuning = solved(*system, rtol=1e-8)
    keeper = always()
    start(system, options | {"max_epochs": 30.0}, keeper=keeper, tuning=tuning)
    write_snapshot(tmp_path / "state", keeper.latest)
    snapshot = read_snapshot(tmp_path / "state")
    whole = start(system, options, tuning=tuning)
    resumed = start(system, options, tuning=tuning, snapshot=snapshot)
    assert resumed.x.tobytes() == whole.x.tobytes()
    matrix = prepare(problem.A).matrix
    built, given = Problem.build(matrix, problem.b), Options(threads=1, **options)
    assert compatible(snapshot, matrix, built, given, tuning)
    assert not compatible(snapshot, matrix, built, given)
    with pytest.raises(InvalidInputError, match="snapshot"):
        start(system, options, snapshot=snapshot)


def test_a_run_that_was_resumed_teaches_too():
    problem = PROBLEMS["ill_conditioned"]()
    system, options = (problem.A, problem.b), {"rtol": 1e-8}
    keeper, lessons = always(), []
    start(system, options | {"max_epochs": 30.0}, keeper=keeper)
    result = start(system, options, snapshot=keeper.latest, lessons=lessons)
    assert result.converged
    tuning = learn(Tuning(), lessons)
    assert len(solved(*system, tuning, **options)[0].phases) == 1


def test_the_document_says_it_all():
    tuning = Tuning(3, {"cgmn/0": Lesson(5.0, won=True, out_of_reach=20.0), "direct/0": Lesson(math.inf)}, 7)
    text = json.dumps(tuning.to_document(), allow_nan=False)
    read = Tuning.from_document(json.loads(text))
    assert (read.version, read.warm_start, read.label) == (3, 7, "2.3+7")
    assert dict(read.lessons) == dict(tuning.lessons)
    assert read.to_document() == tuning.to_document()
    assert Tuning.from_document(Tuning().to_document()) == Tuning()


LESSON = {"price": 5.0, "won": True, "out_of_reach": None}
DOCUMENT = {"tuning": "2", "version": 1, "lessons": {"cgmn/0": LESSON}, "warm_start": 0}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "1",
        {},
        *({key: DOCUMENT[key] for key in DOCUMENT if key != missing} for missing in DOCUMENT),
        *(
            DOCUMENT | changed
            for changed in [
                {"tuning": "0"},
                {"version": -1},
                {"version": True},
                {"version": 1.0},
                {"version": 10**9},
                {"version": 0},
                {"warm_start": -1},
                {"warm_start": None},
                {"warm_start": True},
                {"more": 1},
                {"lessons": []},
                {"lessons": {str(k): LESSON for k in range(1000)}},
                {"lessons": {"x" * 1000: LESSON}},
                {"lessons": {3: LESSON}},
            ]
        ),
        *(
            DOCUMENT | {"lessons": {"cgmn/0": lesson}}
            for lesson in [
                None,
                [],
                {},
                {**LESSON, "more": 1},
                {**LESSON, "won": 1},
                {**LESSON, "price": "5"},
                {**LESSON, "price": -1.0},
                {**LESSON, "price": 0},
                {**LESSON, "price": True},
                {**LESSON, "price": math.nan},
                {**LESSON, "price": 10**400},
                {**LESSON, "out_of_reach": math.inf},
            ]
        ),
    ],
    ids=lambda document: str(document)[:80],
)
def test_other_documents_are_refused(document):
    Tuning.from_document(DOCUMENT)
    with pytest.raises(InvalidInputError, match="learned"):
        Tuning.from_document(document)


@pytest.mark.parametrize(
    ("begin", "target", "expected"),
    [(1.0, 1e-6, FALL), (1.0, 2.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, 37.0), (1e300, 1e-300, 37.0)],
)
def test_a_fall_ends_where_rounding_does(begin, target, expected):
    assert fall(begin, target) == pytest.approx(expected)
