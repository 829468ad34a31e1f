import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from solver_service.api.body import StopSignal, WholeBody, read_body
from solver_service.api.buffer import Buffer
from solver_service.api.spool import Spool
from solver_service.errors import PayloadTooLargeError, RequestTimeoutError, ShuttingDownError


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    spool.open()
    yield spool
    spool.close()


def request(receive, headers=()):
    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    return Request(scope, receive)


def receiving(*messages):
    remaining = list(messages)

    async def receive():
        return remaining.pop(0)

    return receive


def piece(data, more=True):
    return {"type": "http.request", "body": data, "more_body": more}


def read(spool, receive, *, limit=10_000_000, pause=5.0, headers=(), signal=None):
    sink = WholeBody(Buffer(spool))

    async def main():
        stop = signal or StopSignal()
        await read_body(request(receive, headers), sink, limit=limit, pause=pause, signal=stop)
        return sink.finish()["body"]

    return asyncio.run(main())


def test_a_small_body_stays_in_memory(spool):
    assert read(spool, receiving(piece(b"ab"), piece(b""), piece(b"c", more=False))) == b"abc"


def test_no_body(spool):
    assert read(spool, receiving({"type": "http.request"})) == b""


def test_a_large_body_becomes_a_file(spool):
    pieces = [bytes([k]) * 70_000 for k in range(40)]
    path = read(spool, receiving(*map(piece, pieces), piece(b"end", more=False)))
    assert path.read_bytes() == b"".join(pieces) + b"end"


def test_a_declared_length_over_the_limit_is_refused_unread(spool):
    with pytest.raises(PayloadTooLargeError):
        read(spool, receiving(), limit=10, headers=[(b"content-length", b"11")])


def test_more_than_the_limit_is_refused_whatever_was_declared(spool):
    messages = [piece(b"x" * 6), piece(b"x" * 6)]
    with pytest.raises(PayloadTooLargeError):
        read(spool, receiving(*messages), limit=10, headers=[(b"content-length", b"5")])


@pytest.mark.parametrize("length", [b"", b"many", b"-5", "²".encode("latin-1")])
def test_nonsense_lengths_count_for_nothing(spool, length):
    body = read(spool, receiving(piece(b"x", more=False)), headers=[(b"content-length", length)])
    assert body == b"x"


def test_exactly_the_limit_is_taken(spool):
    assert read(spool, receiving(piece(b"x" * 10, more=False)), limit=10) == b"x" * 10


def test_a_client_may_leave(spool):
    with pytest.raises(ClientDisconnect):
        read(spool, receiving(piece(b"x"), {"type": "http.disconnect"}))


def test_silence_times_out(spool):
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(RequestTimeoutError):
        read(spool, receive, pause=0.01)


def test_a_trickle_times_out_though_no_pause_is_long(spool):
    sent = 0

    async def receive():
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01)
        return piece(b"x", more=sent < 200)

    with pytest.raises(RequestTimeoutError):
        read(spool, receive, pause=0.5)


def test_stopping_ends_the_wait(spool):
    signal = StopSignal()

    async def receive():
        asyncio.get_running_loop().call_soon(signal.stop)
        await asyncio.Event().wait()

    with pytest.raises(ShuttingDownError):
        read(spool, receive, signal=signal)
    with pytest.raises(ShuttingDownError):
        read(spool, receiving(piece(b"x", more=False)), signal=signal)


def test_many_may_wait_and_stopping_twice_is_harmless(spool):
    signal = StopSignal()

    async def one():
        async with signal.patience(5):
            await asyncio.Event().wait()

    async def main():
        waiting = [asyncio.create_task(one()) for _ in range(5)]
        await asyncio.sleep(0)
        signal.stop()
        signal.stop()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(error) for error in asyncio.run(main())} == {ShuttingDownError}
