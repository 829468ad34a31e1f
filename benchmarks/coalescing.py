"""What it brings to solve waiting requests together: 64 clients at once, one stored matrix, with and without.

Two servers take turns, one with SOLVER_SERVICE_COALESCE=on and one with it off, each with a worker for each
core. Every client sends its own right-hand sides, base64 in JSON, each as soon as the one before is answered.
Three unlucky ones are among them all the time: one that hangs up after a moment, one with a deadline that is
hardly to be met, and one whose systems have no solution. Off the clock every x and every proof is checked.
Target: with it at least 2 × the requests per second, and a lower 99th percentile of the latency.
"""

from __future__ import annotations

import base64
import http.client
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson
import report
from scipy.sparse import csr_array, load_npz, random_array, save_npz

local_service = report.example("local_service").local_service
CLIENTS = 64
ROUNDS, EACH = (4, 8) if report.full() else (2, 6)
"""How often each server has its turn, and how many requests each client sends in it."""
RTOL = 1e-6
DEADLINE = 0.1
LATE = 1.0
"""Seconds after its deadline at which an answer is wrong."""
PATIENCE = 0.05
TARGET = 2.0
WRONG = ("unsolved", "lost", "late", "unproven")
SETTINGS = {"SOLVER_SERVICE_LOG_LEVEL": "warning", "SOLVER_SERVICE_QUEUE_SIZE": "256", **report.ONE_THREAD}


class Answer(NamedTuple):
    """What came back, and after how many seconds."""

    b: np.ndarray
    status: int
    content: bytes
    seconds: float


def matrix() -> tuple[str, csr_array]:
    """Take 20ng_bow_train where it is, else a random matrix of its size."""
    folder = report.matrices()
    if folder is not None:
        return "20ng_bow_train", csr_array(load_npz(folder / "20ng_bow_train.npz"), dtype=float)
    rng = np.random.default_rng(0)
    A = random_array((11_214, 3_072), density=0.0175, rng=rng, data_sampler=rng.standard_normal)
    return "random 11214 x 3072", csr_array(A)


class Client:
    """One of them, on a connection of its own.

    Parameters
    ----------
    address, matrix : str
    right_side : callable
        Makes the next right-hand side.
    members : dict
        Further members of each request.
    """

    def __init__(
        self, address: str, matrix: str, right_side: Callable[[], np.ndarray], **members: object
    ) -> None:
        self.answers: list[Answer] = []
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc)
        self._matrix = matrix
        self._right_side = right_side
        self._members = members

    def send(self) -> np.ndarray:
        """Send a request, and return its right-hand side."""
        b = self._right_side()
        body = {
            "matrix": {"id": self._matrix},
            "b": {"base64": base64.b64encode(b.tobytes()).decode(), "dtype": "<f8"},
            "options": {"rtol": RTOL},
            **self._members,
        }
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/v1/solve", orjson.dumps(body), headers)
        return b

    def ask(self) -> None:
        """Wait for the answer to a request, and keep it."""
        started = time.perf_counter()
        b = self.send()
        response = self._connection.getresponse()
        content = response.read()
        self.answers.append(Answer(b, response.status, content, time.perf_counter() - started))

    def leave(self) -> None:
        """Send a request, and hang up."""
        self.send()
        time.sleep(PATIENCE)
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()


class Crowd:
    """The clients of one server; the last three are the unlucky ones.

    Parameters
    ----------
    address, matrix : str
    A : csr_array
    """

    def __init__(self, address: str, matrix: str, A: csr_array) -> None:
        def consistent(rng: np.random.Generator) -> Callable[[], np.ndarray]:
            return lambda: A @ rng.standard_normal(A.shape[1])

        seeds = map(np.random.default_rng, range(CLIENTS + 3))
        self.lucky = [Client(address, matrix, consistent(next(seeds))) for _ in range(CLIENTS)]
        self.leaving = Client(address, matrix, consistent(next(seeds)))
        self.hurried = Client(address, matrix, consistent(next(seeds)), deadline=DEADLINE)
        rng = next(seeds)
        self.hopeless = Client(address, matrix, lambda: rng.standard_normal(A.shape[0]))
        self.seconds = 0.0
        for _ in range(10):  # until what is learned of the matrix has come to rest
            self.lucky[0].ask()
        self.lucky[0].answers.clear()

    def take_turn(self) -> None:
        """Let all of them ask at once."""
        for client in (*self.lucky, self.hurried, self.hopeless):
            client.close()  # the server has, since the last turn
        over = threading.Event()

        def repeat(act: Callable[[], None]) -> None:
            while not over.is_set():
                act()

        def work(client: Client) -> None:
            for _ in range(EACH):
                client.ask()

        unlucky = [
            threading.Thread(target=repeat, args=(act,))
            for act in (self.leaving.leave, self.hurried.ask, self.hopeless.ask)
        ]
        lucky = [threading.Thread(target=work, args=(client,)) for client in self.lucky]
        started = time.perf_counter()
        for thread in unlucky + lucky:
            thread.start()
        for thread in lucky:
            thread.join()
        self.seconds += time.perf_counter() - started
        over.set()
        for thread in unlucky:
            thread.join()


