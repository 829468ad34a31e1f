"""How the databases are opened."""

from __future__ import annotations

import builtins
import importlib
import socket
import sqlite3
import sys
import time

import pytest
from sqlalchemy import event, text

from solver_service.errors import SolverServiceError, UnavailableError
from solver_service.jobs import NewJob, Spec
from solver_service.storage.database import JobTable, migrate, open_engine
from solver_service.storage.database.connection import for_reading, for_writing, journal_mode, sqlite_module

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.mark.parametrize("url", ["mysql://me:secret@host/jobs", "oracle://me:secret@host", "secret", ""])
def test_other_databases_are_refused_without_telling_passwords(url):
    with pytest.raises(SolverServiceError, match="database") as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url):
    with pytest.raises(SolverServiceError, match="must be a file"):
        open_engine(url)


def test_settings_of_sqlite(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/a/b/jobs.db")
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "busy_timeout")
        values = [connection.execute(text(f"PRAGMA {pragma}")).scalar() for pragma in pragmas]
        version = connection.execute(text("SELECT sqlite_version()")).scalar()
    assert values == ["wal", 2, 30000]
    assert tuple(map(int, version.split("."))) >= (3, 51, 3)
    engine.dispose()


@on_sqlite
def test_transactions_that_write_begin_by_locking(engine, url):
    other = open_engine(url)
    with for_writing(engine).begin(), for_reading(other).connect() as reader:
        assert reader.execute(text("SELECT count(*) FROM jobs")).scalar() == 0
        reader.execute(text("PRAGMA busy_timeout = 0"))
        reader.rollback()
        with pytest.raises(Exception, match="locked"):
            reader.execute(text("DELETE FROM jobs"))
        reader.invalidate()
    other.dispose()


@pytest.fixture
def without(monkeypatch):
    """Make packages impossible to import."""

    def without(*names):
        real, real_module = builtins.__import__, importlib.import_module

        def check(name):
            if name.split(".")[0] in names:
                raise ImportError(f"No module named {name!r}", name=name)

        def refuse(name, *arguments, **options):
            check(name)
            return real(name, *arguments, **options)

        def refuse_module(name, *arguments):
            check(name)
            return real_module(name, *arguments)

        for loaded in list(sys.modules):
            if loaded.split(".")[0] in names:
                monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(builtins, "__import__", refuse)
        monkeypatch.setattr(importlib, "import_module", refuse_module)

    return without


def test_an_unsound_sqlite_gets_no_wal(without, monkeypatch, tmp_path, caplog):
    without("pysqlite3")
    assert sqlite_module() is sqlite3
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert journal_mode(sqlite3) == "wal"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert "install pysqlite3" in caplog.text
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
    table = JobTable(engine)
    spec = Spec(matrix_id="mat_1", shape=(1, 1), nnz=1)
    new = NewJob(id="job_1", spec=spec, size=1, digest="d")
    assert table.add(new, most_queued=1, matrix_exists=lambda: True).result()[1]
    assert table.claim("me", 1).result()[0][0].id == "job_1"
    table.close()


def test_a_missing_driver_is_named(without):
    without("psycopg")
    with pytest.raises(SolverServiceError, match=r"solver-service\[postgres\]"):
        open_engine("postgresql://me:secret@host/jobs")


def test_a_server_that_is_not_there(tmp_path):
    pytest.importorskip("psycopg")
    engine = open_engine(f"postgresql://me:secret@/jobs?host={tmp_path}")
    with pytest.raises(UnavailableError) as caught:
        migrate(engine)
    table = JobTable(engine)
    with pytest.raises(UnavailableError) as again:
        table.ping()
    with pytest.raises(UnavailableError):
        table.expire().result(30)
    assert "secret" not in str(caught.value) + str(caught.value.__cause__) + str(again.value.__cause__)
    table.close()


def arguments(url):
    """What the driver is called with."""
    pytest.importorskip("psycopg")
    engine, seen = open_engine(url), {}

    def note(dialect, record, arguments, options):
        seen.update(options)
        raise InterruptedError

    event.listen(engine, "do_connect", note)
    with pytest.raises(InterruptedError):
        engine.connect()
    return seen


def test_patience_with_a_server_is_bounded(monkeypatch):
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    found = arguments("postgresql://me@host/jobs")
    assert 0 < found["connect_timeout"] <= 10
    assert found["keepalives"] == 1
    assert found["keepalives_idle"] + found["keepalives_interval"] * found["keepalives_count"] <= 30
    assert 1000 <= found["tcp_user_timeout"] <= 30_000


def test_what_the_url_says_holds(monkeypatch):
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "60")
    found = arguments("postgresql://me@host/jobs?keepalives_idle=77&tcp_user_timeout=0")
    assert (int(found["keepalives_idle"]), int(found["tcp_user_timeout"])) == (77, 0)
    assert "connect_timeout" not in found
    assert int(arguments("postgresql://me@host/jobs?connect_timeout=99")["connect_timeout"]) == 99


def test_a_server_that_accepts_and_says_nothing(monkeypatch):
    """Connecting ends, though nobody answers."""
    pytest.importorskip("psycopg")
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_engine(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/jobs")
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            migrate(engine)
        assert time.monotonic() - began < 20
        engine.dispose()


def test_a_file_that_is_removed_or_replaced_takes_no_more_jobs(tmp_path):
    path = tmp_path / "jobs.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    table = JobTable(engine)
    table.ping()
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(UnavailableError, match="gone"):
        table.ping()
    with pytest.raises(UnavailableError, match="gone"):
        table.expire().result(30)
    (tmp_path / "other").write_bytes(content)
    (tmp_path / "other").rename(path)
    with pytest.raises(UnavailableError, match="replaced"):
        table.expire().result(30)
    table.close()
