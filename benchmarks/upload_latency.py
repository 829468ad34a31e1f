"""How the service feels to others while someone uploads a matrix of five million entries.

Another process uploads the ``.npz`` again and again; this one polls ``/health/live`` and watches the server.
Targets: p99 of the polls under 100 ms, growth of the server process under 100 MB.
"""

from __future__ import annotations

import http.client
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import report
from scipy.sparse import csr_array, save_npz

local_service = report.example("local_service").local_service
ENTRIES = 5_000_000
UPLOADS = 3
PAUSE = 0.005
TARGET_P99_MS = 100.0
TARGET_GROWTH_MB = 100.0


def write_matrix(path: Path, seed: int) -> None:
    """Write a matrix of that many entries, ten in each row."""
    rng = np.random.default_rng(seed)
    rows, columns, each = ENTRIES // 10, 50_000, 10
    # Ten disjoint stripes of columns, so the entries of a row are sorted and distinct.
    stripe = columns // each
    indices = rng.integers(0, stripe, (rows, each)) + stripe * np.arange(each)
    A = csr_array(
        (rng.standard_normal(ENTRIES), indices.ravel().astype(np.int32), np.arange(0, ENTRIES + 1, each)),
        shape=(rows, columns),
    )
    save_npz(path, A, compressed=False)


def upload(address: str, files: list[Path], done: Event) -> None:
    """Store each file; runs in a process of its own, so the polls wait for the service alone."""
    import httpx2

    try:
        with httpx2.Client(base_url=address, timeout=None, trust_env=False) as client:
            for path in files:
                started = time.perf_counter()
                with path.open("rb") as body:
                    response = client.post("/v1/matrices", params={"name": path.stem}, content=body)
                response.raise_for_status()
                assert response.json()["nnz"] == ENTRIES
                print(f"  {path.name} stored after {time.perf_counter() - started:.2f} s", flush=True)
    finally:
        done.set()


def poll(address: str, server: psutil.Process, done: Event) -> tuple[list[float], int]:
    """Ask for /health/live until `done`; give the latencies and the server's largest resident size."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    latencies: list[float] = []
    largest = 0
    while not done.is_set() or len(latencies) < 50:
        started = time.perf_counter()
        connection.request("GET", "/health/live")
        response = connection.getresponse()
        response.read()
        latencies.append(time.perf_counter() - started)
        assert response.status == 200, response.status
        largest = max(largest, server.memory_info().rss)
        time.sleep(PAUSE)
    return latencies, largest


def main() -> int:
    """Upload and poll."""
    report.begin(f"/health/live while {UPLOADS} matrices of {ENTRIES:,} entries are uploaded")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"matrix-{seed}.npz" for seed in range(UPLOADS)]
        for seed, path in enumerate(files):
            write_matrix(path, seed)
        with local_service(folder / "service.log") as (address, process):
            server = psutil.Process(process.pid)
            idle = context.Event()
            idle.set()
            quiet, before = poll(address, server, idle)
            done = context.Event()
            uploader = context.Process(target=upload, args=(address, files, done))
            uploader.start()
            latencies, largest = poll(address, server, done)
            uploader.join()
            assert uploader.exitcode == 0, "an upload failed"
        megabytes = files[0].stat().st_size / 1e6
    latencies.sort()
    results = {
        "entries": ENTRIES,
        "upload_mb": megabytes,
        "polls": len(latencies),
        "idle_p50_ms": 1e3 * statistics.median(quiet),
        "p50_ms": 1e3 * statistics.median(latencies),
        "p99_ms": 1e3 * latencies[int(0.99 * len(latencies))],
        "max_ms": 1e3 * latencies[-1],
        "server_growth_mb": (largest - before) / 1e6,
    }
    print(
        f"{len(latencies):,} polls: p50 {results['p50_ms']:.2f} ms, p99 {results['p99_ms']:.2f} ms (target "
        f"{TARGET_P99_MS:g}), max {results['max_ms']:.1f} ms; the server process grew by "
        f"{results['server_growth_mb']:.1f} MB (target {TARGET_GROWTH_MB:g})"
    )
    met = results["p99_ms"] < TARGET_P99_MS and results["server_growth_mb"] < TARGET_GROWTH_MB
    return report.end("upload_latency", results, met=met)


if __name__ == "__main__":
    sys.exit(main())
