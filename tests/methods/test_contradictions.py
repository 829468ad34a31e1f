"""Contradictions that empty and parallel rows show, and the proof from them, against dense algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

import solver_service
from solver_service import Status, errors
from solver_service.methods import verification
from solver_service.methods.verification import empty_row_certificate, parallel_rows_certificate

SCALE = st.one_of(st.sampled_from([1.0, -1.0, 3.0]), st.floats(0.01, 100.0), st.floats(-1e4, -1e-2))


@st.composite
def consistent(draw):
    """Rows drawn from a few directions, scaled at random, some of them empty; b = A x, rounded."""
    n = draw(st.integers(1, 5))
    row = st.lists(st.floats(-10.0, 10.0), min_size=n, max_size=n)
    directions = np.array(draw(st.lists(row, min_size=1, max_size=3)))
    # No cancellation that float64 cannot hold; exact zeros are welcome.
    directions[np.abs(directions) < 1e-3] = 0.0
    m = draw(st.integers(2, 10))
    pick = draw(st.lists(st.integers(0, len(directions) - 1), min_size=m, max_size=m))
    scales = np.array(draw(st.lists(st.one_of(st.just(0.0), SCALE), min_size=m, max_size=m)))
    A = directions[pick] * scales[:, None]
    x = np.array(draw(st.lists(st.floats(-1e8, 1e8), min_size=n, max_size=n)))
    return A, A @ x, x


def verify(A, b, proof):
    """The certificate's inequality, and that least squares does not do better than the bound."""
    y = proof.y.astype(np.longdouble)
    exact = abs(b @ y) - proof.radius * np.sqrt(np.sum((A.T.astype(np.longdouble) @ y) ** 2))
    assert np.linalg.norm(proof.y) == pytest.approx(1.0, rel=1e-12)
    assert proof.bound <= exact * (1 + 1e-12)
    least = np.linalg.norm(b - A @ np.linalg.lstsq(A, b)[0])
    assert proof.bound <= least * (1 + 1e-9) + 1e-12 * np.linalg.norm(b)


@settings(max_examples=500, deadline=None)
@given(consistent())
def test_a_consistent_system_is_never_said_to_contradict_itself(system):
    A, b, x = system
    prepared = solver_service.prepare(A)
    # Nothing is known of x but b: cancellation in every row would make it look smaller than it is.
    visible = np.linalg.norm(A, axis=1) * np.linalg.norm(x) <= 1e3 * np.abs(b)
    assume(visible[A.any(axis=1)].any() or not b.any())
    found = prepared.contradictions(b, rtol=0.0)
    assert (found.count, found.worst, found.certificate) == (0, (), None)
    assert parallel_rows_certificate(prepared.state, b, 0.0) is None


@settings(max_examples=300, deadline=None)
@given(consistent())
def test_a_known_x_excuses_cancellation(system):
    A, b, x = system
    state = solver_service.prepare(A).state
    assert parallel_rows_certificate(state, b, 0.0, float(np.linalg.norm(x))) is None


@settings(max_examples=300, deadline=None)
@given(system=consistent(), data=st.data())
def test_a_changed_right_hand_side_is_found_and_proven(system, data):
    A, b, x = system
    k = data.draw(st.integers(0, len(b) - 1))
    b = b.copy()
    b[k] += (1.0 + np.linalg.norm(A[k]) * np.linalg.norm(x)) * data.draw(st.sampled_from([0.01, 1.0, -7.0]))
    row_norms = np.linalg.norm(A, axis=1)
    assume(not A[k].any() or row_norms[k] > 1e-2)
    cosine = (A @ A[k]) / np.maximum(row_norms * row_norms[k], 1e-300)
    others = [i for i in range(len(b)) if i != k and abs(abs(cosine[i]) - 1.0) < 1e-14]
    prepared = solver_service.prepare(A)
    found = prepared.contradictions(b)
    if A[k].any() and not others:
        assert found.count == 0
        assert found.certificate is None
        return
    assert found.count >= 1
    rows = {c.row for c in found.worst} | {c.other for c in found.worst}
    assert k in rows
    verify(A, b, found.certificate)
    for c in found.worst:
        if c.other is None:
            assert not A[c.row].any()
            assert (c.gap, c.bound, c.multiple) == (b[c.row], abs(b[c.row]), 0.0)
            continue
        np.testing.assert_allclose(A[c.row], c.multiple * A[c.other], rtol=1e-14)
        assert c.gap == pytest.approx(b[c.row] - c.multiple * b[c.other], rel=1e-6)
        assert c.bound == pytest.approx(abs(c.gap) / math.hypot(1.0, c.multiple), rel=1e-12)
        # One pair bounds no more than all of them together.
        assert c.bound <= found.certificate.bound * (1 + 1e-6) + 1e-6 * np.linalg.norm(b)
    assert [c.bound for c in found.worst] == sorted((c.bound for c in found.worst), reverse=True)


