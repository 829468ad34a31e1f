from __future__ import annotations

import pytest
from parallel import figures

R, KAPPA = 100.0, 400.0
SATURATION = 1000.0


def on_the_bound(factor: float) -> dict[int, float]:
    return {size: factor * figures.bound(size, R, KAPPA) for size in (1, 10, 100, 1000, 4000)}


def test_bound_ends_at_the_root() -> None:
    assert figures.bound(1, R, KAPPA) == 40_020
    assert figures.bound(1e9, R, KAPPA) == pytest.approx(20, rel=1e-3)


def test_factor_is_found() -> None:
    assert figures.log_factor(on_the_bound(7.0), R, KAPPA) == pytest.approx(7.0)


def test_spread_looks_up_to_saturation_only() -> None:
    iterations = {1: 1000.0, 10: 120.0, 1000: 0.8, 2000: 0.8}
    assert figures.work_spread(iterations, SATURATION) == pytest.approx(1.5)
    assert figures.work_spread(iterations, 999.6) == pytest.approx(1.5)  # B* was rounded up to 1000


def test_growth_is_that_of_the_largest_batch_up_to_saturation() -> None:
    assert figures.work_growth({1: 1000.0, 10: 100.0, 1000: 4.0, 2000: 4.0}, SATURATION) == pytest.approx(4.0)


def test_floor_is_the_fewest_iterations_of_any_batch() -> None:
    assert figures.above_floor({1: 1000.0, 500: 10.0, 1000: 20.0, 4000: 30.0}, SATURATION) == pytest.approx(
        3.0
    )
    assert figures.above_floor({1: 1000.0, 500: 10.0}, SATURATION) is None


def test_verdict() -> None:
    perfect = {1: 40_000.0, 100: 400.0, 1000: 40.0, 4000: 40.0}
    without = {1: 40_000.0, 100: 800.0, 1000: 440.0, 4000: 410.0}
    good = {"none": without, "heavy_ball": perfect, "nesterov": perfect}
    assert figures.judge(good, SATURATION).met
    for name, changed in (
        ("none", {**without, 1000: 110.0}),
        ("nesterov", {**perfect, 100: 801.0}),
        ("heavy_ball", {**perfect, 4000: 101.0}),
    ):
        assert not figures.judge({**good, name: changed}, SATURATION).met, name


def test_batches_hold_the_marks() -> None:
    sizes = figures.batch_sizes(R, SATURATION, 60_000, 8)
    assert sizes == sorted(set(sizes))
    assert {1, 100, 1000, 16_000} <= set(sizes)
    assert max(figures.batch_sizes(R, SATURATION, 700, 8)) == 700


def test_small_conditions_are_not_judged() -> None:
    assert not figures.worth_judging(35.0)
    assert figures.worth_judging(36.0)
