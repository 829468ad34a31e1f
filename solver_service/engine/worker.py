"""The worker process: takes one task at a time from its socket, and answers.

This module runs in the children only. Once it is warm its replies start with one of the byte codes below and
the number of the call they are for, or `END`: then the task is over, and the reply is for all its calls that
have none yet. ``DONE`` answers none of them; ``CROWDED`` is ``OUT_OF_MEMORY`` from a worker that did not get
its memory back, and should be replaced. Any number of ``REPORT`` may come before a call's answer.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import pickle
import resource
import select
import socket
import struct
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import SolverServiceError
from . import channel
from .context import Share, TaskBoard, TaskContext

logger = logging.getLogger(__name__)

READY = b"+"
START_FAILED = b"-"
RESULT = b"R"
ERROR = b"E"
OUT_OF_MEMORY = b"M"
CROWDED = b"C"
INTERNAL = b"X"
REPORT = b"P"
DONE = b"D"

REQUEST = struct.Struct("!QQ")
"""Head of a request: number of its first call, how many there are. Then comes each of them."""

SHARE = struct.Struct("!ddQ")
"""Head of a call: time of submission, deadline (NaN: none), length. Then comes the pickled call."""

REPLY = struct.Struct("!cQ")
"""Head of a reply: byte code, number of the call."""

END = 0


def main(sock: socket.socket, slot: int, board: TaskBoard) -> None:
    """Serve until the parent goes away."""
    threading.Thread(target=_exit_with_parent, args=(sock,), name="parent-watch", daemon=True).start()
    _offer_to_the_oom_killer()
    crowded = _set_up(sock)
    if crowded is None:
        return
    replies = _Replies(sock)
    later: deque[Callable[[], None]] = deque()
    while True:
        _work_off(later, sock)
        try:
            request = channel.receive(sock)
            if request is None:
                return
            ending = _perform(request, slot, board, replies, later)
            del request
        except MemoryError:
            ending = (OUT_OF_MEMORY, b"")
        if replies.starved or ending[0] == OUT_OF_MEMORY:
            replies.starved = False
            gc.collect()
            if crowded():
                ending = (CROWDED, b"")
        replies.send(END, *ending)


def _work_off(later: deque[Callable[[], None]], sock: socket.socket) -> None:
    """Do what tasks have left for later: one piece in any case, more while no task waits."""
    while later:
        try:
            later.popleft()()
        except Exception:
            logger.exception("what a task has left for later has failed")
        if select.select([sock], [], [], 0)[0]:
            return


def _set_up(sock: socket.socket) -> Callable[[], bool] | None:
    try:
        message = channel.receive(sock)
        if message is None:
            return None
        initializer, memory_limit = pickle.loads(message)  # noqa: S301  # our parent wrote it
        if initializer is not None:
            initializer()
        crowded = _limit_memory(memory_limit)
    except BaseException:
        channel.send(sock, START_FAILED, traceback.format_exc().encode("utf-8", "replace"))
        return None
    channel.send(sock, READY)
    return crowded


class _Replies:
    """Sends replies, and notes whether memory ran out since it was asked last."""

    def __init__(self, sock: socket.socket) -> None:
        self.starved = False
        self._sock = sock

    def report(self, number: int, message: object) -> None:
        self.send(number, REPORT, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def answer(self, number: int, value: object) -> None:
        try:
            body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            self.fail(number, error)
        else:
            self.send(number, RESULT, body)

    def fail(self, number: int, error: BaseException) -> None:
        self.send(number, *_describe(error))

    def send(self, number: int, kind: bytes, body: bytes) -> None:
        self.starved = self.starved or kind == OUT_OF_MEMORY
        channel.send(self._sock, REPLY.pack(kind, number), body)


def _perform(
    request: bytearray, slot: int, board: TaskBoard, replies: _Replies, later: deque[Callable[[], None]]
) -> tuple[bytes, bytes]:
    try:
        number, _ = REQUEST.unpack_from(request)
        board.begin(slot, number)
        shared, task, shares = _read(request, slot, board, replies, later)
        request.clear()
        if shared:
            task(shares)
            return DONE, b""
        return RESULT, pickle.dumps(task(shares[0].context, shares[0].payload), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        # SystemExit and its like too: a task must not be able to end the worker by an exception.
        return _describe(error)


def _read(
    request: bytearray, slot: int, board: TaskBoard, replies: _Replies, later: deque[Callable[[], None]]
) -> tuple[bool, Callable[..., object], list[Share[object, object]]]:
    first, count = REQUEST.unpack_from(request)
    offset = REQUEST.size
    shares: list[Share[object, object]] = []
    with memoryview(request) as view:
        for number in range(first, first + count):
            submitted, deadline, length = SHARE.unpack_from(view, offset)
            begin, offset = offset + SHARE.size, offset + SHARE.size + length
            shared, task, payload = pickle.loads(view[begin:offset])  # noqa: S301  # our parent wrote it
            context = TaskContext(
                submitted,
                None if math.isnan(deadline) else deadline,
                board.watch(slot, number),
                partial(replies.report, number),
                later.append,
            )
            shares.append(
                Share(context, payload, partial(replies.answer, number), partial(replies.fail, number))
            )
    return shared, task, shares


def _describe(error: BaseException) -> tuple[bytes, bytes]:
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY, b""
    if isinstance(error, SolverServiceError):
        try:
            return ERROR, pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        except Exception as unsendable:
            return _describe(unsendable)
    return INTERNAL, "".join(traceback.format_exception(error)).encode("utf-8", "replace")


def _exit_with_parent(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, 0)  # a hang-up is always reported
    poll.poll()
    os._exit(0)


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, a worker should go, not the server."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _limit_memory(allowance: int | None) -> Callable[[], bool]:
    """Let tasks take `allowance` bytes more; return the test whether more than half of that is in use."""
    if allowance is None or sys.platform != "linux":
        return lambda: False
    # RLIMIT_DATA bounds what /proc calls VmData: private writable memory, mapped files excluded.
    at_rest = _data_size()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = at_rest + allowance if hard == resource.RLIM_INFINITY else min(at_rest + allowance, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return lambda: _data_size() > at_rest + allowance // 2


def _data_size() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
