"""The migrations make just the tables that the code knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, event, inspect, text
from sqlalchemy.exc import IntegrityError

from solver_service.errors import SolverServiceError
from solver_service.storage.database import open_engine
from solver_service.storage.database.migrate import HEAD, migrate
from solver_service.storage.database.tables import metadata


def description(engine):
    """All that the database tells of its tables."""
    found = inspect(engine)
    return {
        table: {
            "columns": [column | {"type": repr(column["type"])} for column in found.get_columns(table)],
            "indexes": sorted(found.get_indexes(table), key=lambda index: index["name"]),
            "checks": found.get_check_constraints(table),
            "key": found.get_pk_constraint(table),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def definitions(engine):
    """The text of the indexes, which shows the direction of their columns too."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return {name: sql for name, sql in connection.execute(text(query)) if "alembic" not in name}


def test_they_make_what_the_code_knows(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    migrated, indexes = description(engine), definitions(engine)
    with engine.begin() as connection:
        found = MetaData()
        found.reflect(connection)
        found.drop_all(connection)
        metadata.create_all(connection)
    assert description(engine) == migrated
    assert definitions(engine) == indexes
    assert "priority DESC" in indexes["ix_jobs_claim"]


def test_a_state_is_one_of_the_states(table, add, engine):
    add()
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET state = 'lost'"))


def test_with_nothing_to_do_little_is_done(engine):
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    migrate(engine)
    assert not [statement for statement in statements if "IMMEDIATE" in statement or "lock" in statement]


def test_a_newer_database_is_refused(engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SolverServiceError, match=r"newer version.*9999"):
        migrate(engine)


def test_a_migration_that_fails_leaves_nothing(url, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("in the middle")

    engine = open_engine(url)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Operations, "create_index", fail)
            with pytest.raises(RuntimeError, match="in the middle"):
                migrate(engine)
        assert inspect(engine).get_table_names() == []
        migrate(engine)
        assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    finally:
        engine.dispose()


def test_the_head_is_named():
    config = Config()
    config.set_main_option(
        "script_location", str(Path(migrate.__globals__["__file__"]).parent / "migrations")
    )
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_folder_with_a_percent_sign(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/100%/new/jobs.db")
    migrate(engine)
    assert (tmp_path / "100%" / "new" / "jobs.db").is_file()
    engine.dispose()
