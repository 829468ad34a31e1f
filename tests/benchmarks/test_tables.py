from __future__ import annotations

import math

import pytest
from contest import tables


def test_best_is_bold_unsolved_is_a_dash_not_applicable_is_empty() -> None:
    table = {"a": {"one": 0.0123, "two": math.inf}, "b": {"two": math.inf}}
    lines = tables.markdown(table, ["one", "two"], {"a": "3 × 2"}).splitlines()
    assert lines[0] == "| system | m × n | one | two |"
    assert lines[2] == "| a | 3 × 2 | **12.3** | – |"
    assert lines[3] == "| b |  |  | – |"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000123, "0.123"),
        (0.00999, "9.99"),
        (0.0999, "99.9"),
        (0.1, "100"),
        (1.2345, "1,234"),
        (math.inf, "–"),
    ],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert tables.milliseconds(seconds) == text
