from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from contest import summary

UNSOLVED = math.inf
LIMIT = 10.0
TABLE = {
    "fast": {"auto": 0.010, "scipy lsqr": 0.040, "scipy lsmr": 0.050},
    "lost": {"auto": 0.050, "scipy lsqr": 0.100, "scipy lsmr": 0.025, "scipy direct": 0.0125},
    "hopeless for scipy": {"auto": 2.5, "scipy lsqr": UNSOLVED, "scipy lsmr": UNSOLVED},
    "hopeless for auto": {"auto": UNSOLVED, "scipy lsqr": UNSOLVED, "scipy direct": 0.1},
    "nobody": {"auto": UNSOLVED, "scipy lsqr": UNSOLVED},
    "easy": {"auto": 0.004, "scipy lsqr": 0.002},
    "easy and slow": {"auto": 0.0051, "scipy lsqr": 0.002},
}


def test_share_is_of_the_systems_that_anyone_solved() -> None:
    assert summary.share_solved(TABLE, "auto") == pytest.approx(5 / 6)
    assert summary.share_solved(TABLE, "scipy direct") == pytest.approx(2 / 6)
    assert summary.share_solved({"nobody": {"auto": UNSOLVED}}, "auto") is None
    assert summary.unsolved(TABLE, "auto") == ["hopeless for auto"]


def test_comparison_with_the_best_rival() -> None:
    found = summary.compare(TABLE, "auto", summary.ITERATIVE, LIMIT)
    # Ratios: 4 (fast), 1/2 (lost), 10/2.5 (nobody of SciPy), 10/10 (neither, but someone did).
    assert found.judged == 4
    assert found.geometric_mean == pytest.approx((4 * 0.5 * 4 * 1) ** 0.25)
    assert found.worst == summary.Duel("lost", 0.050, "scipy lsmr", 0.025)
    assert found.worst.ratio == pytest.approx(0.5)
    assert [duel.system for duel in found.lost] == ["lost"]
    assert [duel.system for duel in found.slow] == ["easy and slow"]


def test_comparison_with_direct_included() -> None:
    found = summary.compare(TABLE, "auto", summary.SCIPY, LIMIT)
    assert found.geometric_mean == pytest.approx((4 * 0.25 * 4 * 0.01) ** 0.25)
    assert found.worst is not None
    assert (found.worst.system, found.worst.seconds) == ("hopeless for auto", LIMIT)
    assert [duel.system for duel in found.lost] == ["hopeless for auto", "lost"]


def test_easy_systems_are_not_in_the_mean() -> None:
    table = {"easy": {"auto": 0.1, "scipy lsqr": 0.005}, "hard": {"auto": 0.1, "scipy lsqr": 0.0051}}
    found = summary.compare(table, "auto", ("scipy lsqr",), LIMIT)
    assert found.judged == 1
    assert [duel.system for duel in found.slow] == ["easy"]


def test_times_beyond_the_limit_count_as_the_limit() -> None:
    found = summary.compare({"one": {"auto": 20.0, "scipy lsqr": 5.0}}, "auto", ("scipy lsqr",), LIMIT)
    assert found.geometric_mean == pytest.approx(0.5)


def test_whoever_did_not_take_part_has_no_figures() -> None:
    found = summary.summarise(TABLE, LIMIT)
    assert (found.systems, found.solvable) == (7, 6)
    assert found.without_direct is None
    assert found.without_direct_solves is None
    assert found.minimum_norm is None
    only_direct = summary.summarise({"one": {"auto": 1.0, "scipy direct": 2.0}}, LIMIT)
    assert only_direct.iterative is None
    assert only_direct.scipy is not None


def test_every_figure_has_its_own_rivals() -> None:
    times = {
        "auto": 1.0,
        "auto without direct": 2.0,
        "auto minimum_norm": 4.0,
        "scipy lsqr": 16.0 / 2,
        "scipy lsmr": 9.0,
        "scipy cg": 6.0,
        "scipy direct": 3.0,
    }
    assert summary.headline(summary.summarise({"one": times}, LIMIT)) == pytest.approx(
        {
            "auto_solves": 1.0,
            "iterative_geometric_mean": 6.0,
            "iterative_minimum": 6.0,
            "scipy_geometric_mean": 3.0,
            "scipy_minimum": 3.0,
            "without_direct_geometric_mean": 3.0,
            "without_direct_minimum": 3.0,
            "without_direct_solves": 1.0,
            "minimum_norm_geometric_mean": 2.0,
            "minimum_norm_minimum": 2.0,
        }
    )


@pytest.mark.parametrize("table", [TABLE, {}, {"nobody": {"auto": UNSOLVED}}])
def test_figures_are_json_and_words(table: summary.Table) -> None:
    found = summary.summarise(table, LIMIT)
    json.dumps(asdict(found), allow_nan=False)
    said = "\n".join(summary.lines(found))
    assert all(f"({number})" in said for number in range(1, 6))


def test_words_name_what_was_lost() -> None:
    said = "\n".join(summary.lines(summary.summarise(TABLE, LIMIT)))
    assert "auto solves 83.3 %" in said
    assert "not hopeless for auto" in said
    assert "minimum 0.5 on lost (50.0 ms, scipy lsmr 25.0 ms)" in said
    assert "loses: hopeless for auto 0.01, lost 0.25" in said
    assert "slow on easier systems: easy and slow 5.1 ms (scipy lsqr 2.0)" in said
