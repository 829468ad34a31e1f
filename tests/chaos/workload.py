"""The systems that clients send, and what an undisturbed solve in this process makes of them."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array, random_array

import solver_service


@dataclass(frozen=True)
class Case:
    """One system with its options; `long` ones take some 0.5 to 5 seconds of a core, the others a moment."""

    name: str
    A: csr_array
    b: np.ndarray
    options: Mapping[str, Any]
    long: bool
    stored: bool = False
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> float:
        return float(self.options["rtol"] * np.linalg.norm(self.b))

    def residual(self, x: np.ndarray) -> float:
        return float(np.linalg.norm(self.b - self.A @ x))

    @functools.cached_property
    def reference(self) -> np.ndarray:
        """What x must be, bit for bit, however often the solve was interrupted."""
        result = solver_service.solve(self.A, self.b, **self.options)
        assert result.converged, f"{self.name}: {result.status}"
        return result.x


def array(values: np.ndarray) -> dict[str, Any]:
    """As the service takes it."""
    kind = "<i8" if values.dtype.kind == "i" else "<f8"
    return {"base64": base64.b64encode(values.astype(kind).tobytes()).decode(), "dtype": kind}


def matrix_document(A: csr_array) -> dict[str, Any]:
    """A whole matrix."""
    parts = {"indptr": A.indptr.astype(np.int64), "indices": A.indices.astype(np.int64), "data": A.data}
    return {"format": "csr", "shape": list(A.shape), **{name: array(part) for name, part in parts.items()}}


def rod(n: int) -> csr_array:
    """A thin rod: row methods need very many passes."""
    ones = np.ones(n - 1)
    return csr_array(diags_array([-ones, np.full(n, 2.0), -ones], offsets=[-1, 0, 1]))


@functools.cache
def cases(*, patient: bool) -> list[Case]:
    """All systems; without patience the long ones are shorter."""
    rng = np.random.default_rng(7)
    small = csr_array(random_array((90, 40), density=0.2, rng=rng, data_sampler=rng.standard_normal))
    long = [
        ("kaczmarz", rod(64 if patient else 24), 1e-6),
        ("coordinate_descent", rod(3000 if patient else 2000), 1e-7),
        ("cgmn", rod(3000), 1e-9),
        ("ssor_cgls", rod(4000 if patient else 3000), 1e-9),
        ("lsqr", rod(2000 if patient else 1000), 1e-9),
        ("lsmr", rod(2000), 1e-9),
    ]
    found = [
        _case(f"small {method}", small, method, 1e-8, long=False)
        for method in ("auto", "kaczmarz", "coordinate_descent", "cgmn", "ssor_cgls", "lsqr", "direct")
    ]
    # Many jobs of one stored matrix, so that those that wait are run together.
    common = rod(1500)
    found += [
        _case(f"common {method} {rtol:g}", common, method, rtol, long=False, stored=True)
        for method in ("cgmn", "ssor_cgls")
        for rtol in (1e-3, 1e-5, 1e-7)
    ]
    found += [
        _case(f"long {method}", A, method, rtol, long=True, stored=number % 2 == 0)
        for number, (method, A, rtol) in enumerate(long)
    ]
    return found


def _case(name: str, A: csr_array, method: str, rtol: float, *, long: bool, stored: bool = False) -> Case:
    b = A @ np.sin(np.arange(A.shape[1]))
    options = {"method": method, "rtol": rtol, "threads": 1, "seed": 3, "max_epochs": 1e9}
    if method == "direct":
        del options["max_epochs"]
    body = {"matrix": matrix_document(A), "b": array(b), "options": options}
    return Case(name, A, b, options, long, stored, body)
