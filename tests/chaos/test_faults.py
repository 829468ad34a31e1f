"""Under a stream of submissions, servers, workers and fork servers are killed at random moments.

The short form is part of `make test`; `make chaos` is the long one: CHAOS_KILLS kills in each case. The
seed is printed, and CHAOS_SEED sets it: the kills then come in the same order, though never at quite the
same moments.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from clients import Api, Client, Ledger, Observer
from cluster import Cluster, wait_until
from inspection import left_in, wrong_with_jobs
from killer import Killer
from workload import cases

KILLS = int(os.environ.get("CHAOS_KILLS", "4"))
LONG = "CHAOS_KILLS" in os.environ
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
CLIENTS = 4 if LONG else 3

SETTINGS = {
    "SOLVER_SERVICE_WORKERS": "1",
    "SOLVER_SERVICE_JOB_WORKERS": "2",
    "SOLVER_SERVICE_STALL_SECONDS": "1",
    "SOLVER_SERVICE_CHECKPOINT_SECONDS": "0.2",
    # Kills come faster than some jobs save their state: here that says nothing about the job.
    "SOLVER_SERVICE_JOB_STRIKES": "1000",
    "SOLVER_SERVICE_LOG_LEVEL": "warning",
    "OPENBLAS_NUM_THREADS": "1",
}
NO_JOBS = {"SOLVER_SERVICE_JOB_WORKERS": "0"}
ONE_JOB = {"SOLVER_SERVICE_JOB_WORKERS": "1"}
MEMBERS = {
    "sqlite": [("server", "serve", ONE_JOB), ("worker", "worker", {})],
    "postgresql": [("server-1", "serve", ONE_JOB), ("server-2", "serve", NO_JOBS), ("worker", "worker", {})],
}
if LONG:
    MEMBERS["sqlite, a server alone"] = [("server", "serve", {})]
    MEMBERS["sqlite, jobs in a worker only"] = [("server", "serve", NO_JOBS), ("worker", "worker", {})]


@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("kind", MEMBERS)
def test_nothing_is_lost_or_done_twice(kind, tmp_path, request):
    settings = dict(SETTINGS)
    if kind.startswith("postgresql"):
        settings["SOLVER_SERVICE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    print(f"\nCHAOS_SEED={SEED} CHAOS_KILLS={KILLS}, {kind}", flush=True)
    cluster = Cluster(tmp_path, settings, MEMBERS[kind])
    try:
        run(cluster, random.Random(SEED))
    finally:
        cluster.destroy()


def run(cluster: Cluster, rng: random.Random) -> None:
    ledger, killer = Ledger(), Killer(cluster, rng, 2.0 if LONG else 1.2)
    api = Api(cluster.urls, rng, ledger.complaints)
    cluster.start()
    systems = cases(patient=LONG)
    matrices = {
        case.name: api("POST", "/v1/matrices", json=case.body["matrix"]).json()["id"]
        for case in systems
        if case.stored
    }
    observer = Observer(cluster.urls, ledger, rng.randrange(10**9))
    clients = [
        Client(f"client-{number}", cluster.urls, systems, matrices, ledger, rng.randrange(10**9))
        for number in range(CLIENTS)
    ]
    try:
        for thread in (observer, *clients):
            thread.start()
        disturb(killer, ledger, cluster)
        finish(clients)
        assert not cluster.ended_by_itself()
        for record in ledger.all():
            what = f"{record.id} has ended"
            wait_until(lambda: ledger.look(api, record, wait=5) is not None, 60, what)  # noqa: B023
    finally:
        finish([*clients, observer])
    wrong = [*wrong_with_jobs(api, ledger)]
    stop(cluster)
    wrong += sweep(cluster, api, ledger)
    api.close()
    tell(killer, ledger)
    assert not [*ledger.complaints, *cluster.complaints, *wrong]


def finish(threads: Sequence[Client | Observer]) -> None:
    for thread in threads:
        thread.stopping.set()
    for thread in threads:
        thread.join()


def disturb(killer: Killer, ledger: Ledger, cluster: Cluster) -> None:
    told = 0
    while killer.total < KILLS:
        killer.strike()
        if LONG and killer.total >= told + 10:
            told = killer.total
            tell(killer, ledger)
        assert not ledger.complaints, ledger.complaints
    cluster.settle()


def stop(cluster: Cluster) -> None:
    """End all in peace; no process may be left."""
    for member in cluster.members:
        if member.alive:
            member.stop()
    wait_until(lambda: not cluster.processes(), 2, "no process is left")


def sweep(cluster: Cluster, api: Api, ledger: Ledger) -> list[str]:
    """What is left in the folder once a server was started again.

    Nobody can tidy up after a killed process at once: its files go when the next process starts, or at the
    next sweep of one that runs.
    """
    cluster.members[0].start()
    api("GET", "/health/live")
    try:
        wait_until(lambda: swept(cluster.data, ledger), 15, "it is swept")
    except AssertionError as error:
        print(error)  # what is left is said below
    stop(cluster)
    return [*left_in(cluster.data, ledger)]


def swept(data: Path, ledger: Ledger) -> bool:
    """Whether all is gone but the spool that the running server has for itself."""
    try:
        own = {f"{entry} is left" for entry in (data / "spool").iterdir()}
        return not set(left_in(data, ledger)) - own
    except FileNotFoundError:
        return False  # it is just being swept


def tell(killer: Killer, ledger: Ledger) -> None:
    records = ledger.all()
    states = [("active" if one.end is None else one.end["state"]) for one in records]
    counted = {state: states.count(state) for state in sorted(set(states))}
    again = sum(one.attempts > 1 for one in records)
    results = [one.end["result"] for one in records if one.end is not None]
    shared = sum(result is not None and result["shared"] > 1 for result in results)
    print(
        f"{time.strftime('%X')} kills {killer.count}; jobs {counted}, {again} begun more than once, "
        f"{shared} ended in a block",
        flush=True,
    )
