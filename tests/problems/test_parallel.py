from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solver_service.problems.matrix import Matrix
from solver_service.problems.parallel import parallel_rows

SCALES = st.one_of(
    st.sampled_from([1.0, -1.0, 3.0, 1e100, -1e-100]), st.floats(0.01, 100.0), st.floats(-1e6, -1e-6)
)


def groups(found):
    rows = found.rows.tolist()
    return [rows[a:b] for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


def brute_force(dense):
    """Groups of rows that are exact multiples, by first row, each normalised by its first entry."""
    seen: dict[tuple[Fraction, ...], list[int]] = {}
    for i, row in enumerate(dense):
        exact = [Fraction(float(v)) for v in row]
        first = next((v for v in exact if v), None)
        if first is not None:
            seen.setdefault(tuple(v / first for v in exact), []).append(i)
    return [rows for rows in seen.values() if len(rows) > 1]


@st.composite
def integer_rows(draw):
    m, n = draw(st.integers(1, 10)), draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2).map(float), min_size=n, max_size=n)
    return np.array(draw(st.lists(row, min_size=m, max_size=m)))


@settings(max_examples=300, deadline=None)
@given(dense=integer_rows(), data=st.data())
def test_the_groups_are_those_of_exact_arithmetic_whatever_the_scale(dense, data):
    scales = np.array(data.draw(st.lists(SCALES, min_size=len(dense), max_size=len(dense))))
    scaled = dense * scales[:, None]  # each entry rounded
    found = parallel_rows(Matrix.from_any(scaled))
    assert groups(found) == brute_force(dense)
    assert found.count == sum(len(rows) - 1 for rows in groups(found))
    for i, j, c in zip(found.rows, found.firsts, found.multiples, strict=True):
        np.testing.assert_allclose(scaled[i], c * scaled[j], rtol=2e-15)
        if i == j:
            assert c == 1.0


@pytest.mark.parametrize("width", [1, 2, 7, 300])
def test_rounding_is_forgiven_and_anything_more_is_not(width):
    rng = np.random.default_rng(width)
    row = rng.normal(size=width) * 10.0 ** rng.integers(-8, 8, size=width)
    dense = np.array([row, row / 3.0, row * 0.1 * 7.0, row / np.linalg.norm(row)])
    found = parallel_rows(Matrix.from_any(dense))
    assert groups(found) == [[0, 1, 2, 3]]
    for k in range(width if width > 1 else 0):
        other = row / 3.0
        other[k] *= 1.0 + 1e-13
        assert parallel_rows(Matrix.from_any([row, other])).count == 0


def test_pattern_and_signs_matter():
    dense = [[1.0, 2.0, 0.0], [1.0, 0.0, 2.0], [1.0, -2.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    found = parallel_rows(Matrix.from_any(dense))
    assert groups(found) == [[2, 3]]
    assert found.multiples.tolist() == [1.0, -1.0]


def test_swapped_entries_are_no_multiple():
    assert parallel_rows(Matrix.from_any([[1.0, 2.0], [2.0, 1.0]])).count == 0


@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_extreme_scales(scale):
    found = parallel_rows(Matrix.from_any([[1.0, 2.0], [scale, 2 * scale], [0.25 * scale, 0.0]]))
    # A multiple that float64 holds only as a subnormal number, or not at all, is none.
    assert groups(found) == ([] if scale < 1e-307 else [[0, 1]])
    assert parallel_rows(Matrix.from_any([[1e-300, 1e-300], [1e300, 1e300]])).count == 0
    assert parallel_rows(Matrix.from_any([[1e-300, 1e300], [2e-300, 2e300]])).count == 1


def test_rows_a_little_apart_do_not_hide_each_other():
    """Equal to the eye of the projection but not to each other: compared among themselves in the end."""
    a = np.ones(200)
    b = a.copy()
    b[7] += 20 * np.finfo(float).eps
    found = parallel_rows(Matrix.from_any([a, b, 2 * b, 2 * a, 4 * b]))
    assert groups(found) == [[0, 3], [1, 2, 4]]


def test_many_directions_of_one_pattern():
    rng = np.random.default_rng(2)
    signs = np.array([[1.0, a, b, c, d] for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)])
    for rows in (rng.normal(size=(100, 5)), signs):
        found = parallel_rows(Matrix.from_any(np.vstack([rows, 0.3 * rows])))
        assert groups(found) == [[i, len(rows) + i] for i in range(len(rows))]


def test_no_entries_and_one_row():
    assert parallel_rows(Matrix.from_any((3, 4))).groups == 0
    assert parallel_rows(Matrix.from_any([[1.0, 2.0]])).groups == 0


def test_read_only_and_many():
    rng = np.random.default_rng(0)
    base = sp.random_array((4000, 300), density=0.02, rng=rng, format="csr")
    twice = sp.csr_array(sp.vstack([base, 3.7 * base[::-1]]))
    for array in (twice.data, twice.indices, twice.indptr):
        array.flags.writeable = False
    found = parallel_rows(Matrix.from_any(twice))
    filled = np.flatnonzero(np.diff(base.indptr) > 1)
    assert np.isin(filled, found.rows).all()
    pairs = set(zip(found.firsts.tolist(), found.rows.tolist(), strict=True))
    assert all((i, 7999 - i) in pairs for i in filled.tolist())
