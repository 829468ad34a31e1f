"""The monitor: bounded history, limits, the best x, and a deadline that is looked at between blocks."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import sparse

from solver_service.kernels import RawCSR
from solver_service.methods import Status
from solver_service.methods.interruption import Interrupted
from solver_service.methods.monitor import Monitor

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


def test_progress_is_told_at_the_beginning_and_after_a_silence(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("solver_service.methods.monitor.time.monotonic", lambda: now[0])
    seen = []
    m = monitor(callback=seen.append)
    m.begin()
    assert [(p.iterations, p.relative_residual) for p in seen] == [(0, 1.0)]
    m.measure(np.array([1.0, 1.0, 0.5]))
    assert len(seen) == 2
    m.work.iterations = 7
    for _ in range(10):
        m.rest()
        now[0] += 0.0625
    assert [p.iterations for p in seen] == [0, 0, 7, 7]
    assert seen[-1].relative_residual == seen[1].relative_residual < 1.0, "the last that was measured"


def test_a_callback_may_end_it_between_two_pieces_of_work():
    m = monitor(callback=lambda progress: progress.iterations > 0)
    m.begin()
    m.work.iterations = 1
    m._spoke = -1.0
    with pytest.raises(Interrupted) as caught:
        m.rest()
    assert caught.value.status is Status.CANCELLED


def test_the_limit_says_how_many_steps_it_leaves_and_whether_it_ever_mattered():
    m = monitor(max_epochs=10.0)
    assert m.allowed(5, 2.0) == 5
    assert not m.limited
    m.work.epochs = 4.0
    assert m.allowed(3, 2.0) == 3, "just enough"
    assert not m.limited
    assert m.allowed(4, 2.0) == 3
    assert m.limited
    m = monitor(max_epochs=0.3)
    assert m.allowed(3, 0.1) == 3, "in spite of rounding"
    m.work.epochs = 0.3
    assert m.limited


def test_what_the_limit_had_influence_on_is_not_kept():
    class Holder:
        offered = taken = 0

        def offer(self, capture):
            self.offered += 1

        def take(self, capture):
            self.taken += 1

    holder = Holder()
    stop = []
    m = monitor(max_epochs=10.0, keeper=holder, capture=dict, should_stop=lambda: bool(stop))
    m.rest()
    assert (holder.offered, holder.taken) == (1, 0)
    stop.append(1)
    with pytest.raises(Interrupted):
        m.rest()
    assert (holder.offered, holder.taken) == (2, 1)
    assert m.allowed(11, 1.0) == 10
    with pytest.raises(Interrupted):
        m.rest()
    assert (holder.offered, holder.taken) == (2, 1)
    assert m.within(lambda *_: {}) is None
