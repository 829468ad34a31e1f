"""Whatever the matrix: a finite x, a true residual, and no exception but the documented ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import solver_service
from solver_service import Status, errors
from solver_service.methods import METHODS

ENTRY = st.one_of(
    st.just(0.0),
    st.integers(-3, 3).map(float),
    st.floats(-1e6, 1e6),
    st.floats(-1e150, 1e150, allow_subnormal=True),
)


@st.composite
def systems(draw):
    m, n = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    row = st.lists(ENTRY, min_size=n, max_size=n)
    A = np.array(draw(st.lists(row, min_size=m, max_size=m)))
    if draw(st.booleans()) and m == n:
        A = np.tril(A) + np.tril(A, -1).T
    x = np.array(draw(st.lists(st.integers(-9, 9).map(float), min_size=n, max_size=n)))
    b = A @ x if draw(st.booleans()) else np.array(draw(st.lists(ENTRY, min_size=m, max_size=m)))
    return A, b


@settings(max_examples=400, deadline=None)
@given(
    system=systems(),
    method=st.sampled_from(list(METHODS)),
    momentum=st.sampled_from(["auto", "none", "heavy_ball", "nesterov"]),
    batch_size=st.sampled_from(["auto", 1, 2, 100]),
    rtol=st.sampled_from([0.0, 1e-12, 1e-6, 0.5]),
    minimum_norm=st.booleans(),
    seed=st.integers(0, 3),
)
def test_invariants(system, method, momentum, batch_size, rtol, minimum_norm, seed):
    A, b = system
    options = {"rtol": rtol, "seed": seed, "max_epochs": 300}
    if "batch_size" in METHODS[method].options:
        options |= {"momentum": momentum, "batch_size": batch_size}
    if "minimum_norm" in METHODS[method].options:
        options["minimum_norm"] = minimum_norm
    try:
        result = solver_service.solve(A, b, method=method, **options)
    except errors.MethodNotApplicableError:
        assert method in ("cg", "direct", "ssor_cg")
        return
    assert np.isfinite(result.x).all()
    r, x = b.astype(np.longdouble), result.x.astype(np.longdouble)
    r = r - A.astype(np.longdouble) @ x
    true = float(np.sqrt(np.sum(r * r)))
    # What rounding may do to any residual, however it is summed.
    slack = 1e-14 * float(np.linalg.norm(np.abs(A).astype(np.longdouble) @ np.abs(x) + np.abs(b)))
    assert abs(result.residual_norm - true) <= 1e-9 * true + slack
    assert result.converged == (result.residual_norm <= result.target) == (result.status is Status.CONVERGED)
    assert result.epochs <= 300 * (1 + 1e-9)
    assert (result.certificate is not None) == (result.status is Status.INCONSISTENT)
    if result.certificate is not None:
        assert result.certificate.bound > result.target
        assert np.isfinite(result.certificate.radius)
        y = result.certificate.y.astype(np.longdouble)
        bound = abs(b @ y) - result.certificate.radius * np.sqrt(np.sum((A.T.astype(np.longdouble) @ y) ** 2))
        assert bound >= result.target * (1 - 1e-9)
