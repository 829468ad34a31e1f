from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from contest import profiles

TABLE = {
    "a": {"one": 1.0, "two": 2.0, "three": math.inf},
    "b": {"one": 9.0, "two": 3.0},
    "c": {"one": 5.0, "two": 5.0, "three": 50.0},
    "nobody": {"one": math.inf, "two": math.inf},
}


def test_ratios_to_the_best() -> None:
    found = profiles.ratios(TABLE, ["one", "two", "three"])
    np.testing.assert_allclose(found["one"], [1.0, 1.0, 3.0])
    np.testing.assert_allclose(found["two"], [1.0, 1.0, 2.0])
    np.testing.assert_allclose(found["three"], [10.0, math.inf, math.inf])


def test_only_those_compared_set_the_best() -> None:
    found = profiles.ratios(TABLE, ["one", "three"])
    np.testing.assert_allclose(found["one"], [1.0, 1.0, 1.0])


def test_a_system_that_only_others_solve_counts_as_unsolved() -> None:
    assert math.isinf(profiles.ratios({"x": {"one": 1.0, "two": math.inf}}, ["two"])["two"][0])


def test_profile_is_the_share_within_tau() -> None:
    tau = np.array([1.0, 1.5, 2.0, 1e9])
    np.testing.assert_allclose(
        profiles.profile(np.array([1.0, 2.0, math.inf, math.inf]), tau), [0.25, 0.25, 0.5, 0.5]
    )


def test_picture(tmp_path: Path) -> None:
    profiles.draw(TABLE, ["one", "two", "three"], "title", tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
