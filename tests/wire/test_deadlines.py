import json
import math

import pytest

from solver_service.wire.deadlines import find_deadline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"deadline": 2.5}', 2.5),
        ('{"deadline":1e-3,"b":[]}', 1e-3),
        ('{"b": [], "deadline"  :\n 7}', 7.0),
        ('{"b": []}', None),
        ('{"deadline": null}', None),
        ('{"deadline": -1}', None),
        ('{"deadline": 1e400}', None),
        ('{"deadline": 1-2}', None),
        ('{"deadline": 1, "deadline": 30}', 30.0),
    ],
)
def test_in_a_json_body(text, expected):
    assert find_deadline({"body": text.encode()}) == expected


def test_as_a_part():
    assert find_deadline({"deadline": b"3", "b": b'{"deadline": 9}'}) == 3.0
    assert find_deadline({"b": b"[]"}) is None


@pytest.mark.parametrize("order", [("deadline", "b"), ("b", "deadline")])
def test_at_either_end_of_a_large_file(tmp_path, order):
    members = {"deadline": 5, "b": [1.5] * 100_000}
    (tmp_path / "body").write_text(json.dumps({name: members[name] for name in order}))
    assert find_deadline({"body": tmp_path / "body"}) == 5.0


def test_out_of_sight_in_a_large_file(tmp_path):
    long = [1.5] * 100_000
    (tmp_path / "body").write_text(json.dumps({"b": long, "deadline": 5, "x0": long}))
    assert find_deadline({"body": tmp_path / "body"}) == math.inf
