"""What HTTP adds to a small solve: a stored 1,850 × 712 matrix, b and x in JSON, against the same solve here.

A method is named, as `auto` learns of a stored matrix but not in process. The client is that of the standard
library on one kept connection; its encoding and decoding count.
Target: the median over HTTP is at most 5 ms more than in process.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import report
from scipy.sparse import csr_array, random_array, save_npz

import solver_service
from solver_service.problems import formats

local_service = report.example("local_service").local_service
ROUNDS = 200
TARGET_MS = 5.0
METHOD = "ssor_cgls"


def matrix() -> tuple[str, csr_array]:
    """Take well1850 where it is, else a random matrix of its size."""
    folder = report.matrices()
    if folder is not None:
        return "well1850", formats.read_matrix(folder / "well1850.mtx.gz").csr
    rng = np.random.default_rng(0)
    A = random_array((1850, 712), density=0.0066, rng=rng, data_sampler=rng.standard_normal)
    return "random 1850 x 712", csr_array(A)


def main() -> int:
    """Measure both in turns."""
    name, A = matrix()
    report.begin(f"A small solve ({name}) over HTTP and in process")
    b = A @ np.random.default_rng(0).standard_normal(A.shape[1])
    prepared = solver_service.prepare(A)
    with tempfile.TemporaryDirectory() as folder:
        log, file = Path(folder) / "service.log", Path(folder) / "matrix.npz"
        save_npz(file, A)
        with local_service(log) as (address, _):
            connection = http.client.HTTPConnection(urlsplit(address).netloc)
            inside: list[float] = []

            def post(path: str, body: bytes, kind: str) -> Any:
                connection.request("POST", path, body, {"Content-Type": kind})
                response = connection.getresponse()
                content = orjson.loads(response.read())
                assert response.status in (200, 201), content
                return content

            stored = post("/v1/matrices", file.read_bytes(), "application/octet-stream")

            def over_http() -> None:
                system = {"matrix": {"id": stored["id"]}, "b": b, "options": {"method": METHOD}}
                body = orjson.dumps(system, option=orjson.OPT_SERIALIZE_NUMPY)
                result = post("/v1/solve", body, "application/json")
                assert result["status"] == "converged", result["status"]
                np.array(result["x"])
                inside.append(result["timings"]["solve"])

            def in_process() -> None:
                assert prepared.solve(b, method=METHOD, threads=1).converged

            report.in_turns(over_http, in_process, 20)
            inside.clear()
            remote, here = report.in_turns(over_http, in_process, ROUNDS)
    results = {
        "matrix": name,
        "rounds": ROUNDS,
        "http_ms": 1e3 * statistics.median(remote),
        "in_process_ms": 1e3 * statistics.median(here),
        "solve_inside_service_ms": 1e3 * statistics.median(inside),
        "http_p95_ms": 1e3 * sorted(remote)[int(0.95 * ROUNDS)],
        "in_process_p95_ms": 1e3 * sorted(here)[int(0.95 * ROUNDS)],
    }
    overhead = 1e3 * statistics.median(a - b for a, b in zip(remote, here, strict=True))
    results["overhead_ms"] = overhead
    print(
        f"over HTTP {results['http_ms']:.2f} ms, in process {results['in_process_ms']:.2f} ms (medians of "
        f"{ROUNDS}), median difference {overhead:.2f} ms; target {TARGET_MS:g} ms"
    )
    return report.end("http_overhead", results, met=overhead <= TARGET_MS)


if __name__ == "__main__":
    sys.exit(main())
