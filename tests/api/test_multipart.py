import pytest

from solver_service.api.buffer import Buffer
from solver_service.api.multipart import MultipartSink
from solver_service.api.spool import Spool
from solver_service.errors import MalformedMultipartError

NAMES = frozenset({"matrix", "b"})


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    spool.open()
    yield spool
    spool.close()


def sink(spool, boundary="sep", memory=100):
    return MultipartSink(boundary, NAMES, lambda: Buffer(spool, memory))


def body(**parts):
    pieces = [
        f'--sep\r\nContent-Disposition: form-data; name="{name}"; filename="../{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in parts.items()
    ]
    return b"".join(pieces) + b"--sep--\r\n"


def read(target, data):
    target.write(data)
    return target.finish()


def content_of(parts):
    return {name: part if isinstance(part, bytes) else part.read_bytes() for name, part in parts.items()}


PARTS = {"matrix": b"\r\n--se\r\n--sex" * 50 + bytes(range(256)), "b": b"[1, 2]"}


@pytest.mark.parametrize("step", [1, 2, 7, 64, 10_000])
def test_parts_come_out_as_they_went_in_however_they_are_cut(spool, step):
    target, data = sink(spool), body(**PARTS)
    for start in range(0, len(data), step):
        target.write(data[start : start + step])
    parts = target.finish()
    assert content_of(parts) == PARTS
    assert isinstance(parts["b"], bytes)
    assert not isinstance(parts["matrix"], bytes)
    assert target.on_disk
    target.discard()
    assert not parts["matrix"].exists()


def test_what_follows_the_end_is_ignored(spool):
    target = sink(spool)
    target.write(body(b=b"1") + b"epilogue")
    assert target.finish() == {"b": b"1"}


def test_a_refused_body_leaves_no_file(spool, tmp_path):
    target = sink(spool)
    with pytest.raises(MalformedMultipartError, match="twice"):
        target.write(body(matrix=b"x" * 1000).removesuffix(b"--sep--\r\n") + body(matrix=b"y"))
    target.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("end", [1, 40, -12, -8, -6])
def test_a_cut_body_is_refused(spool, end):
    target = sink(spool)
    with pytest.raises(MalformedMultipartError):
        read(target, body(b=b"1234")[:end])


@pytest.mark.parametrize("boundary", ["", "x" * 300])
def test_a_boundary_is_needed(spool, boundary):
    with pytest.raises(MalformedMultipartError, match="boundary"):
        sink(spool, boundary)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'name="b"', b'name="c"'),
        (b'name="b"', b'name=""'),
        (b'name="b"', b""),
        (b"form-data", b"attachment"),
        (b"Content-Disposition", b"X"),
        (b"Content-Disposition", b"Content-Transfer-Encoding: base64\r\nContent-Disposition"),
        (b"Content-Disposition", b"X: y\r\n" * 10 + b"Content-Disposition"),
        (b"Content-Disposition", b"X: " + b"y" * 2000 + b"\r\nContent-Disposition"),
        (b"--sep\r\n", b"--set\r\n"),
        (b"Content-Disposition:", b"Content Disposition:"),
    ],
)
def test_wrong_heads_of_parts(spool, old, new):
    data = body(b=b"1234")
    assert old in data
    target = sink(spool)
    with pytest.raises(MalformedMultipartError):
        read(target, data.replace(old, new))
