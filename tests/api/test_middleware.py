import asyncio

import pytest
from starlette.responses import PlainTextResponse

from solver_service.api.body import StopSignal
from solver_service.api.middleware import UnreadBody


def call(app, messages, headers):
    """Run the middleware; return what was sent and how many messages were received."""
    sent, remaining = [], list(messages)

    async def receive():
        if not remaining:
            await asyncio.Event().wait()
        return remaining.pop(0)

    async def send(message):
        sent.append((message, len(messages) - len(remaining)))

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(UnreadBody(app, StopSignal())(scope, receive, send))
    return sent, len(messages) - len(remaining)


async def early(scope, receive, send):
    await PlainTextResponse("no", 413)(scope, receive, send)


async def reading(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("yes")(scope, receive, send)


BODY = [
    {"type": "http.request", "body": b"x" * 1000, "more_body": True},
    {"type": "http.request", "body": b"x" * 1000, "more_body": False},
]


@pytest.mark.parametrize("header", [(b"content-length", b"2000"), (b"transfer-encoding", b"chunked")])
def test_an_early_answer_is_whole_before_the_rest_is_dropped(header):
    sent, received = call(early, BODY, [header])
    (start, _), (body, _), (end, before_end) = sent
    assert (b"connection", b"close") in start["headers"]
    assert (body["body"], body["more_body"]) == (b"no", True)
    assert (end["body"], end["more_body"]) == (b"", False)
    assert (received, before_end) == (2, 2)


def test_a_body_that_was_read_changes_nothing():
    sent, _ = call(reading, BODY, [(b"content-length", b"2000")])
    assert (b"connection", b"close") not in sent[0][0]["headers"]
    assert len(sent) == 2


def test_no_body_changes_nothing():
    sent, received = call(early, [], [(b"content-length", b"0")])
    assert (len(sent), received) == (2, 0)


def test_the_rest_is_not_read_for_ever():
    endless = [{"type": "http.request", "body": bytes(2**20), "more_body": True}] * 100
    _, received = call(early, endless, [(b"transfer-encoding", b"chunked")])
    assert received == 16


def test_a_silent_client_is_not_waited_for_long():
    sent, received = call(early, [], [(b"content-length", b"2000")])
    assert (len(sent), received) == (3, 0)
