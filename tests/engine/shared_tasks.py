"""What calls share in the tests of the engine, and how it is looked at."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pool_tasks import RejectsReading, allocate_and_keep, announce

from solver_service.engine import Call, Share
from solver_service.errors import SolverServiceError


@dataclass(frozen=True)
class Part:
    """What a call wants: its name, what is to be done for it (never an answer if that is unheard of), a file
    that is written at the start."""

    name: str
    do: str = "answer"
    path: str | None = None
    extra: Any = None


@dataclass(frozen=True)
class Answer:
    name: str
    names: list[str]
    begun: float


async def outcomes(calls: Sequence[Call[Any]]) -> list[Any]:
    """Wait for all; return their answers and errors."""
    return await asyncio.gather(*(call.answer() for call in calls), return_exceptions=True)


async def names(call: Call[Answer]) -> list[str]:
    """Wait for the answer; return the names of all that shared the task."""
    return (await call.answer()).names


def work(shares: Sequence[Share[Part, Any]]) -> None:
    """Do what each call wants, in order and then in turns, until all are settled."""
    begun = time.monotonic()
    names = [share.payload.name for share in shares]
    for share in shares:
        if share.payload.path is not None:
            announce(share.payload.path)
    waiting = list(shares)
    while waiting:
        waiting = [share for share in waiting if not _settled(share, Answer("", names, begun))]


def work_too(shares: Sequence[Share[Part, Any]]) -> None:
    work(shares)


def linger(shares: Sequence[Share[Part, Any]]) -> None:
    """Answer, and return when the file is removed."""
    work(shares)
    while Path(shares[0].payload.path).exists():
        time.sleep(0.001)


def raise_after_the_answers(shares: Sequence[Share[Part, Any]]) -> None:
    work(shares)
    raise ValueError("a secret path")


def answer_twice(shares: Sequence[Share[Part, Any]]) -> None:
    shares[0].answer(1)
    shares[0].answer(2)


def report_after_the_answer(shares: Sequence[Share[Part, Any]]) -> None:
    for share in shares:
        share.answer(share.payload.name)
        share.context.report("too late")


def _settled(share: Share[Part, Any], about: Answer) -> bool:
    part, context = share.payload, share.context
    answer = replace(about, name=part.name)
    match part.do:
        case "answer":
            share.answer(answer)
        case "gate" if not Path(part.path).exists():
            share.answer(answer)
        case "listen" if context.cancelled():
            share.answer("best so far")
        case "deadline" if time.monotonic() >= context.deadline:
            share.answer(context.deadline)
        case "alone" if len(about.names) == 1:
            share.answer(answer)
        case "report":
            if not context.cancelled():
                context.report(part.name)
                return False
            share.answer("reported")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(0)
        case "raise":
            raise part.extra
        case "exhaust":
            bytearray(part.extra)
        case "keep":
            allocate_and_keep(context, part.extra)
        case "fail":
            share.fail(part.extra)
        case "bulk" if len(about.names) == 1 or part.path is None or not Path(part.path).exists():
            share.answer(bytes(part.extra))
        case "closure":
            share.answer(lambda: None)
        case "unreadable":
            share.answer(RejectsReading())
        case "unsendable":
            share.fail(SolverServiceError(lambda: None))
        case "forget":
            return True
    return share.settled
