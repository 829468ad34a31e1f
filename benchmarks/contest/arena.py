"""One contestant on one system, in a process forked from this one, which is warm and has one thread.

What the process may break it breaks alone: its crash, its memory, its limit. The clock is the process's own
and runs from A and b as SciPy has them to x; the judge looks afterwards, at ‖b − A x‖ and nothing else.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import resource
import statistics
import time
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from solver_service import kernels
from solver_service.problems import gallery

from .contestants import Contestant, NotApplicableError, solve_quietly
from .systems import System
from .without_direct import NoSuchHookError

GRACE = 1.0
"""Seconds after the limit at which the process is killed."""
SHORT, SHORT_RUNS, RUNS = 0.02, 7, 3
"""Medians are of three runs, of those below 20 ms of seven."""
UNDISTURBED = 0.9
"""A run that had the processor for a smaller part of its time was disturbed by others: one more is made."""
MOST_BYTES = 4 << 30
_PATIENCE = 120.0
_WARM_UP = "poisson2d"

SOLVED, FAILED, LIMIT, CRASHED, ABSENT = "solved", "failed", "limit", "crashed", "not applicable"


@dataclass(frozen=True)
class Outcome:
    """How a contestant did on a system.

    Parameters
    ----------
    system, contestant : str
    rtol : float
    outcome : str
        ``solved``; ``failed``: it ended without reaching the tolerance; ``limit``: it did not end in time;
        ``crashed``; ``not applicable``.
    seconds : float or None
        See `typical`; None unless solved.
    runs : list of float
        Seconds of each run.
    processor : list of float
        Seconds of processor time of each run: less than `runs` where the machine was busy otherwise.
    relative_residual : float or None
        The judge's, the worst of the runs.
    note : str
        Why it is not solved.
    says : dict
        What the contestant reported.
    """

    system: str
    contestant: str
    rtol: float
    outcome: str
    seconds: float | None = None
    runs: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    relative_residual: float | None = None
    note: str = ""
    says: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """What the JSON file holds."""
        return asdict(self)


def warm_up() -> None:
    """Compile or load every kernel, once for all processes forked from this one."""
    kernels.warm_up()
    gc.collect()
    gc.freeze()  # the collector must not touch, and so copy, what is shared


def compete(system: System, contestant: Contestant, rtol: float, limit: float) -> Outcome:
    """Run one pair in a process of its own."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=_run, args=(there, system, contestant, rtol, limit), daemon=True)
    process.start()
    there.close()
    runs: list[float] = []
    processor: list[float] = []
    residual: float | None = None
    says: dict[str, Any] = {}
    outcome, note = SOLVED, ""
    patience = _PATIENCE
    try:
        while outcome == SOLVED:
            if not here.poll(patience):
                outcome, note = LIMIT, "killed"
                break
            kind, content = here.recv()
            patience = limit + GRACE if kind == "start" else _PATIENCE
            if kind == "ran":
                seconds, busy = content
                runs.append(seconds)
                processor.append(busy)
                if seconds > limit:
                    outcome, note = LIMIT, f"took {seconds:.2f} s"
            elif kind == "judged":
                size, says = content
                residual = size if residual is None else max(residual, size)
                if not size <= rtol:
                    outcome, note = FAILED, f"relative residual {size:.2e}"
            elif kind == "stopped":
                outcome, note = content
            elif kind == "end":
                break
    except EOFError:
        process.join()
        outcome, note = CRASHED, f"exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
        here.close()
    return Outcome(
        system.name,
        contestant.name,
        rtol,
        outcome,
        typical(runs, processor) if outcome == SOLVED else None,
        runs,
        processor,
        residual,
        note,
        says,
    )


def typical(runs: list[float], processor: list[float]) -> float:
    """The median over the runs, of the processor time of those that were disturbed.

    One thread that waits for nothing takes its processor time, on a machine that is its own.
    """
    return statistics.median(
        seconds if busy >= UNDISTURBED * seconds else busy
        for seconds, busy in zip(runs, processor, strict=True)
    )


def _run(connection: Connection, system: System, contestant: Contestant, rtol: float, limit: float) -> None:
    """Be the process: warm up, then solve and have it judged until the median stands."""
    _limit_memory()
    try:
        contestant.prepare()
        _solve_small(contestant)
        wanted = RUNS
        done = undisturbed = 0
        while undisturbed < wanted and done < 2 * wanted:
            connection.send(("start", None))
            started, busy = time.perf_counter(), time.process_time()
            attempt = solve_quietly(contestant, system, rtol, limit)
            seconds = time.perf_counter() - started
            busy = time.process_time() - busy
            connection.send(("ran", (seconds, busy)))
            connection.send(("judged", (system.relative_residual(attempt.x), dict(attempt.says))))
            if done == 0 and seconds < SHORT:
                wanted = SHORT_RUNS
            done += 1
            undisturbed += busy >= UNDISTURBED * seconds
        connection.send(("end", None))
    except (NotApplicableError, NoSuchHookError) as error:
        connection.send(("stopped", (ABSENT, str(error))))
    except Exception as error:
        connection.send(("stopped", (FAILED, f"{type(error).__name__}: {error}"[:200])))


def _solve_small(contestant: Contestant) -> None:
    problem = gallery.PROBLEMS[_WARM_UP]()
    with contextlib.suppress(Exception):  # whatever is wrong shows again on the clock
        solve_quietly(contestant, System(_WARM_UP, problem.A, problem.b), 1e-6, 1.0)


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, hard))
