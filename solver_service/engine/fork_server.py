"""The process that workers are forked from: single-threaded, with all heavy imports done.

It is a process of its own, rather than the fork server of `multiprocessing`, because that one is
shared by all of a program, imports the program's main script again, hides failed imports, and cannot
be given an environment. It ends, and kills all workers, as soon as the parent is gone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import pickle
import select
import selectors
import signal
import socket
import struct
import threading
import traceback
from collections.abc import Sequence
from typing import Literal, TypeAlias

from . import channel, worker
from .context import TaskBoard

REQUEST = struct.Struct("!QQ")
"""A request to fork: the token that names the new worker in reports, its slot; plus its socket."""

Report: TypeAlias = tuple[Literal["preloaded", "broken", "forked", "refused", "exited"], int, int, str]
"""What happened, token, number (pid or exit code), text."""


def main(
    control_fd: int, reports_fd: int, board_fd: int, slots: int, most_together: int, preload: Sequence[str]
) -> None:
    """Preload, then fork on request until the parent goes away."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # there may be no stderr
        os.dup2(2, 1)  # results and logs own the standard output; what libraries print must not mix in
        faulthandler.enable()
    for descriptor in (control_fd, reports_fd):
        os.set_inheritable(descriptor, False)
    control, reports = socket.socket(fileno=control_fd), socket.socket(fileno=reports_fd)
    board = TaskBoard(board_fd, slots, most_together)
    os.close(board_fd)
    try:
        if _import_all(preload, control, reports):
            _Server(control, reports, board).serve()
    except ConnectionError:
        pass  # the parent is gone


def _import_all(modules: Sequence[str], control: socket.socket, reports: socket.socket) -> bool:
    done = threading.Event()
    watch = threading.Thread(target=_exit_with_parent, args=(control, done), name="parent-watch")
    watch.start()
    try:
        for name in modules:
            importlib.import_module(name)
    except BaseException:
        _report(reports, ("broken", 0, 0, traceback.format_exc()))
        return False
    finally:
        done.set()
        watch.join()  # fork() wants a single thread
    gc.collect()
    gc.freeze()  # workers share these pages as long as the collector leaves them alone
    _report(reports, ("preloaded", 0, 0, ""))
    return True


def _exit_with_parent(control: socket.socket, done: threading.Event) -> None:
    poll = select.poll()
    poll.register(control, 0)  # a hang-up is always reported
    while not done.is_set():
        if poll.poll(50):
            os._exit(0)


def _report(reports: socket.socket, report: Report) -> None:
    channel.send(reports, pickle.dumps(report))


class _Server:
    def __init__(self, control: socket.socket, reports: socket.socket, board: TaskBoard) -> None:
        self._control = control
        self._reports = reports
        self._board = board
        self._children: dict[int, int] = {}  # pid -> token
        self._wake, self._wake_writer = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                ready = {key.fileobj for key, _ in self._selector.select()}
                if self._wake in ready:
                    self._reap()
                if self._control in ready:
                    request, fds, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
                    if not request:
                        return
                    token, slot = REQUEST.unpack(request)
                    self._fork(token, slot, socket.socket(fileno=fds[0]))
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)
            for pid in self._children:
                os.waitpid(pid, 0)

    def _fork(self, token: int, slot: int, sock: socket.socket) -> None:
        with sock:
            os.set_inheritable(sock.fileno(), False)
            try:
                pid = os.fork()
            except OSError as error:
                _report(self._reports, ("refused", token, error.errno or 0, str(error)))
                return
            if pid == 0:
                self._become_worker(sock, slot)
        self._children[pid] = token
        _report(self._reports, ("forked", token, pid, ""))

    def _become_worker(self, sock: socket.socket, slot: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for inherited in (self._control, self._reports, self._wake, self._wake_writer):
                inherited.close()
            worker.main(sock, slot, self._board)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # never return into the server's loop

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            token = self._children.pop(pid, None)
            if token is not None:
                _report(self._reports, ("exited", token, os.waitstatus_to_exitcode(status), ""))
