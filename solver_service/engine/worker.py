"""The worker process: takes one task at a time from its socket, and answers.

This module runs in the children only. Its replies start with one of the byte codes below; ``CROWDED`` is
``OUT_OF_MEMORY`` from a worker that did not get its memory back, and should be replaced. Any number of
``REPORT`` may come before an answer.
"""

from __future__ import annotations

import contextlib
import gc
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
from collections.abc import Callable
from pathlib import Path

from ..errors import SolverServiceError
from . import channel
from .context import TaskBoard, TaskContext

READY = b"+"
START_FAILED = b"-"
RESULT = b"R"
ERROR = b"E"
OUT_OF_MEMORY = b"M"
CROWDED = b"C"
INTERNAL = b"X"
REPORT = b"P"

REQUEST = struct.Struct("!Qdd")
"""Head of a request: task number, time of submission, deadline (NaN: none). Then comes the pickled call."""


def main(sock: socket.socket, slot: int, board: TaskBoard) -> None:
    """Serve until the parent goes away."""
    threading.Thread(target=_exit_with_parent, args=(sock,), name="parent-watch", daemon=True).start()
    _offer_to_the_oom_killer()
    crowded = _set_up(sock)
    if crowded is None:
        return
    while True:
        try:
            request = channel.receive(sock)
            if request is None:
                return
            answer = _perform(request, slot, board, sock)
            del request
        except MemoryError:
            answer = (OUT_OF_MEMORY, b"")
        if answer[0] == OUT_OF_MEMORY:
            gc.collect()
            if crowded():
                answer = (CROWDED, b"")
        channel.send(sock, *answer)


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


def _perform(request: bytearray, slot: int, board: TaskBoard, sock: socket.socket) -> tuple[bytes, bytes]:
    try:
        number, submitted, deadline = REQUEST.unpack_from(request)
        board.begin(slot, number)
        with memoryview(request) as view:
            task, payload = pickle.loads(view[REQUEST.size :])  # noqa: S301  # our parent wrote it
        context = TaskContext(
            submitted,
            None if math.isnan(deadline) else deadline,
            board.watch(slot, number),
            lambda message: channel.send(sock, REPORT, pickle.dumps(message, pickle.HIGHEST_PROTOCOL)),
        )
        return RESULT, pickle.dumps(task(context, payload), pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return OUT_OF_MEMORY, b""
    except SolverServiceError as error:
        return _describe(error)
    except BaseException:
        # SystemExit and its like too: a task must not be able to end the worker by an exception.
        return INTERNAL, traceback.format_exc().encode("utf-8", "replace")


def _describe(error: SolverServiceError) -> tuple[bytes, bytes]:
    try:
        return ERROR, pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return OUT_OF_MEMORY, b""
    except Exception:
        return INTERNAL, traceback.format_exc().encode("utf-8", "replace")


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
