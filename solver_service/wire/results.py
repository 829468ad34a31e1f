"""A result as JSON or as a zip of arrays, with exactly the keys of the contract."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import orjson

from ..methods.result import Certificate, ColumnResult, FloatArray, Result

_COMMON = (
    "residual_norm",
    "relative_residual",
    "target",
    "method",
    "reason",
    "iterations",
    "epochs",
    "row_updates",
    "parameters",
    "phases",
    "history",
)
_TAIL = ("advice", "minimum_norm", "forecast", "error_estimate")


@dataclass(frozen=True, slots=True)
class Stages:
    """How a request came to be solved.

    Parameters
    ----------
    parse : float or None
        Seconds spent on reading the body; None if not in this call.
    queue : float
        Seconds spent on waiting for a worker.
    shared : int
        Requests that were solved together, this one included.
    """

    parse: float | None
    queue: float
    shared: int = 1


def encode_json(result: Result, stages: Stages) -> bytes:
    """Write the document with `x`; NaN and infinities become null."""
    began = time.perf_counter()
    x = orjson.Fragment(_dumps(np.ascontiguousarray(result.x)))
    return _dumps({"x": x, **_document(result, stages, time.perf_counter() - began)})


def encode_summary(result: Result, stages: Stages) -> bytes:
    """Write the document without `x`, and certificates without their `y`."""
    document = _document(result, stages, 0.0)
    document["timings"]["encode"] = None
    for body in (document, *(document["columns"] or ())):
        if body["certificate"] is not None:
            del body["certificate"]["y"]
    return _dumps(document)


def encode_solution(x: FloatArray, certificate: Mapping[str, Any] | None) -> bytes:
    """Write ``{"x", "certificate"}``."""
    return _dumps({"x": np.ascontiguousarray(x), "certificate": certificate})


def write_npz(result: Result, stages: Stages, file: IO[bytes]) -> None:
    """Write a zip, stored and not compressed, of ``x.npy`` and ``result.json`` (without `x`)."""
    began = time.perf_counter()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(_entry("x.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.ascontiguousarray(result.x), allow_pickle=False)
        document = _document(result, stages, time.perf_counter() - began)
        archive.writestr(_entry("result.json"), _dumps(document))


def _entry(name: str) -> zipfile.ZipInfo:
    # A fixed date: the same result is the same bytes.
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _document(result: Result, stages: Stages, encode: float) -> dict[str, Any]:
    timings = asdict(result.timings) | {"parse": stages.parse, "queue": stages.queue, "encode": encode}
    timings["total"] += (stages.parse or 0.0) + stages.queue + encode
    columns = None if result.columns is None else [_body(column) for column in result.columns]
    return {**_body(result), "timings": timings, "shared": stages.shared, "columns": columns}


def _body(result: ColumnResult) -> dict[str, Any]:
    return {
        "status": result.status.value,
        "converged": result.converged,
        **{name: getattr(result, name) for name in _COMMON},
        "timings": result.timings,
        **{name: getattr(result, name) for name in _TAIL},
        "certificate": _certificate(result.certificate),
        "worst_equations": result.worst_equations,
    }


def _certificate(certificate: Certificate | None) -> dict[str, Any] | None:
    if certificate is None:
        return None
    return {
        "y": np.ascontiguousarray(certificate.y),
        "bound": certificate.bound,
        "radius": certificate.radius,
    }


def _dumps(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
