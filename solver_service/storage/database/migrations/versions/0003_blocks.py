"""An index for jobs with the same matrix, in the order in which they are claimed together.

What is written here never changes, whatever becomes of the tables; so it imports nothing of the project.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Put another index in place of the one that had no order."""
    op.drop_index("ix_jobs_matrix", "jobs")
    op.create_index("ix_jobs_matrix", "jobs", ["matrix_id", "state", "priority", "number"])
