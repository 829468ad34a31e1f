"""The monitor: bounded history, limits, the best x, and a deadline that is looked at between blocks."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import sparse

from solver_service.kernels import RawCSR
from solver_service.methods import Status
from solver_service.methods.monitor import Interrupted, Monitor

A = sparse.csr_array(np.diag([1.0, 2.0, 4.0]))
B = np.array([1.0, 2.0, 4.0])


def monitor(**kwargs) -> Monitor:
    return Monitor(RawCSR.of(A), B, kwargs.pop("x0", np.zeros(3)), target=1e-6, **kwargs)


def test_measures_the_true_residual_and_keeps_the_best_x():
    m = monitor()
    m.begin()
    good, bad = np.array([1.0, 1.0, 0.5]), np.array([9.0, 9.0, 9.0])
    assert m.measure(good) == 2.0
    assert m.measure(bad) == pytest.approx(np.linalg.norm(B - A @ bad))
    good_copy = good.copy()
    good[:] = 0
    np.testing.assert_array_equal(m.best_x, good_copy)
    assert m.best_norm == 2.0


def test_what_is_not_finite_is_never_the_best():
    m = monitor()
    assert m.measure(np.array([np.nan, 0, 0])) == np.inf
    with np.errstate(over="ignore"):
        assert m.measure(np.array([1e308, 1e308, 1e308])) == np.inf
    assert np.isfinite(m.best_x).all()
    far = monitor(x0=np.full(3, 1e308))
    with np.errstate(over="ignore"):
        far.begin()
    assert not far.best_x.any()


def test_history_is_bounded_log_spaced_and_keeps_both_ends():
    m = monitor()
    m.begin()
    for k in range(1, 20_001):
        m.work.iterations, m.work.epochs = k, k / 10
        m.estimate(1.0 / k)
        if k % 100 == 0:
            m.measure(np.full(3, 1.0 - 1.0 / k))
    history = m.history
    assert len(history) <= 210
    epochs = np.array([point.epochs for point in history])
    assert (np.diff(epochs) > 0).all()
    assert (epochs[0], epochs[-1]) == (0.0, 2000.0)
    assert history[-1].exact
    inner = epochs[1:-1]
    assert np.max(inner[1:] / inner[:-1]) < 2.1, "no large gaps"
    assert np.count_nonzero(epochs > 1000) < 60, "not crowded at the end"


def test_cancel_deadline_and_callback_interrupt():
    with pytest.raises(Interrupted) as caught:
        monitor(should_stop=lambda: True).tick()
    assert caught.value.status is Status.CANCELLED
    with pytest.raises(Interrupted) as caught:
        monitor(deadline=time.monotonic()).tick()
    assert caught.value.status is Status.TIME_LIMIT
    with pytest.raises(Interrupted) as caught:
        monitor(callback=lambda progress: progress.relative_residual < 0.9).measure(np.full(3, 0.5))
    assert caught.value.status is Status.CANCELLED


def test_a_callback_that_returns_something_else_than_true_goes_on():
    m = monitor(callback=lambda _: "go on")
    assert m.measure(np.full(3, 0.5)) > 0


def test_settle_measures_after_the_end():
    m = monitor(should_stop=lambda: True)
    m.settle(np.ones(3))
    assert m.best_norm == 0.0
