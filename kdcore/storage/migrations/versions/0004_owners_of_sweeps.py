"""Sweeps have tags, which their experiments get: in a classroom they say whose a sweep is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring the tables one version on."""
    op.add_column("sweeps", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")
