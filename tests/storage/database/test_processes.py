"""Several processes with one database, some of which are killed."""

from __future__ import annotations

import signal

from solver_service.jobs import State
from solver_service.storage.database import JobTable, migrate, open_engine


def test_what_was_acknowledged_survives_its_process(start, table):
    process = start("""
table = open_table()
while True:
    futures = [table.add(new(), most_queued=10**6, matrix_exists=lambda: True) for _ in range(5)]
    for future in futures:
        print(future.result()[0].id, flush=True)
""")
    told = [process.stdout.readline().strip() for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split()
    told = [job_id for job_id in told if len(job_id) == 36]
    assert set(table.known(told)) == set(told)
    assert table.count_queued() >= len(told)
    # And the database is whole: it takes more.
    assert table.claim("me", 1).result(30)[0][0].id == told[0]


def test_processes_that_claim(start, table, add):
    ids = {add().id for _ in range(60)}
    script = """
table = open_table()
print("ready", flush=True)
sys.stdin.readline()
while blocks := table.claim(arguments[0], 2, lambda spec: 4).result():
    for job in sum(blocks, []):
        print(job.id, flush=True)
        assert table.finish(job.claim, Outcome(state=State.SUCCEEDED)).result()
table.close()
"""
    processes = [start(script, f"owner {number}") for number in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    taken = []
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        taken += process.communicate(timeout=60)[0].split()
        assert process.returncode == 0
    assert len(taken) == len(ids)
    assert set(taken) == ids
    assert table.counts()[State.SUCCEEDED] == len(ids)


def test_a_claim_survives_its_holder_and_is_given_back(start, table, add, clock):
    job = add()
    process = start("""
table = open_table()
table.claim("child", 1).result()
print("claimed", flush=True)
time.sleep(60)
""")
    assert process.stdout.readline() == "claimed\n"
    process.kill()
    claimed = table.get(job.id)
    assert (claimed.state, claimed.owner) == (State.RUNNING, "child")
    clock.moment = claimed.started_at  # the child went by the true time
    clock.forward(61)
    assert table.give_back_stalled(60, 3).result(30) == [job.id]


def test_processes_that_migrate_at_once(start, url):
    script = """
engine = open_engine(url)
print("ready", flush=True)
sys.stdin.readline()
migrate(engine)
"""
    processes = [start(script) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    engine = open_engine(url)
    migrate(engine)
    table = JobTable(engine)
    table.ping()
    table.close()
