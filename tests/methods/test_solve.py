"""The Python API: results, determinism, reuse, right-hand sides, minimum norm, starts, rescaling."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import lsmr

import solver_service
from solver_service import Status
from solver_service.methods.lsmr import Lsmr
from solver_service.methods.monitor import Monitor
from solver_service.methods.options import Options
from solver_service.methods.result import ColumnResult, Parameters, Result
from solver_service.methods.spectrum import Spectrum

SAMPLED = ["kaczmarz", "coordinate_descent"]


@pytest.fixture(scope="module")
def system():
    rng = np.random.default_rng(0)
    A = sparse.csr_array(sparse.random_array((600, 80), density=0.08, rng=rng))
    x = rng.standard_normal(80)
    return A, A @ x, x


@pytest.fixture(scope="module")
def deficient():
    """40 × 60 of rank 30: many solutions."""
    rng = np.random.default_rng(1)
    left = sparse.random_array((40, 30), density=0.3, rng=rng)
    right = sparse.random_array((30, 60), density=0.2, rng=rng)
    A = sparse.csr_array(left @ right)
    return A, A @ rng.standard_normal(60)


def without_times(result):
    """All that must repeat bit for bit."""
    fields = {
        f.name: getattr(result, f.name)
        for f in dataclasses.fields(result)
        if f.name not in ("x", "timings", "phases", "history", "forecast")
    }
    fields["x"] = result.x.tobytes()
    fields["phases"] = [(p.method, p.iterations, p.relative_residual) for p in result.phases]
    fields["history"] = [(h.iterations, h.relative_residual, h.exact) for h in result.history]
    return fields


@pytest.mark.parametrize("method", ["auto", *SAMPLED, "lsqr", "lsmr"])
def test_the_same_seed_gives_the_same_bits_alone_and_prepared(system, method):
    A, b, _ = system
    prepared = solver_service.prepare(A)
    runs = [
        solver_service.solve(A, b, method=method, seed=5),
        solver_service.solve(A, b, method=method, seed=5),
        prepared.solve(b, method=method, seed=5),
        prepared.solve(b, method=method, seed=5),
    ]
    assert all(without_times(r) == without_times(runs[0]) for r in runs[1:])


@pytest.mark.parametrize("method", SAMPLED)
def test_another_seed_gives_other_samples(system, method):
    A, b, _ = system
    first, second = (solver_service.solve(A, b, method=method, seed=s) for s in (1, 2))
    assert first.x.tobytes() != second.x.tobytes()
    assert (first.parameters.seed, second.parameters.seed) == (1, 2)


def test_nothing_is_drawn_from_the_global_generator(system):
    A, b, _ = system
    np.random.seed(3)  # noqa: NPY002  # the global state is what is tested
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002  # as above
    solver_service.solve(A, b, method="kaczmarz")
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002  # as above


def test_a_prepared_matrix_serves_several_threads(system):
    A, _, _ = system
    rng = np.random.default_rng(2)
    prepared = solver_service.prepare(A)
    X = rng.standard_normal((80, 8))
    results: list[Result | None] = [None] * 8

    def work(k: int) -> None:
        results[k] = prepared.solve(A @ X[:, k], method="kaczmarz", rtol=1e-9)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, result in enumerate(results):
        np.testing.assert_allclose(result.x, X[:, k], atol=1e-6)


def test_several_right_hand_sides(system):
    A, _, _ = system
    rng = np.random.default_rng(3)
    X = rng.standard_normal((80, 3))
    b = A @ X
    b[:, 1] += rng.standard_normal(600)  # inconsistent
    result = solver_service.solve(A, b, rtol=1e-8)
    assert result.x.shape == (80, 3)
    np.testing.assert_allclose(result.x[:, [0, 2]], X[:, [0, 2]], atol=1e-5)
    assert [c.status for c in result.columns] == [Status.CONVERGED, Status.INCONSISTENT, Status.CONVERGED]
    assert result.status is Status.INCONSISTENT
    assert not result.converged
    assert result.relative_residual == max(c.relative_residual for c in result.columns)
    assert result.residual_norm == max(c.residual_norm for c in result.columns)
    assert result.iterations == sum(c.iterations for c in result.columns)
    assert result.epochs == pytest.approx(sum(c.epochs for c in result.columns))
    assert not any(hasattr(c, "x") for c in result.columns)
    alone = solver_service.solve(A, b[:, 2], rtol=1e-8)
    assert alone.x.tobytes() == np.ascontiguousarray(result.x[:, 2]).tobytes()


def test_one_column_stays_a_matrix(system):
    A, b, _ = system
    result = solver_service.solve(A, b[:, None], x0=np.zeros((80, 1)))
    assert result.x.shape == (80, 1)
    assert len(result.columns) == 1
    assert result.converged


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "lsqr", "lsmr"])
def test_minimum_norm(deficient, method):
    A, b = deficient
    result = solver_service.solve(A, b, method=method, minimum_norm=True, rtol=1e-10)
    assert result.converged
    assert result.minimum_norm is True
    expected = np.linalg.pinv(A.toarray(), rcond=1e-12) @ b
    np.testing.assert_allclose(result.x, expected, atol=1e-6 * np.linalg.norm(expected))


def test_minimum_norm_is_not_claimed_where_it_does_not_hold(deficient, system):
    A, b = deficient
    assert solver_service.solve(A, b, method="coordinate_descent").minimum_norm is False
    start = np.ones(60)
    assert solver_service.solve(A, b, method="kaczmarz", x0=start).minimum_norm is False
    square = np.array([[2.0, 1.0], [1.0, 3.0]])
    assert solver_service.solve(square, [1.0, 2.0], method="direct").minimum_norm is None
    with pytest.raises(solver_service.InvalidInputError) as caught:
        solver_service.solve(A, b, minimum_norm=True, x0=start)
    assert caught.value.errors[0].field == "x0"


def test_direct_on_a_singular_matrix_is_not_passed_off_as_the_only_solution():
    """Rounding hides the singularity from SuperLU: it returns one of many solutions with a small residual."""
    rng = np.random.default_rng(4)
    A = rng.standard_normal((30, 20)) @ rng.standard_normal((20, 30))
    b = A @ rng.standard_normal(30)
    any_solution = solver_service.solve(A, b, method="direct")
    assert any_solution.minimum_norm is not None or not any_solution.converged
    least = solver_service.solve(A, b, minimum_norm=True, rtol=1e-9)
    assert least.converged
    assert least.minimum_norm is True
    np.testing.assert_allclose(least.x, np.linalg.pinv(A, rcond=1e-10) @ b, rtol=1e-5, atol=1e-7)


def test_an_interrupted_column_method_does_not_claim_the_minimum_norm(deficient):
    A, b = deficient
    result = solver_service.solve(A, b, method="coordinate_descent", rtol=1e-14, callback=lambda _: True)
    assert result.status is Status.CANCELLED
    assert result.minimum_norm is False


def test_empty_columns_keep_what_x0_had(system):
    A, b, x = system
    wide = sparse.csr_array(sparse.hstack([A, sparse.csr_array((600, 2))]))
    for method in SAMPLED:
        result = solver_service.solve(wide, b, x0=np.append(x + 1e-3, [7.0, 8.0]), method=method)
        assert result.iterations > 0
        assert result.converged
        np.testing.assert_array_equal(result.x[80:], [7.0, 8.0])


@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("momentum", ["heavy_ball", "nesterov"])
def test_one_full_step_is_the_gradient_step(system, method, momentum):
    A, b, _ = system
    side = A if method == "kaczmarz" else sparse.csr_array(A.T)
    side = side[np.flatnonzero(np.diff(side.indptr))]
    norms = np.sqrt((side.toarray() ** 2).sum(axis=1))
    count = side.shape[0]
    result = solver_service.solve(
        A, b, method=method, momentum=momentum, beta=0.5, step_size=2.0, batch_size=count, max_epochs=1.001
    )
    assert result.iterations == 1
    if method == "kaczmarz":
        scaled = b[np.flatnonzero(np.diff(A.indptr))] / norms
        expected = 2.0 / count * (side / norms[:, None]).T @ scaled
    else:
        expected = np.zeros(80)
        expected[np.flatnonzero(np.diff(sparse.csr_array(A.T).indptr))] = 2.0 / count * (side @ b) / norms**2
    np.testing.assert_allclose(result.x, expected, rtol=1e-10)


def test_an_underestimated_spectrum_is_noticed_and_corrected(system):
    A, b, x = system
    prepared = solver_service.prepare(A)
    rows = prepared.state.sampled_rows
    true = rows.spectrum
    rows.__dict__["spectrum"] = Spectrum(true.lambda_max / 30, true.mu)
    result = prepared.solve(b, method="kaczmarz", batch_size=500, rtol=1e-8)
    assert result.converged
    np.testing.assert_allclose(result.x, x, atol=1e-5)
    too_long = 1 / (1 / 500 + (1 - 1 / 500) * true.lambda_max / 30)
    assert result.parameters.step_size < too_long / 1.9


def test_a_failed_direct_phase_does_not_spoil_the_minimum_norm():
    A = np.array([[1.0, 2.0], [2.0, 4.0 + 1e-16]])  # singular in float64
    result = solver_service.solve(A, [1.0, 2.0], minimum_norm=True)
    assert result.converged
    np.testing.assert_allclose(result.x, [0.2, 0.4], rtol=1e-6)
    assert result.minimum_norm is True


@pytest.mark.parametrize("method", ["auto", *SAMPLED, "lsqr", "lsmr"])
def test_x0_is_where_it_starts(system, method):
    A, b, x = system
    there = solver_service.solve(A, b, x0=x, method=method)
    assert (there.status, there.iterations) == (Status.CONVERGED, 0)
    assert there.x.tobytes() == x.tobytes()
    near = solver_service.solve(A, b, x0=x + 1e-4, method=method)
    far = solver_service.solve(A, b, method=method)
    assert near.converged
    assert near.target == far.target, "the tolerance stays relative to b"
    assert near.iterations < far.iterations


def test_atol_counts_too(system):
    A, b, _ = system
    result = solver_service.solve(A, b, rtol=0.0, atol=0.5)
    assert result.target == 0.5
    assert result.converged
    assert result.residual_norm <= 0.5


@pytest.mark.parametrize("momentum", ["none", "heavy_ball", "nesterov"])
@pytest.mark.parametrize("method", SAMPLED)
def test_given_parameters_are_used_and_told(system, method, momentum):
    A, b, x = system
    given = {} if momentum == "none" else {"beta": 0.25}
    result = solver_service.solve(
        A, b, method=method, momentum=momentum, batch_size=16, step_size=3.0, rtol=1e-9, **given
    )
    p = result.parameters
    assert (p.batch_size, p.step_size, p.momentum) == (16, 3.0, momentum)
    assert p.beta == (0.0 if momentum == "none" else 0.25)
    assert result.row_updates == 16 * result.iterations
    assert result.converged
    np.testing.assert_allclose(result.x, x, atol=1e-6)


def test_a_batch_larger_than_the_matrix_is_the_whole_matrix(system):
    A, b, _ = system
    result = solver_service.solve(A, b, method="kaczmarz", batch_size=10**6, max_epochs=50)
    filled = np.count_nonzero(np.diff(A.indptr))
    assert result.parameters.batch_size == filled
    assert result.row_updates == filled * result.iterations


def test_batch_options_restrict_auto_to_the_mini_batch_methods(system):
    A, b, _ = system
    result = solver_service.solve(A, b, batch_size=8)
    assert result.converged
    assert {phase.method for phase in result.phases} <= set(SAMPLED)
    assert "mini-batch" in result.reason


def test_batches_cut_into_segments_take_the_same_steps(system, monkeypatch):
    A, b, _ = system
    whole = solver_service.solve(A, b, method="kaczmarz", batch_size=300, max_epochs=10, rtol=1e-14)
    monkeypatch.setattr("solver_service.methods.sampled.BLOCK_ENTRIES", 500)
    cut = solver_service.solve(A, b, method="kaczmarz", batch_size=300, max_epochs=10, rtol=1e-14)
    np.testing.assert_allclose(cut.x, whole.x, rtol=1e-9)


def test_callback_sees_measured_progress(system):
    A, b, _ = system
    seen = []
    result = solver_service.solve(A, b, method="kaczmarz", batch_size=1, rtol=1e-10, callback=seen.append)
    assert result.converged
    assert [p.epochs for p in seen] == sorted(p.epochs for p in seen)
    assert seen[-1].relative_residual <= 1e-10
    assert seen[-1].iterations == result.iterations


def test_an_exception_in_the_callback_reaches_the_caller(system):
    A, b, _ = system

    def fail(progress):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        solver_service.solve(A, b, callback=fail)


def test_timings_add_up(system):
    A, b, _ = system
    t = solver_service.solve(A, b).timings
    assert t.prepare + t.solve + t.verify == pytest.approx(t.total, abs=1e-3)
    assert min(t.prepare, t.solve, t.verify) > 0


KEYS = """x status converged residual_norm relative_residual target method reason iterations epochs
row_updates parameters phases history timings advice minimum_norm forecast error_estimate certificate
worst_equations columns"""
PARAMETERS = "batch_size step_size momentum beta stable_rank lambda_max kappa threads seed tuning"


def test_the_result_has_the_keys_of_the_contract(system):
    A, b, _ = system
    result = solver_service.solve(A, b)
    fields = {f.name for f in dataclasses.fields(Result)} | {"converged"}
    assert fields == set(KEYS.split())
    assert all(hasattr(result, name) for name in fields)
    assert {f.name for f in dataclasses.fields(Parameters)} == set(PARAMETERS.split())
    assert {f.name for f in dataclasses.fields(Result)} - {
        f.name for f in dataclasses.fields(ColumnResult)
    } == {
        "x",
        "columns",
    }


def test_every_status_has_advice_but_success():
    for status in Status:
        assert bool(status.advice) == (status is not Status.CONVERGED)
        assert status == status.value


def test_zero_rows_and_columns_are_left_out(system):
    A, b, x = system
    wide = sparse.csr_array(sparse.block_diag([A, sparse.csr_array((5, 4))]))
    for method in ("auto", *SAMPLED, "lsqr", "lsmr"):
        result = solver_service.solve(wide, np.concatenate([b, np.zeros(5)]), method=method, rtol=1e-9)
        assert result.converged, method
        np.testing.assert_allclose(result.x[:80], x, atol=1e-6)
        assert not result.x[80:].any()
        passes = wide.shape[1] if method == "coordinate_descent" else wide.shape[0]
        assert result.phases[-1].epochs == 0 or result.row_updates == pytest.approx(result.epochs * passes)


def test_a_matrix_of_zeros(system):
    for method in ("auto", *SAMPLED, "lsqr", "lsmr"):
        empty = solver_service.solve(sparse.csr_array((3, 2)), [1.0, 0.0, 0.0], method=method)
        assert empty.status is Status.INCONSISTENT
        assert not empty.x.any()


def test_lsmr_agrees_with_scipy_step_by_step(system):
    A, b, _ = system
    state = solver_service.prepare(A).state
    monitor = Monitor(state.raw, b, np.zeros(80), target=0.0)
    process = Lsmr(state, b, np.zeros(80), Options())
    while monitor.work.iterations < 12:  # later rounding shows, and passes
        assert process.advance(monitor) is None
        theirs = lsmr(A, b, atol=0, btol=0, conlim=0, maxiter=monitor.work.iterations)[0]
        np.testing.assert_allclose(process.solution(), theirs, rtol=1e-6, atol=1e-8)
    assert monitor.work.epochs == 2 * monitor.work.iterations


def test_lsmr_shows_its_x_whenever_it_is_stopped(system):
    A, b, _ = system
    seen = []

    def callback(progress):
        seen.append(progress)
        return progress.iterations >= 8

    result = solver_service.solve(A, b, method="lsmr", rtol=1e-12, callback=callback)
    assert result.status is Status.CANCELLED
    assert result.iterations == seen[-1].iterations
    assert result.relative_residual == pytest.approx(seen[-1].relative_residual)
    assert 0 < result.relative_residual < 0.5
