"""What must hold when all is over: of every job, and of the folder that is left."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from clients import ENDED, Api, Ledger, Record

from solver_service.methods import TUNING

_JOB_FILES = re.compile(r"b\.npy|x0\.npy|solution-\d+\.npy|certificate-\d+\.npy|state-\d+\.zip", re.ASCII)
_MATRIX_FILES = frozenset({"data.npy", "indices.npy", "indptr.npy", "meta.json", "uses"})
_TOP = frozenset({"jobs", "matrices", "owner", "prepared", "staging", "spool"})
_DATABASE = frozenset({"jobs.sqlite3", "jobs.sqlite3-wal", "jobs.sqlite3-shm"})
_FOLLOWERS = {"queued": {"running", *ENDED}, "running": {"queued", *ENDED}}


def all_job_ids(api: Api) -> list[str]:
    """The ids of all jobs on record."""
    ids: list[str] = []
    cursor = None
    while True:
        page = api("GET", "/v1/jobs", params={"limit": 500, **({"cursor": cursor} if cursor else {})}).json()
        ids += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return ids


def wrong_with_jobs(api: Api, ledger: Ledger) -> Iterator[str]:
    """Yield all that is wrong with the jobs, which have all ended."""
    ids, records = all_job_ids(api), ledger.all()
    for lost in {record.id for record in records} - set(ids):
        yield f"acknowledged job {lost} is lost"
    for extra in set(ids) - {record.id for record in records}:
        yield f"job {extra} is on record, but was never acknowledged: its key has made two"
    if len(set(ids)) != len(ids):
        yield "a job is listed twice"
    learned: dict[tuple[str, str], bytes] = {}
    for record in records:
        for complaint in (*_wrong_with_job(record, learned), *_wrong_with_events(api, record)):
            yield f"{record.id} ({record.case.name}, {record.attempts} attempts): {complaint}"


def _wrong_with_job(record: Record, learned: dict[tuple[str, str], bytes]) -> Iterator[str]:
    if record.end is None:
        yield f"has not ended, but is {record.seen}"
        return
    state, result = record.end["state"], record.end["result"]
    if state == "failed":
        yield f"failed: {record.end['error']}"
    if state == "succeeded" and (result is None or result["status"] != "converged"):
        yield f"did not converge, but is {result and result['status']}"
    if result is None:
        return
    if record.x is None:
        yield "has no solution"
        return
    x = np.load(io.BytesIO(record.x), allow_pickle=False)
    residual = record.case.residual(x)
    if state == "succeeded" and residual > record.case.target:
        yield f"x leaves {residual:g}, more than {record.case.target:g}"
    if abs(residual - result["residual_norm"]) > 1e-12 * np.linalg.norm(record.case.b) + 1e-6 * residual:
        yield f"x leaves {residual:g}, but {result['residual_norm']:g} is said"
    if state != "succeeded":
        return
    tuning = result["parameters"]["tuning"]
    if tuning == TUNING:
        expected = record.case.reference.tobytes()
    else:  # what was learned by chance is the same for all who begin with it
        expected = learned.setdefault((record.case.name, tuning), x.tobytes())
    if x.tobytes() != expected:
        yield f"x differs from that of an undisturbed solve (resumed: {record.resumed}, tuning: {tuning})"


def _wrong_with_events(api: Api, record: Record) -> Iterator[str]:
    """The states that a late follower is told of must be a life with one end."""
    states: list[str] = []
    kind, ends = "", 0
    for line in api("GET", f"/v1/jobs/{record.id}/events").text.splitlines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
            ends += kind == "end"
        elif line.startswith("data: ") and kind == "state":
            states.append(json.loads(line.removeprefix("data: "))["state"])
    if ends != 1 or not states or states[-1] not in ENDED:
        yield f"its events do not end: {states}, {ends} times `end`"
    for before, after in itertools.pairwise(states):
        if after not in _FOLLOWERS.get(before, set()):
            yield f"went from {before} to {after}: {states}"


def left_in(data: Path, ledger: Ledger) -> Iterator[str]:
    """Yield all in the data folder that should not be there, or is missing."""
    for entry in data.iterdir():
        if entry.name not in _TOP | _DATABASE:
            yield f"{entry} is left"
    for folder in ("staging", "spool"):
        for entry in (data / folder).iterdir():
            yield f"{entry} is left"
    for entry in (data / "matrices").iterdir():
        if {file.name for file in entry.iterdir()} != _MATRIX_FILES:
            yield f"{entry} holds {sorted(file.name for file in entry.iterdir())}"
    found = {entry.name: entry for entry in (data / "jobs").iterdir()}
    records: dict[str, Any] = {record.id: record for record in ledger.all()}
    for id_ in found.keys() - records.keys():
        yield f"{found[id_]} belongs to no job"
    for id_ in records.keys() - found.keys():
        yield f"job {id_} has no files"
    for id_ in found.keys() & records.keys():
        names = sorted(file.name for file in found[id_].iterdir())
        kinds = [name.partition("-")[0] for name in names]
        if any(_JOB_FILES.fullmatch(name) is None for name in names) or len(set(kinds)) != len(kinds):
            yield f"{found[id_]} holds {names}"
