"""alembic's environment: the connection comes from the store that is being opened."""

from alembic import context

from kdcore.storage.migrations import VERSION_TABLE
from kdcore.storage.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # All in the transaction that the store has begun: on SQLite too, whose driver would otherwise
    # commit before each change of a table.
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
