"""Alembic's entry: runs the migrations on the connection that st_pipeline.postgres.migrations hands over.

Here: that hand-over. Not here: which database, and no second way in: `st-pipeline migrate` is the command.
"""

from alembic import context

# A transaction a version: one that builds an index concurrently has to end the transaction that it finds.
context.configure(
    connection=context.config.attributes["connection"], transactional_ddl=True, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
