"""Clients who retry until they are answered, and a ledger of all that they were ever told.

A contradiction (an ended job that changes, a job that is gone, two jobs for one key …) is noted, not raised:
the test looks at `Ledger.complaints` in the end.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from workload import Case

ENDED = frozenset({"succeeded", "failed", "cancelled"})
PATIENCE = 60.0


class Api:
    """Asks one server after the other, again and again, until one of them answers for good."""

    def __init__(self, urls: Sequence[str], rng: random.Random, complaints: list[str]) -> None:
        self._urls, self._rng, self._complaints = urls, rng, complaints
        self._client = httpx2.Client(timeout=15.0, trust_env=False)
        self.retries = 0

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                response = self._client.request(method, self._rng.choice(self._urls) + path, **options)
            except httpx2.TransportError:
                pass
            else:
                if response.status_code < 500 and response.status_code != 429:
                    return response
                if response.status_code == 500:
                    self._complaints.append(f"{method} {path}: {response.text}")
            self.retries += 1
            time.sleep(0.05)
        raise AssertionError(f"no answer to {method} {path} for {PATIENCE:g} s")

    def close(self) -> None:
        self._client.close()


@dataclass
class Record:
    """A job, as far as clients were told."""

    id: str
    case: Case
    key: str
    resumed: bool
    seen: list[str] = field(default_factory=list)
    end: dict[str, Any] | None = None
    attempts: int = 0
    x: bytes | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Ledger:
    """All acknowledged jobs, and what contradicts itself about them."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.complaints: list[str] = []
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()

    def acknowledge(self, key: str, document: dict[str, Any], case: Case, *, resumed: bool) -> Record:
        with self._lock:
            id_ = document["id"]
            known = self._keys.setdefault(key, id_)
            if known != id_:
                self.complaints.append(f"key {key} has made two jobs, {known} and {id_}")
            return self.records.setdefault(id_, Record(id_, case, key, resumed))

    def all(self) -> list[Record]:
        with self._lock:
            return list(self.records.values())

    def look(self, api: Api, record: Record, *, wait: float = 0.0) -> dict[str, Any] | None:
        """Fetch a job, compare with what was told before; return its document once it has ended."""
        with record.lock:  # so that answers are compared in the order in which they were given
            response = api("GET", f"/v1/jobs/{record.id}", params={"wait": wait})
            if response.status_code != 200:
                self.complaints.append(f"acknowledged job {record.id} is answered {response.status_code}")
                return record.end
            document = response.json()
            self._compare(record, document)
            if record.end is not None and record.end["result"] is not None:
                self._compare_solution(api, record)
            return record.end

    def _compare(self, record: Record, document: dict[str, Any]) -> None:
        if record.end is not None:
            if document != record.end:
                self.complaints.append(f"job {record.id} changed after its end: {record.end} {document}")
            return
        if document["attempts"] < record.attempts:
            self.complaints.append(f"job {record.id}: attempts went from {record.attempts} back")
        record.attempts = document["attempts"]
        if not record.seen or record.seen[-1] != document["state"]:
            record.seen.append(document["state"])
        if document["state"] in ENDED:
            record.end = document

    def _compare_solution(self, api: Api, record: Record) -> None:
        path = f"/v1/jobs/{record.id}/solution"
        response = api("GET", path, headers={"Accept": "application/x-npy"})
        if response.status_code != 200:
            self.complaints.append(f"solution of {record.id} is answered {response.status_code}")
        elif record.x is not None and response.content != record.x:
            self.complaints.append(f"solution of {record.id} changed after its end")
        else:
            record.x = response.content


class Client(threading.Thread):
    """Submits some jobs, cancels some, waits for their end, resumes some, and so on until it is to stop."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        cases: Sequence[Case],
        matrices: dict[str, str],
        ledger: Ledger,
        seed: int,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self._rng = random.Random(seed)
        self._api = Api(urls, self._rng, ledger.complaints)
        self._long = [case for case in cases if case.long]
        self._short = [case for case in cases if not case.long]
        self._matrices, self._ledger = matrices, ledger
        self._numbers = itertools.count()

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._round()
        except Exception as error:
            self._ledger.complaints.append(f"{self.name}: {error!r}")
        finally:
            self._api.close()

    def _round(self) -> None:
        rng = self._rng
        chosen = [rng.choice(self._long), *rng.choices(self._short, k=rng.randrange(4))]
        rng.shuffle(chosen)
        records = [self._submit(case) for case in chosen]
        for record in records:
            if rng.random() < 0.25:
                self.stopping.wait(rng.uniform(0.0, 1.0))
                self._api("POST", f"/v1/jobs/{record.id}/cancel")
        for record in records:
            while self._ledger.look(self._api, record, wait=0.5) is None and not self.stopping.is_set():
                pass
            if record.end is not None and record.end["state"] == "cancelled" and rng.random() < 0.7:
                self._acknowledged(f"/v1/jobs/{record.id}/resume", {}, record.case, resumed=True)

    def _submit(self, case: Case) -> Record:
        body = dict(case.body)
        if case.name in self._matrices:
            body["matrix"] = {"id": self._matrices[case.name]}
        return self._acknowledged("/v1/jobs", body, case, resumed=False)

    def _acknowledged(self, path: str, body: dict[str, Any], case: Case, *, resumed: bool) -> Record:
        key = f"{self.name}-{next(self._numbers)}"
        record = None
        for _ in range(1 + (self._rng.random() < 0.3)):  # some do not trust the first answer
            response = self._api("POST", path, json=body, headers={"Idempotency-Key": key})
            if response.status_code != 202:
                raise AssertionError(f"POST {path}: {response.status_code} {response.text}")
            record = self._ledger.acknowledge(key, response.json(), case, resumed=resumed)
        assert record is not None
        return record


class Observer(threading.Thread):
    """Looks at all jobs over and over, at those too that have ended."""

    def __init__(self, urls: Sequence[str], ledger: Ledger, seed: int) -> None:
        super().__init__(name="observer", daemon=True)
        self.stopping = threading.Event()
        self._ledger = ledger
        self._api = Api(urls, random.Random(seed), ledger.complaints)

    def run(self) -> None:
        try:
            while not self.stopping.wait(0.05):
                for record in self._ledger.all():
                    if self.stopping.wait(0.01):
                        break
                    self._ledger.look(self._api, record)
        except Exception as error:
            self._ledger.complaints.append(f"{self.name}: {error!r}")
        finally:
            self._api.close()
