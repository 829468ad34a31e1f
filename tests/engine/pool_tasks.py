"""What the workers run in the tests of the engine."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

from solver_service.engine import TaskContext
from solver_service.errors import FieldError, InvalidInputError, SolverServiceError

warmed_up: list[int] = []
hoard: list[bytearray] = []


def echo(context: TaskContext, payload: Any) -> Any:
    return payload


def pid(context: TaskContext, payload: None) -> int:
    return os.getpid()


def describe_context(context: TaskContext, payload: None) -> tuple[float, float, float | None, bool]:
    return time.monotonic(), context.submitted, context.deadline, context.cancelled()


def environment(context: TaskContext, names: list[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def warmed(context: TaskContext, payload: None) -> list[int]:
    return warmed_up


def announce(path: str) -> None:
    """Write the pid so that whoever waits for the file never reads half of it."""
    Path(f"{path}.new").write_text(str(os.getpid()))
    Path(f"{path}.new").rename(path)


def until_cancelled(context: TaskContext, path: str) -> str:
    announce(path)
    while not context.cancelled():
        pass
    return "best so far"


def until_deadline(context: TaskContext, payload: None) -> str:
    assert context.deadline is not None
    while time.monotonic() < context.deadline:
        pass
    return "time limit"


def until_released(context: TaskContext, path: str) -> str:
    """Run until the file that announces the start is removed."""
    announce(path)
    while Path(path).exists():
        time.sleep(0.001)
    return path


def stuck(context: TaskContext, path: str) -> NoReturn:
    announce(path)
    while True:
        time.sleep(1)


def hold_the_interpreter(context: TaskContext, path: str) -> None:
    """Be native code that lets no other thread of the process run."""
    announce(path)
    ctypes.PyDLL(None).sleep(1000)


def cancelled_at_once(context: TaskContext, payload: None) -> bool:
    return context.cancelled()


def die(context: TaskContext, payload: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(context: TaskContext, payload: None) -> None:
    os._exit(0)


def crash(context: TaskContext, payload: None) -> None:
    ctypes.string_at(0)


def close_all_files(context: TaskContext, payload: None) -> None:
    os.closerange(3, 256)


def allocate(context: TaskContext, size: int) -> int:
    return len(bytearray(size))


def make(context: TaskContext, size: int) -> bytes:
    return bytes(size)


def allocate_and_keep(context: TaskContext, size: int) -> None:
    while True:
        hoard.append(bytearray(size))


def raise_bad_input(context: TaskContext, payload: None) -> None:
    raise InvalidInputError("b is wrong", errors=[FieldError("b[3]", "is NaN")], retry_after=7)


def raise_value_error(context: TaskContext, payload: None) -> None:
    raise ValueError("a secret path")


def raise_base(context: TaskContext, kind: type[BaseException]) -> None:
    raise kind


def recurse(context: TaskContext, payload: None) -> None:
    recurse(context, payload)


class RejectsReading:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


class UnreadableError(SolverServiceError):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def return_lambda(context: TaskContext, payload: None) -> Any:
    return lambda: None


def return_unreadable(context: TaskContext, payload: None) -> RejectsReading:
    return RejectsReading()


def return_nest(context: TaskContext, payload: None) -> Any:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    return nest


def raise_unpicklable(context: TaskContext, payload: None) -> None:
    raise InvalidInputError("b is wrong", errors=[lambda: None])  # type: ignore[list-item]


def raise_unreadable(context: TaskContext, payload: None) -> None:
    raise UnreadableError("b is wrong")


def warm_up() -> None:
    warmed_up.append(os.getpid())


def refuse_to_start() -> None:
    """Initializer that fails, and leaves a mark, until the file named by a variable says otherwise."""
    folder = Path(os.environ["TEST_START_FOLDER"])
    with (folder / "attempts").open("a") as attempts:
        attempts.write(f"{time.monotonic()}\n")
    if not (folder / "go").exists():
        raise RuntimeError("no device")


def refuse_always() -> None:
    raise RuntimeError("never")


def start_never() -> NoReturn:
    while True:
        time.sleep(1)


def report_each(context: TaskContext, messages: list[Any]) -> str:
    for message in messages:
        context.report(message)
    return "done"


class Unreadable:
    """Can be pickled, and read in a worker, but not in the process with that pid."""

    def __init__(self, pid: int | None = None) -> None:
        self.pid = os.getpid() if pid is None else pid
        if pid is not None and os.getpid() == pid:
            raise ValueError("not here")

    def __reduce__(self) -> tuple[Any, ...]:
        return Unreadable, (self.pid,)


def report_unpicklable(context: TaskContext, payload: None) -> None:
    context.report(lambda: None)


def report_until_cancelled(context: TaskContext, payload: None) -> int:
    count = 0
    while not context.cancelled():
        context.report(count)
        count += 1
    return count


def report_and_die(context: TaskContext, messages: list[Any]) -> None:
    report_each(context, messages)
    os.kill(os.getpid(), signal.SIGKILL)


def report_when_cancelled(context: TaskContext, path: str) -> None:
    until_cancelled(context, path)
    context.report("too late")


def leave_for_later(context: TaskContext, path: str) -> str:
    """Leave three pieces of work: wait until the answer has come and note it, fail, and note again."""
    answered, noted = Path(path) / "answered", Path(path) / "noted"

    def wait() -> None:
        while not answered.exists():
            pass
        noted.write_text("after the answer")

    def fail() -> None:
        raise MemoryError

    context.afterwards(wait)
    context.afterwards(fail)
    context.afterwards(lambda: announce(str(Path(path) / "second")))
    return "answer"
