"""The tables as version 0.1.0 made them, before there were migrations: where all others begin."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: a store of this version is there already."""
