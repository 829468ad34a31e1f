"""What HTTP adds to a small solve: a stored 1,850 × 712 matrix, b and x in JSON, against the same solve here.

Target: the median over HTTP is at most 5 ms more than in process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import httpx2
import numpy as np
import orjson
import report
from scipy.sparse import csr_array, random_array, save_npz

import solver_service
from solver_service.problems import formats

local_service = report.example("local_service").local_service
ROUNDS = 200
TARGET_MS = 5.0


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
        with local_service(log) as (address, _), httpx2.Client(base_url=address, trust_env=False) as client:
            stored = client.post("/v1/matrices", content=file.read_bytes()).raise_for_status().json()
            inside: list[float] = []

            def over_http() -> None:
                body = orjson.dumps(
                    {"matrix": {"id": stored["id"]}, "b": b}, option=orjson.OPT_SERIALIZE_NUMPY
                )
                response = client.post(
                    "/v1/solve", content=body, headers={"Content-Type": "application/json"}
                )
                result = orjson.loads(response.raise_for_status().content)
                assert result["status"] == "converged", result["status"]
                np.array(result["x"])
                inside.append(result["timings"]["solve"])

            def in_process() -> None:
                assert prepared.solve(b, threads=1).converged

            report.in_turns(over_http, in_process, 20)
            inside.clear()
            http, here = report.in_turns(over_http, in_process, ROUNDS)
    results = {
        "matrix": name,
        "rounds": ROUNDS,
        "http_ms": 1e3 * statistics.median(http),
        "in_process_ms": 1e3 * statistics.median(here),
        "solve_inside_service_ms": 1e3 * statistics.median(inside),
        "http_p95_ms": 1e3 * sorted(http)[int(0.95 * ROUNDS)],
        "in_process_p95_ms": 1e3 * sorted(here)[int(0.95 * ROUNDS)],
    }
    results["overhead_ms"] = overhead = results["http_ms"] - results["in_process_ms"]
    print(
        f"over HTTP {results['http_ms']:.2f} ms, in process {results['in_process_ms']:.2f} ms (medians of "
        f"{ROUNDS}): {overhead:.2f} ms more; target {TARGET_MS:g} ms"
    )
    return report.end("http_overhead", results, met=overhead <= TARGET_MS)


if __name__ == "__main__":
    sys.exit(main())
