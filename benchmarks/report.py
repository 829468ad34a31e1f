"""What every benchmark says about itself: versions, hardware, and one line of JSON at the end."""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.sparse import csr_array, load_npz, random_array

PACKAGES = ("solver-service", "numpy", "scipy", "numba", "fastapi", "uvicorn")


def processor() -> str:
    """Name the processor as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def environment() -> dict[str, object]:
    """Collect versions, hardware and how busy the machine is, as a benchmark's reader wants them."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        **{package: version(package) for package in PACKAGES},
    }


ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def one_thread() -> None:
    """Start this script again with BLAS on one thread, unless it is: NumPy looks only when it is imported."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | ONE_THREAD)


def full() -> bool:
    """Whether everything is to be measured (``BENCH=full make bench``), not just a few minutes' worth."""
    return os.environ.get("BENCH") == "full"


def begin(title: str) -> None:
    """Print what is measured, and on what."""
    print(f"\n{title}\n{'=' * len(title)}")
    print(", ".join(f"{name} {value}" for name, value in environment().items()), flush=True)


def end(name: str, results: object, *, met: bool | None = None) -> int:
    """Print the line of JSON, and whether the target was met; the exit status says it too."""
    print(
        json.dumps({"benchmark": name, "met": met, "environment": environment(), "results": results}),
        flush=True,
    )
    return 1 if met is False else 0


def in_turns(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    """Time two rivals in alternating order, so that drift of the machine meets both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    rivals = ((first, times[0]), (second, times[1]))
    for number in range(rounds):
        for call, seconds in rivals if number % 2 else rivals[::-1]:
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    return times


def median_ratio(first: list[float], second: list[float]) -> float:
    """Median of the ratios of neighbouring measurements."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def matrices() -> Path | None:
    """Find the folder of real matrices, if there is one: see tests/conftest.py."""
    named = os.environ.get("SOLVER_SERVICE_TEST_MATRICES")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "matrices"
    return folder if folder.is_dir() else None


def example(name: str) -> ModuleType:
    """Import a module of the examples' folder."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    return importlib.import_module(name)


def fan_beam() -> tuple[str, csr_array]:
    """Take ct_fan_128 where it is, else a random matrix of its size."""
    folder = matrices()
    if folder is not None:
        return "ct_fan_128", csr_array(load_npz(folder / "ct_fan_128.npz"))
    rng = np.random.default_rng(0)
    A = random_array((23_000, 16_384), density=0.008, rng=rng, data_sampler=rng.standard_normal)
    return "random 23000 x 16384", csr_array(A)