def test_the_certificate_combines_all_groups_as_well_as_can_be():
    """With every row empty or parallel to another, least squares meets the bound exactly."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4, 6))
    multiples = rng.normal(size=12)
    A = np.vstack([directions[np.arange(12) % 4] * multiples[:, None], np.zeros((2, 6))])
    b = rng.normal(size=14)
    least = np.linalg.norm(b - A @ np.linalg.lstsq(A, b)[0])
    found = solver_service.prepare(A).contradictions(b)
    assert found.certificate.bound == pytest.approx(least, rel=1e-8)
    assert found.count == 2 + 8
    verify(A, b, found.certificate)


def test_a_huge_consistent_group_does_not_spoil_the_proof():
    a = np.array([1.0, 2.0, 3.0])
    A = np.array([a * 1e9, a * 3e9, [1.0, 0.0, 0.0], [7.0, 0.0, 0.0]])
    x = np.array([1.0, 1.0 / 3.0, -0.1])
    b = A @ x
    b[3] += 1.0
    found = solver_service.prepare(A).contradictions(b)
    assert [(c.row, c.other) for c in found.worst] == [(3, 2)]
    assert found.certificate.bound == pytest.approx(1 / math.sqrt(50), rel=1e-3)
    assert not found.certificate.y[:2].any()


def test_the_worst_are_bounded_and_counted():
    A = np.ones((1000, 1))
    b = np.arange(1000.0)
    found = solver_service.prepare(A).contradictions(b)
    assert found.count == 999
    assert [c.row for c in found.worst] == list(range(999, 979, -1))
    assert found.worst[0].gap == 999.0


def test_rtol_says_how_well_right_hand_sides_have_to_agree():
    prepared = solver_service.prepare([[1.0, 2.0], [3.0, 6.0]])
    b = [1.0, 3.0 * (1 + 1e-8)]
    assert prepared.contradictions(b).count == 0
    assert prepared.contradictions(b).certificate is None
    assert prepared.contradictions(b, rtol=1e-9).count == 1
    for wrong in (-1.0, math.nan):
        with pytest.raises(errors.InvalidInputError):
            prepared.contradictions(b, rtol=wrong)


def test_wrong_right_hand_sides_are_refused():
    prepared = solver_service.prepare(np.eye(2))
    with pytest.raises(errors.DimensionMismatchError):
        prepared.contradictions(np.ones((2, 2)))
    with pytest.raises(errors.DimensionMismatchError):
        prepared.contradictions(np.ones(3))
    with pytest.raises(errors.NonFiniteError):
        prepared.contradictions([1.0, math.inf])


def test_the_target_has_to_be_exceeded():
    state = solver_service.prepare([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]]).state
    b = np.array([1.0, 1.0 + 1e-3, 5.0])
    proof = parallel_rows_certificate(state, b, 0.0)
    assert proof.bound == pytest.approx(1e-3 / math.sqrt(2), rel=1e-6)
    assert parallel_rows_certificate(state, b, 0.99 * proof.bound) is not None
    assert parallel_rows_certificate(state, b, proof.bound) is None


def test_empty_rows_are_the_special_case():
    state = solver_service.prepare([[1.0, 2.0], [0.0, 0.0], [0.0, 1.0]]).state
    b = np.array([1.0, -2.0, 5.0])
    ours, theirs = parallel_rows_certificate(state, b, 1.0), empty_row_certificate(state, b, 1.0)
    assert (ours.bound, ours.radius) == (theirs.bound, theirs.radius) == (2.0, np.finfo(float).max)
    np.testing.assert_array_equal(ours.y, [0.0, -1.0, 0.0])
    assert parallel_rows_certificate(state, b, 2.0) is None


@pytest.mark.parametrize("of_b", [1e-310, 1e-100, 1e100, 1e307])
@pytest.mark.parametrize("of_A", [1e-200, 1.0, 1e200])
def test_extreme_scales(of_A, of_b):
    A = of_A * np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 1.0]])
    found = solver_service.prepare(A).contradictions(of_b * np.array([1.0, 3.0, 1.0]))
    assert found.count == 1
    assert found.worst[0].gap == pytest.approx(of_b)
    assert found.certificate.bound == pytest.approx(of_b / math.sqrt(5))
    assert np.isfinite(found.certificate.radius)
    assert solver_service.prepare(A).contradictions(of_b * np.array([1.0, 2.0, 1.0])).count == 0


def hilbert_with_a_contradiction():
    """κ ≈ 10¹⁶, and two rows contradict two others."""
    H = 1.0 / (np.arange(60)[:, None] + np.arange(12) + 1.0)
    b = H @ np.ones(12)
    return np.vstack([H, 3.0 * H[:2]]), np.append(b, 3.0 * b[:2] + [0.1, 0.2])


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "lsmr"])
def test_a_stalled_solve_is_proven_by_structure_or_by_iteration(monkeypatch, method):
    A, b = hilbert_with_a_contradiction()
    result = solver_service.solve(A, b, method=method, rtol=1e-8)
    assert result.status is Status.INCONSISTENT
    assert result.certificate.bound == pytest.approx(math.hypot(0.1, 0.2) / math.sqrt(10), rel=1e-3)
    assert result.certificate.radius >= 999 * np.linalg.norm(result.x)
    assert {w.row for w in result.worst_equations[:4]} == {0, 1, 60, 61}
    assert set(np.flatnonzero(result.certificate.y)) == {0, 1, 60, 61}, "the rows that contradict, alone"
    monkeypatch.setattr(verification, "parallel_rows_certificate", lambda *_: None)
    other = solver_service.solve(A, b, method=method, rtol=1e-8)
    assert other.status is Status.INCONSISTENT, "iterations on the residual itself prove it as well"
    assert np.count_nonzero(other.certificate.y) > 4


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "coordinate_descent", "lsqr", "lsmr"])
def test_rounded_repetitions_stall_without_being_called_inconsistent(method):
    rng = np.random.default_rng(1)
    base = sparse.random_array((200, 30), density=0.2, rng=rng, format="csr")
    A = sparse.csr_array(sparse.vstack([base, 3.3 * base, base / 7.0]))
    b = A @ rng.normal(size=30)
    result = solver_service.solve(A, b, method=method, rtol=0.0)
    assert result.status is Status.STAGNATED
    assert result.relative_residual < 1e-13


def test_the_groups_count_as_memory_of_the_state():
    prepared = solver_service.prepare(np.ones((100, 2)))
    before = prepared.nbytes
    assert prepared.report.duplicate_rows.count == 99
    assert prepared.nbytes >= before + 100 * 16
    assert prepared.nbytes == before + prepared.state.parallel_rows.nbytes


def test_rounding_to_subnormal_numbers_is_no_contradiction():
    smallest = 5e-324
    found = solver_service.prepare(np.array([[1.0], [0.5]])).contradictions(
        np.array([smallest, 0.0]), rtol=0.0
    )
    assert found.count == 0
