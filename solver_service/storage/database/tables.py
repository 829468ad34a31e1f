"""The tables. Times are microseconds since 1970 in UTC, documents are JSON text: alike in every database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from ...jobs import State

metadata: Final = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
)

_STATES = ", ".join(f"'{state.value}'" for state in State)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("deadline", Float),
    Column("due_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("heartbeat_at", BigInteger),
    Column("matrix_id", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("strikes", Integer, nullable=False),
    Column("owner", Text),
    Column("stop_requested", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("digest", String(128), nullable=False),
    Column("solution", Text),
    Column("saved_state", Text),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("spec", Text, nullable=False),
    Column("progress", Text),
    # The long ones come last: SQLite reads a row from its beginning, and only as far as it must.
    Column("result", Text),
    Column("log", Text, nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    # So that the number of a removed job is never given again: claims are fenced by it.
    sqlite_autoincrement=True,
)

Index("ix_jobs_id", jobs.c.id, unique=True)
Index("ix_jobs_claim", jobs.c.state, jobs.c.priority.desc(), jobs.c.number)
Index("ix_jobs_begun", jobs.c.state, jobs.c.attempts)
Index("ix_jobs_state", jobs.c.state, jobs.c.number)
Index("ix_jobs_heartbeat", jobs.c.state, jobs.c.heartbeat_at)
# In the order in which jobs are claimed to share a block.
Index("ix_jobs_matrix", jobs.c.matrix_id, jobs.c.state, jobs.c.priority, jobs.c.number)
# With the size, so that the sum of all sizes is read from the index alone.
Index("ix_jobs_finished", jobs.c.finished_at, jobs.c.size)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("digest", String(128), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

Index("ix_idempotency_keys_job", idempotency_keys.c.job_id)
Index("ix_idempotency_keys_created", idempotency_keys.c.created_at)

installation: Final = Table("installation", metadata, Column("id", String(32), primary_key=True))
"""One row, made with the table: the folder that bears this id belongs to this database."""
