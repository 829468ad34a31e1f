"""Solve a real sparse system over HTTP and draw the answer.

Without arguments: a parallel-beam tomography scan of the Shepp-Logan phantom. ``--matrix FILE`` takes a file
(Matrix Market, plain or gzip, or SciPy ``.npz``) with b = A·x for a seeded normal x, or ``--rhs FILE``.

Exit status: 0 converged, 1 not, 2 bad input or usage, 3 the service could not be reached or started.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import numpy as np
import pictures
import scipy.sparse
from local_service import ServiceNotStartedError, local_service, tail
from numpy.typing import NDArray

from solver_service.errors import SolverServiceError
from solver_service.problems import formats, gallery

CONVERGED, NOT_CONVERGED, BAD_INPUT, NO_SERVICE = 0, 1, 2, 3


class BadInputError(Exception):
    """The input cannot be solved; the text says why in one sentence."""


class ServiceFailedError(Exception):
    """The service could not do its work; the text is what it says about that."""


@dataclass(frozen=True)
class System:
    """What is solved: A x = b, the x that b was made from where one is known, and the file to upload."""

    title: str
    name: str
    upload: bytes
    A: scipy.sparse.csr_array
    b: NDArray[np.float64]
    truth: NDArray[np.float64] | None
    picture: tuple[int, int] | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took as seen from here."""

    x: NDArray[np.float64]
    result: dict[str, Any]
    matrix_id: str
    upload_seconds: float
    solve_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; see the module's docstring for the exit status."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        system = read_system(options) if options.matrix else scan(options.pixels)
        output: Path = options.output
        output.mkdir(parents=True, exist_ok=True)
        m, n = system.A.shape
        print(f"{system.title}\nA is {m:,} x {n:,} with {system.A.nnz:,} entries")
        with service(options.server, output / "service.log") as address:
            answer = solve(address, system, {"method": options.method, "rtol": options.rtol})
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except (ServiceNotStartedError, ServiceFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_SERVICE
    except httpx2.TransportError as error:
        print(f"error: the service cannot be reached: {error}", file=sys.stderr)
        return NO_SERVICE
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 128 + signal.SIGINT

    print()
    print_table(rows(system, answer))
    print("\nPictures:")
    for path in draw(system, answer, options.rtol, output):
        print(f"  {path}")
    print(TRY.format(url=options.server) if options.server else SERVE_FIRST + TRY.format(url=LOCAL))
    return CONVERGED if answer.result["status"] == "converged" else NOT_CONVERGED


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make run ARGS=…", description=__doc__.splitlines()[0])
    parser.add_argument("--matrix", type=Path, metavar="FILE", help="solve this matrix instead of the scan")
    parser.add_argument("--rhs", type=Path, metavar="FILE", help="with this right-hand side")
    parser.add_argument("--pixels", type=int, default=128, help="side of the phantom (%(default)s)")
    parser.add_argument("--method", help="which method to run (kaczmarz for the scan, auto for a file)")
    parser.add_argument(
        "--rtol", type=float, help="relative residual to reach (1e-4 for the scan, 1e-6 for a file)"
    )
    parser.add_argument("--server", metavar="URL", help="use this running service instead of starting one")
    parser.add_argument(
        "--output", type=Path, default=Path("solver-output"), metavar="FOLDER", help="(%(default)s)"
    )
    options = parser.parse_args(arguments)
    # Tomography has used Kaczmarz' method since its first scanners, as "ART".
    options.method = options.method or ("auto" if options.matrix else "kaczmarz")
    if options.rtol is None:
        options.rtol = 1e-6 if options.matrix else 1e-4
    if options.rhs and not options.matrix:
        parser.error("--rhs needs --matrix")
    if not 8 <= options.pixels <= 512:
        parser.error("--pixels must be between 8 and 512")
    return options


def scan(pixels: int) -> System:
    """Scan the Shepp-Logan phantom with parallel beams; b is the exact sinogram."""
    problem = gallery.tomography(pixels)
    A = problem.A
    file = io.BytesIO()
    scipy.sparse.save_npz(file, A, compressed=False)
    return System(
        title=f"Parallel-beam tomography of the Shepp-Logan phantom, {pixels} x {pixels} pixels",
        name=f"tomography-{pixels}",
        upload=file.getvalue(),
        A=A,
        b=problem.b,
        truth=problem.x,
        picture=(pixels, pixels),
    )


def read_system(options: argparse.Namespace) -> System:
    """Read a matrix, and a right-hand side or make one from a seeded normal x."""
    path: Path = options.matrix
    try:
        upload = path.read_bytes()
        A = formats.read_matrix(path, field=path.name).csr
        b = formats.read_array(options.rhs, field=options.rhs.name) if options.rhs else None
    except SolverServiceError as error:
        raise BadInputError(error.detail) from error
    truth = None
    if b is None:
        truth = np.random.default_rng(0).standard_normal(A.shape[1])
        b = A @ truth
    elif b.shape != A.shape[:1]:
        raise BadInputError(f"{options.rhs} holds {b.shape}, where the matrix has {A.shape[0]} rows")
    return System(title=path.name, name=path.name, upload=upload, A=A, b=b, truth=truth)


@contextlib.contextmanager
def service(address: str | None, log: Path) -> Iterator[str]:
    """Give the address of a running service: the one named, or one that lives as long as the block."""
    if address:
        yield address
        return
    said = False

    def waiting(seconds: float) -> None:
        nonlocal said
        if seconds > 4 and not said:
            said = True
            print("compiling the kernels (the first time only) ...", end=" ", flush=True)

    print("Starting the service ...", end=" ", flush=True)
    started = time.monotonic()
    with local_service(log, waiting=waiting) as (local, _):
        print(f"ready at {local} after {time.monotonic() - started:.1f} s")
        try:
            yield local
        except (ServiceFailedError, httpx2.TransportError) as error:
            raise ServiceFailedError(f"{error}; its log, {log}, ends with\n{tail(log)}") from error


def solve(address: str, system: System, options: dict[str, Any]) -> Answer:
    """Upload the matrix, then solve with its id; arrays travel as NumPy files."""
    with httpx2.Client(base_url=address, timeout=None, trust_env=False) as client:
        started = time.monotonic()
        files = {"matrix": (system.name, system.upload, "application/octet-stream")}
        record = checked(client.post("/v1/matrices", params={"name": system.name}, files=files)).json()
        uploaded = time.monotonic()
        right_side = io.BytesIO()
        np.save(right_side, system.b)
        response = checked(
            client.post(
                "/v1/solve",
                data={"matrix_id": record["id"], "options": json.dumps(options)},
                files={"b": ("b.npy", right_side.getvalue(), "application/octet-stream")},
                headers={"Accept": "application/x-npz"},
            )
        )
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            x = np.load(io.BytesIO(archive.read("x.npy")))
            result = json.loads(archive.read("result.json"))
        return Answer(x, result, record["id"], uploaded - started, time.monotonic() - uploaded)


def checked(response: httpx2.Response) -> httpx2.Response:
    """Pass on a success; turn a refusal into one sentence."""
    if response.is_success:
        return response
    try:
        problem = response.json()
        reasons = "; ".join(f"{error['field']}: {error['message']}" for error in problem.get("errors", []))
        sentence = reasons or problem["detail"]
    except (ValueError, KeyError, TypeError):
        sentence = f"the service answered {response.status_code} without saying why"
    if response.is_server_error:
        raise ServiceFailedError(f"{sentence} (status {response.status_code})")
    raise BadInputError(sentence)


def rows(system: System, answer: Answer) -> Iterator[tuple[str, str]]:
    """Say what came out, the residual and the error computed here once more."""
    result, x = answer.result, answer.x
    scale = float(np.linalg.norm(system.b)) or 1.0
    residual = float(np.linalg.norm(system.b - system.A @ x)) / scale
    timings = result["timings"]
    yield "method", result["method"]
    yield "why", result["reason"]
    yield "status", result["status"]
    yield "iterations", f"{result['iterations']:,}"
    yield "epochs", f"{result['epochs']:,.1f} passes over A"
    yield "true relative residual", f"{result['relative_residual']:.3e}"
    yield "  recomputed with SciPy", f"{residual:.3e}"
    if system.truth is not None:
        known = "the phantom" if system.picture else "the x behind b"
        error = np.linalg.norm(x - system.truth) / np.linalg.norm(system.truth)
        yield f"error against {known}", f"{100 * error:.2g} %"
    for part in ("parse", "queue", "prepare", "solve", "verify", "total"):
        if timings.get(part) is not None:
            yield f"time: {part}", f"{timings[part]:.3f} s"
    yield "seen from here", f"upload {answer.upload_seconds:.2f} s, solve {answer.solve_seconds:.2f} s"
    if result["advice"]:
        yield "advice", result["advice"]


def print_table(table: Iterator[tuple[str, str]]) -> None:
    """Print two columns, long cells wrapped under their own column."""
    cells = list(table)
    left = max(len(name) for name, _ in cells) + 2
    width = max(shutil.get_terminal_size((100, 24)).columns - left - 4, 30)
    for name, value in cells:
        first, *rest = wrap(value, width)
        print(f"  {name:<{left}}{first}")
        for line in rest:
            print(f"  {'':<{left}}{line}")


def wrap(text: str, width: int) -> list[str]:
    """Break `text` at blanks into lines of at most `width` where it can be."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def draw(system: System, answer: Answer, rtol: float, folder: Path) -> Iterator[Path]:
    """Write the pictures, and yield where."""
    if system.picture and system.truth is not None:
        path = folder / "reconstruction.png"
        pictures.reconstruction(system.truth.reshape(system.picture), answer.x.reshape(system.picture), path)
        yield path
    path = folder / "convergence.png"
    pictures.convergence(answer.result, rtol, system.title, path)
    yield path


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that every `finally` runs and the service is stopped


LOCAL = "http://127.0.0.1:8000"
SERVE_FIRST = "\nTry it yourself: `make serve`, and in another terminal\n"
TRY = """
  curl -s {url}/v1/solve -H 'Content-Type: application/json' -d '
    {{"matrix": {{"format": "coo", "shape": [3, 2], "row": [0, 1, 2, 2], "col": [0, 1, 0, 1],
                "data": [2.0, 1.0, 1.0, 1.0]}},
     "b": [2.0, 2.0, 3.0]}}'
"""

if __name__ == "__main__":
    sys.exit(main())
