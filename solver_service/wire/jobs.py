"""A job as a JSON document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from ..jobs import Job, Spec
from .arrays import FloatArray

PROGRESS_KEYS = (
    "iterations",
    "epochs",
    "seconds",
    "relative_residual",
    "expected_iterations",
    "eta_seconds",
    "eta_low",
    "eta_high",
    "will_miss_deadline",
)


def job_item(job: Job, queue_position: int | None) -> dict[str, Any]:
    """Return the document without `result`."""
    return {
        "id": job.id,
        "state": job.state.value,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "attempts": job.attempts,
        "priority": job.spec.priority,
        "deadline": job.spec.deadline,
        "queue_position": queue_position,
        "matrix": job.spec.matrix_id,
        "options": _options(job.spec),
        "resumed_from": job.spec.resumed_from,
        "progress": None if job.progress is None else {key: job.progress.get(key) for key in PROGRESS_KEYS},
        "error": None if job.error is None else {"code": job.error[0], "detail": job.error[1]},
        "links": _links(job),
    }


def job_document(job: Job, queue_position: int | None) -> dict[str, Any]:
    """Return the whole document."""
    result = None if job.result is None else orjson.Fragment(job.result)
    return {**job_item(job, queue_position), "result": result}


def encode(document: object) -> bytes:
    """Write a document; times are RFC 3339 in UTC."""
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def digest_of(spec: Spec, b: FloatArray, x0: FloatArray | str | None) -> str:
    """Hash what a client has asked for, by content: two ways to write one system are the same.

    Parameters
    ----------
    spec : Spec
    b : ndarray
    x0 : ndarray, str or None
        Numbers, or the id of the job whose x is meant.
    """
    options = dict(sorted(spec.options.items()))
    asked = [spec.matrix_id, options, spec.priority, spec.deadline, spec.resumed_from, list(b.shape)]
    digest = hashlib.sha256(orjson.dumps(asked))
    digest.update(np.ascontiguousarray(b).data)
    if spec.warm_start is not None:  # which solutions there are now, is not what the client has asked for
        digest.update(b"warm_start")
    if isinstance(x0, str):
        digest.update(b"job" + x0.encode("utf-8", "replace"))
    elif x0 is not None:
        digest.update(b"x0")
        digest.update(np.ascontiguousarray(x0).data)
    return digest.hexdigest()


def resume_digest(job_id: str, changes: Mapping[str, Any]) -> str:
    """Hash a request to resume."""
    return hashlib.sha256(orjson.dumps([job_id, dict(sorted(changes.items()))])).hexdigest()


def _options(spec: Spec) -> dict[str, Any]:
    return {**spec.options, **({} if spec.warm_start is None else {"warm_start": "auto"})}


def _links(job: Job) -> dict[str, str]:
    own = f"/v1/jobs/{job.id}"
    actions = {name: f"{own}/{name}" for name in ("solution", "events", "cancel", "resume")}
    return {"self": own, **actions, "matrix": f"/v1/matrices/{job.spec.matrix_id}"}
