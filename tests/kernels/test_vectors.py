"""Sums whose bits are fixed, against exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from solver_service.kernels import largest_magnitude, squared_norm

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 255, 256, 257, 259, 512, 1000, 100_003]


@pytest.mark.parametrize("size", SIZES)
def test_squared_norm_is_exact_to_a_few_roundings(size):
    v = np.random.default_rng(size).standard_normal(size)
    assert squared_norm(v) == pytest.approx(math.fsum(v * v), rel=2e-14, abs=0.0)


def test_blocks_are_added_with_compensation():
    # Beside 2⁵³ a plain sum loses every one of the later blocks, each of which is worth 1.
    v = np.zeros(256 * 101)
    v[0] = 2.0**26.5
    v[256::256] = 1.0
    exact = v[0] ** 2 + 100.0
    assert squared_norm(v) == exact
    plain = v[0] ** 2
    for value in v[256::256]:
        plain += value * value
    assert plain != exact, "the case must be one where plain summation fails"


def test_a_large_block_after_small_ones():
    v = np.zeros(256 * 101)
    v[: 256 * 100 : 256] = 1.0
    v[-1] = 2.0**30
    assert squared_norm(v) == 2.0**60 + 128 or squared_norm(v) == 2.0**60
    v[-1] = 2.0**26.5
    assert squared_norm(v) == v[-1] ** 2 + 100.0


@pytest.mark.parametrize("size", SIZES)
def test_the_order_of_additions_is_the_one_written_down(size):
    v = np.random.default_rng(size + 1).standard_normal(size)
    total = low = 0.0
    for start in range(0, size, 256):
        block = [x * x for x in v[start : start + 256].tolist()]
        whole = len(block) - len(block) % 4
        sums = [0.0] * 4
        for place in range(whole):
            sums[place % 4] += block[place]
        for value in block[whole:]:
            sums[0] += value
        part = (sums[0] + sums[1]) + (sums[2] + sums[3])
        high = total + part
        low += (total - high) + part if total >= part else (part - high) + total
        total = high
    assert squared_norm(v) == total + low


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3, 300, 999])
def test_what_is_not_finite_is_not_hidden(value, place):
    v = np.ones(1000)
    v[place] = value
    assert not math.isfinite(squared_norm(v))


def test_views_and_read_only_vectors_give_the_same_bits():
    v = np.random.default_rng(0).standard_normal(2000)
    frozen = v[::2].copy()
    frozen.flags.writeable = False
    assert squared_norm(v[::2]) == squared_norm(frozen)
    assert largest_magnitude(v[::2]) == largest_magnitude(frozen)


@pytest.mark.parametrize("size", SIZES)
def test_largest_magnitude(size):
    v = np.random.default_rng(size).standard_normal(size)
    assert largest_magnitude(v) == np.max(np.abs(v), initial=0.0)
    assert largest_magnitude(-np.abs(v)) == np.max(np.abs(v), initial=0.0)


def test_the_error_is_far_below_that_of_a_plain_sum():
    v = np.random.default_rng(3).random(1_000_000)
    exact = sum(Fraction(x) ** 2 for x in v[:4096].tolist())
    assert abs(Fraction(squared_norm(v[:4096])) - exact) <= Fraction(2, 10**14) * exact
