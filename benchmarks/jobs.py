"""Small jobs from end to end: 2,000 of them, with a server of four processes that run jobs, on SQLite.

The clock runs from the first submission to the moment at which the client sees no job that has not ended.
Eight kept connections submit systems of one stored 60 × 40 matrix; every other right-hand side goes with
each. Then, off the clock, every job is looked at: each id must be on record once and have succeeded in its
first attempt, and its x must solve its system. Who used the processor meanwhile is told too: on a machine
with two cores the client itself is part of the limit.
Then the same again with the service told to keep jobs of one matrix apart.
Target: at least 100 jobs a second, none lost, none run twice.
"""

from __future__ import annotations

import http.client
import io
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import psutil
import report
from scipy.sparse import csr_array, random_array, save_npz

local_service = report.example("local_service").local_service
JOBS, CONNECTIONS = 2000, 8
TARGET = 100.0
RTOL = 1e-8
SETTINGS = {
    "SOLVER_SERVICE_WORKERS": "1",
    "SOLVER_SERVICE_JOB_WORKERS": "4",
    "SOLVER_SERVICE_LOG_LEVEL": "warning",
    **report.ONE_THREAD,
}


class Connection:
    """A kept connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc)

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Return the body of an answer that must be a success."""
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        assert response.status in (200, 201, 202), content
        return content


def system(rng: np.random.Generator) -> csr_array:
    """Make a matrix with a solution that is found in a moment."""
    return csr_array(random_array((60, 40), density=0.2, rng=rng, data_sampler=rng.standard_normal))


def submit_all(address: str, matrix: str, sides: np.ndarray) -> dict[str, int]:
    """Submit all systems; return the number of each by the id of its job."""
    ids: dict[str, int] = {}
    numbers = iter(range(len(sides)))

    def work() -> None:
        connection = Connection(address)
        for number in numbers:
            options = {"method": "cgmn", "rtol": RTOL}
            document = {"matrix": {"id": matrix}, "b": sides[number], "options": options}
            body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
            answer = connection("POST", "/v1/jobs", body, **{"Content-Type": "application/json"})
            ids[orjson.loads(answer)["id"]] = number

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ids


def await_ends(connection: Connection) -> None:
    """Look twenty times a second until there is no job that has not ended."""
    for state in ("queued", "running", "queued"):  # a job may be given back
        while orjson.loads(connection("GET", f"/v1/jobs?state={state}&limit=1"))["items"]:
            time.sleep(0.05)


def all_jobs(connection: Connection) -> Iterator[dict[str, Any]]:
    """Yield all jobs on record."""
    cursor = ""
    while cursor is not None:
        page = orjson.loads(connection("GET", f"/v1/jobs?limit=500{cursor and '&cursor='}{cursor}"))
        yield from page["items"]
        cursor = page["next_cursor"]


def check(connection: Connection, ids: dict[str, int], A: csr_array, sides: np.ndarray) -> dict[str, int]:
    """Count what went wrong."""
    jobs = list(all_jobs(connection))
    wrong = Counter(lost=len(ids.keys() - {job["id"] for job in jobs}), twice=len(jobs) - len(ids))
    for job in jobs:
        wrong["twice"] += job["attempts"] != 1
        wrong["unsolved"] += job["state"] != "succeeded"
        if job["id"] in ids:
            content = connection("GET", f"{job['links']['solution']}", Accept="application/x-npy")
            b = sides[ids[job["id"]]]
            residual = np.linalg.norm(b - A @ np.load(io.BytesIO(content)))
            wrong["unsolved"] += bool(residual > RTOL * np.linalg.norm(b))
    return {name: wrong[name] for name in ("lost", "twice", "unsolved")}


def processor_time(server: int) -> dict[str, float]:
    """Return the seconds of processor time so far: client, server, and the processes of its pool together."""
    top = psutil.Process(server)
    own = psutil.Process().cpu_times()
    times = {"client": own.user + own.system, "server": 0.0, "pool": 0.0}
    for process in (top, *top.children(recursive=True)):
        used = process.cpu_times()
        times["server" if process == top else "pool"] += used.user + used.system
    return times


def measure(*, coalesce: bool) -> dict[str, Any]:
    """Run all jobs with a server of their own."""
    rng = np.random.default_rng(0)
    A = system(rng)
    sides = (A @ rng.standard_normal((A.shape[1], JOBS))).T.copy()
    settings = {**SETTINGS, "SOLVER_SERVICE_COALESCE": "on" if coalesce else "off"}
    with tempfile.TemporaryDirectory() as folder:
        log, file = Path(folder) / "service.log", Path(folder) / "matrix.npz"
        save_npz(file, A)
        with local_service(log, settings=settings) as (address, process):
            connection = Connection(address)
            matrix = orjson.loads(connection("POST", "/v1/matrices", file.read_bytes()))["id"]
            before, started = processor_time(process.pid), time.perf_counter()
            ids = submit_all(address, matrix, sides)
            submitted = time.perf_counter() - started
            await_ends(Connection(address))
            seconds = time.perf_counter() - started
            after = processor_time(process.pid)
            wrong = check(Connection(address), ids, A, sides)
    used = {name: after[name] - before[name] for name in after}
    shares = ", ".join(f"{name} {1e3 * value / JOBS:.2f} ms" for name, value in used.items())
    print(
        f"{'in blocks' if coalesce else 'apart'}: {JOBS / seconds:.0f} jobs/s from end to end; accepted at "
        f"{JOBS / submitted:.0f}/s, the last ended {seconds - submitted:.2f} s after that\n"
        f"processor time per job: {shares}; {sum(used.values()) / seconds:.2f} cores busy\n"
        f"lost {wrong['lost']}, run twice {wrong['twice']}, not solved {wrong['unsolved']}"
    )
    return {
        "jobs": JOBS,
        "acknowledged": len(ids),
        "jobs_per_second": JOBS / seconds,
        "submissions_per_second": JOBS / submitted,
        "seconds_after_last_submission": seconds - submitted,
        "processor_ms_per_job": {name: 1e3 * value / JOBS for name, value in used.items()},
        "cores_busy": sum(used.values()) / seconds,
        **wrong,
    }


def main() -> int:
    """Measure once: the number of jobs is large enough."""
    report.begin(f"{JOBS:,} small jobs from end to end, {CONNECTIONS} connections, 4 processes for jobs")
    results, apart = (measure(coalesce=coalesce) for coalesce in (True, False))
    met = all(
        one["jobs_per_second"] >= TARGET
        and one["acknowledged"] == JOBS
        and not any(one[name] for name in ("lost", "twice", "unsolved"))
        for one in (results, apart)
    )
    return report.end("jobs", {**results, "apart": apart}, met=met)


if __name__ == "__main__":
    sys.exit(main())
