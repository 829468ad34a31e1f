"""Which installation the database is, so that no other uses its folder; and an index for claims.

What is written here never changes, whatever becomes of the tables; so it imports nothing of the project.
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table with its one row, and the index."""
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.bulk_insert(installation, [{"id": uuid.uuid4().hex}])
    op.create_index("ix_jobs_begun", "jobs", ["state", "attempts"])
