"""What visitors predict and answer in lessons is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring the tables one version on."""
    op.create_table(
        "lesson_progress",
        sa.Column("visitor", sa.String(40), primary_key=True),
        sa.Column("lesson", sa.String(40), primary_key=True),
        sa.Column("prediction", sa.JSON()),
        sa.Column("change", sa.String(100), nullable=False),
        sa.Column("answer", sa.JSON()),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    op.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