def check(crowd: Crowd, A: csr_array) -> dict[str, Any]:
    """Say how fast it was, and count what went wrong."""
    answers = [answer for client in crowd.lucky for answer in client.answers]
    results = [orjson.loads(answer.content) for answer in answers]
    wrong = Counter(unsolved=sum(not solved(A, answer) for answer in answers))
    wrong["late"] = sum(answer.seconds > DEADLINE + LATE for answer in crowd.hurried.answers)
    wrong["late"] += sum(answer.status not in (200, 503) for answer in crowd.hurried.answers)
    wrong["lost"] = CLIENTS * ROUNDS * EACH - len(answers)
    wrong["unproven"] = sum(not disproved(A, answer) for answer in crowd.hopeless.answers)
    seconds = np.array([answer.seconds for answer in answers])
    return {
        "requests": len(answers),
        "requests_per_second": len(answers) / crowd.seconds,
        "p50_ms": 1e3 * float(np.quantile(seconds, 0.5)),
        "p99_ms": 1e3 * float(np.quantile(seconds, 0.99)),
        "mean_shared": float(np.mean([result.get("shared", 1) for result in results])),
        "hurried": len(crowd.hurried.answers),
        "hopeless": len(crowd.hopeless.answers),
        **{name: wrong[name] for name in WRONG},
    }


def solved(A: csr_array, answer: Answer) -> bool:
    """Whether x solves the system."""
    if answer.status != 200:
        return False
    x = np.array(orjson.loads(answer.content)["x"])
    return bool(np.linalg.norm(answer.b - A @ x) <= RTOL * np.linalg.norm(answer.b))


def disproved(A: csr_array, answer: Answer) -> bool:
    """Whether the answer holds a proof that there is no solution: y with Aᵀy ≈ 0 and bᵀy ≠ 0."""
    certificate = orjson.loads(answer.content).get("certificate")
    if answer.status != 200 or certificate is None:
        return False
    y = np.array(certificate["y"])
    y /= np.linalg.norm(y)
    bound = answer.b @ y - certificate["radius"] * np.linalg.norm(A.T @ y)
    return bool(0.0 < certificate["bound"] <= bound * (1 + 1e-6))


@contextmanager
def crowd(folder: Path, A: csr_array, file: Path, coalesce: str) -> Iterator[Crowd]:
    """Start a server and its clients."""
    settings = {**SETTINGS, "SOLVER_SERVICE_COALESCE": coalesce}
    with local_service(folder / f"{coalesce}.log", settings=settings) as (address, _):
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        connection.request("POST", "/v1/matrices", file.read_bytes())
        yield Crowd(address, orjson.loads(connection.getresponse().read())["id"], A)


def main() -> int:
    """Measure both in turns."""
    name, A = matrix()
    report.begin(f"{CLIENTS} clients at once solve with {name}: together, and one by one")
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        file = folder / "matrix.npz"
        save_npz(file, A)
        with crowd(folder, A, file, "on") as together, crowd(folder, A, file, "off") as apart:
            for number in range(ROUNDS):
                for one in (together, apart) if number % 2 else (apart, together):
                    one.take_turn()
            on, off = check(together, A), check(apart, A)
    for label, found in (("together", on), ("one by one", off)):
        print(
            f"{label:>10}: {found['requests_per_second']:.1f} requests/s, latency {found['p50_ms']:.0f} ms "
            f"(median), {found['p99_ms']:.0f} ms (p99); {found['mean_shared']:.1f} shared a block; "
            f"unsolved {found['unsolved']}, lost {found['lost']}, late {found['late']} of {found['hurried']} "
            f"in a hurry, unproven {found['unproven']} of {found['hopeless']} without a solution"
        )
    gain = on["requests_per_second"] / off["requests_per_second"]
    print(f"together {gain:.2f} × the requests/s; target {TARGET:g} ×, and a lower p99")
    sound = not any(found[key] for found in (on, off) for key in WRONG)
    met = sound and gain >= TARGET and on["p99_ms"] < off["p99_ms"]
    return report.end("coalescing", {"matrix": name, "gain": gain, "on": on, "off": off}, met=met)


if __name__ == "__main__":
    sys.exit(main())
