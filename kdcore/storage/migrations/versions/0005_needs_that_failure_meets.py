"""A job may need another one's end, not its success: a race needs all trials of its settings."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Bring the tables one version on."""
    op.add_column(
        "job_needs",
        sa.Column("even_failed", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute("UPDATE meta SET value = '5' WHERE key = 'schema_version'")
