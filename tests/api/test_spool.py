import asyncio
import errno
import os
import threading

import pytest

from solver_service.api.buffer import Buffer
from solver_service.api.spool import Spool, in_thread
from solver_service.errors import OutOfMemoryError, QueueFullError


def test_left_overs_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    dead = tmp_path / "0123456789abcdef"
    dead.mkdir()
    (dead / "body").write_bytes(b"x")
    living, other = Spool(tmp_path), Spool(tmp_path)
    living.open()
    living.new_path().write_bytes(b"x")
    other.open()
    assert not dead.exists()
    assert len(list(tmp_path.rglob("*"))) == 3
    living.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_paths_differ(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(RuntimeError, match="not open"):
        spool.new_path()
    spool.open()
    assert len({spool.new_path() for _ in range(100)}) == 100
    spool.close()


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    spool.open()
    yield spool
    spool.close()


def test_few_bytes_stay_in_memory(spool, tmp_path):
    buffer = Buffer(spool, memory=10)
    buffer.write(b"01234")
    buffer.write(b"56789")
    assert not buffer.on_disk
    assert buffer.finish() == b"0123456789"


def test_many_bytes_become_a_file(spool):
    buffer = Buffer(spool, memory=10)
    for piece in (b"01234", b"56789", b"abc", b"d" * 100_000):
        buffer.write(piece)
    path = buffer.finish()
    assert path.read_bytes() == b"0123456789abc" + b"d" * 100_000
    buffer.discard()
    assert not path.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_said_to_be_one(spool, tmp_path, monkeypatch):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(Buffer, "_open", staticmethod(lambda _: full.open("wb")))
    buffer = Buffer(spool, memory=10)
    with pytest.raises(OutOfMemoryError, match="no space"):
        buffer.write(b"x" * 1_000_000)
    buffer.discard()


def test_cancelling_waits_for_the_thread():
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def work():
        entered.set()
        leave.wait(10)
        left.set()

    async def main():
        call = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(entered.wait, 10)
        call.cancel()
        call.cancel()
        asyncio.get_running_loop().call_later(0.01, leave.set)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert left.is_set()

    asyncio.run(main())


def test_too_many_open_files_are_a_matter_of_time(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool")
    spool.open()

    def refuse(path):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Buffer, "_open", staticmethod(refuse))
    with pytest.raises(QueueFullError) as caught:
        Buffer(spool, memory=4).write(b"12345")
    assert caught.value.retry_after
    spool.close()
