"""Run by Alembic, inside the transaction that `migrate` has begun."""

from alembic import context

from solver_service.storage.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
