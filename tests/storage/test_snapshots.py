"""Snapshots as files: everything comes back as it was, and whatever is damaged is noticed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from solver_service.storage import map_snapshot, read_snapshot, write_snapshot

SNAPSHOT = {
    "nothing": None,
    "flags": [True, False],
    "counts": [0, -1, 2**127 + 3],
    "floats": [0.1, 1 / 3, 5e-324, -0.0, math.inf, -math.inf, np.nextafter(1.0, 2.0).item()],
    "text": 'κ̄/B + √κ " \\ \n',
    "deep": {"er": [{"array": np.arange(7, dtype=np.uint32)}, [], {}]},
    "matrix": np.arange(12.0).reshape(3, 4)[:, ::2],
    "special": np.array([np.nan, np.inf, -0.0, 5e-324]),
    "empty": np.zeros(0),
    "flat": np.zeros((0, 3), dtype=np.int64),
    "single": np.array(3.5),
    "bits": np.array([True, False]),
}


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@pytest.fixture
def path(tmp_path):
    write_snapshot(tmp_path / "snapshot", SNAPSHOT)
    return tmp_path / "snapshot"


def test_it_comes_back_as_it_was(path):
    assert same(SNAPSHOT, read_snapshot(path))
    assert math.isnan(read_snapshot(path)["special"][0])


@pytest.mark.parametrize("snapshot", [{}, {"x": np.zeros(0)}, {"nan": math.nan}, {"a": {"b": {"c": []}}}])
def test_small_ones(tmp_path, snapshot):
    write_snapshot(tmp_path / "s", snapshot)
    assert same(snapshot, read_snapshot(tmp_path / "s"))


def test_an_existing_file_is_left_alone(path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_snapshot(path, {})
    assert path.read_bytes() == before


def test_an_array_that_occurs_twice_is_written_once(tmp_path):
    x = np.arange(10_000.0)
    write_snapshot(tmp_path / "s", {"one": x, "two": [x]})
    assert (tmp_path / "s").stat().st_size < 1.1 * x.nbytes
    back = read_snapshot(tmp_path / "s")
    assert back["two"][0] is back["one"]


@pytest.mark.parametrize("bad", [{"x": np.array([object()])}, {"": 1}, {"x": {1, 2}}, {"x": np.int64(1)}])
def test_what_is_no_plain_data_is_refused(tmp_path, bad):
    with pytest.raises((TypeError, ValueError)):
        write_snapshot(tmp_path / "s", bad)
    assert not (tmp_path / "s").exists()


def test_cut_short_anywhere(path, tmp_path):
    content = path.read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut is no snapshot, or damaged"):
            read_snapshot(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="length"):
        read_snapshot(tmp_path / "cut")


@pytest.mark.parametrize("read", [read_snapshot, map_snapshot])
@pytest.mark.parametrize("size", [4095, 4096, 4097, 100_000])
def test_any_bit_of_a_long_array_is_checked(tmp_path, read, size):
    x = np.random.default_rng(0).integers(256, size=size, dtype=np.uint8)
    write_snapshot(tmp_path / "long", {"x": x})
    assert same(read(tmp_path / "long")["x"], x)
    content = bytearray((tmp_path / "long").read_bytes())
    for place in np.linspace(len(content) - size, len(content) - 1, 50).astype(int):
        content[place] ^= 1 << place % 8
        (tmp_path / "hurt").write_bytes(content)
        content[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match="damaged"):
            read(tmp_path / "hurt")


def test_any_byte_that_matters_is_checked(path, tmp_path):
    content = bytearray(path.read_bytes())
    whole = read_snapshot(path)
    for place in range(len(content)):
        content[place] ^= 0x10
        (tmp_path / "hurt").write_bytes(content)
        content[place] ^= 0x10
        try:
            back = read_snapshot(tmp_path / "hurt")
        except ValueError:
            continue
        assert same(back, whole), place  # between two arrays


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"x" * 100, json.dumps({}).encode()])
def test_other_files(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match="no snapshot"):
        read_snapshot(tmp_path / "other")
