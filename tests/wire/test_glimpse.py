import json
import math

import pytest

from solver_service.wire.glimpse import glimpse

ID = "mat_" + "0123456789abcdef" * 2


def deadline_in(parts):
    return glimpse(parts).deadline


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
    assert deadline_in({"body": text.encode()}) == expected


def test_as_a_part():
    assert deadline_in({"deadline": b"3", "b": b'{"deadline": 9}'}) == 3.0
    assert deadline_in({"b": b"[]"}) is None


@pytest.mark.parametrize("order", [("deadline", "b"), ("b", "deadline")])
def test_at_either_end_of_a_large_file(tmp_path, order):
    members = {"deadline": 5, "b": [1.5] * 100_000}
    (tmp_path / "body").write_text(json.dumps({name: members[name] for name in order}))
    assert deadline_in({"body": tmp_path / "body"}) == 5.0


def test_out_of_sight_in_a_large_file(tmp_path):
    long = [1.5] * 100_000
    (tmp_path / "body").write_text(json.dumps({"b": long, "deadline": 5, "x0": long}))
    assert deadline_in({"body": tmp_path / "body"}) == math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"matrix": {"id": "%s"}, "b": []}', ID),
        ('{"b":[],"matrix":{"id":"%s"},"options":{"threads":1}}', ID),
        ('{"matrix": {"id": "%s"}, "options": {"threads": 2}}', None),
        ('{"matrix": {"id": "%s"}, "options": {"threads" : null}}', None),
        ('{"matrix": {"id": "%sf"}}', None),
        ('{"matrix": {"id": 7}, "x": "%s"}', None),
        ('{"matrix": {"format": "coo"}, "x": "%s"}', None),
    ],
)
def test_with_whom_it_may_be_solved(text, expected):
    assert glimpse({"body": (text % ID).encode()}).shareable == expected


def test_parts_tell_it_too():
    parts = {"matrix_id": f" {ID}\n".encode(), "priority": b"7", "b": b'{"priority": 3, "threads": 4}'}
    assert (glimpse(parts).shareable, glimpse(parts).priority) == (ID, 7)
    assert glimpse({**parts, "options": b'{"threads": 4}'}).shareable is None
    assert glimpse({"matrix": ID.encode(), "options": b'{"id": 3}'}).shareable is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"priority": -3}', -3),
        ('{"priority": 1, "priority":10}', 10),
        ('{"priority": 11}', 0),
        ('{"priority": 1.5}', 0),
        ('{"priority": null}', 0),
        ("{}", 0),
    ],
)
def test_its_priority(text, expected):
    assert glimpse({"body": text.encode()}).priority == expected
