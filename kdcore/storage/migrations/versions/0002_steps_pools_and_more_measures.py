"""Runs have a step in a plan, jobs and workers a pool, metrics whatever a method measures.

What stood in tables of one row a job or an experiment (queueing, deletions) becomes columns, and
the cards of users' datasets no longer name code of ours.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

POOLS = {0: "machine", 1: "thread", 2: "answers"}


def upgrade() -> None:
    """Bring the tables one version on."""
    _jobs()
    _experiments()
    _runs()
    op.add_column("metrics", sa.Column("more", sa.JSON()))
    _workers()
    _cards()
    op.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")


def _jobs() -> None:
    op.add_column("jobs", sa.Column("rank", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "jobs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "jobs", sa.Column("pool", sa.String(20), nullable=False, server_default="machine")
    )
    for column in ("rank", "held"):
        op.execute(
            f"UPDATE jobs SET {column} = "
            f"(SELECT q.{column} FROM queueing q WHERE q.job_id = jobs.id) "
            "WHERE id IN (SELECT job_id FROM queueing)"
        )
    for threads, pool in POOLS.items():
        op.execute(
            f"UPDATE jobs SET pool = '{pool}' "
            f"WHERE id IN (SELECT job_id FROM queueing WHERE threads = {threads})"
        )
    op.drop_table("queueing")


def _experiments() -> None:
    op.add_column("experiments", sa.Column("deleted_at", sa.Double()))
    op.execute(
        "UPDATE experiments SET deleted_at = "
        "(SELECT d.deleted_at FROM deletions d WHERE d.experiment_id = experiments.id)"
    )
    op.create_index("ix_experiments_deleted_at", "experiments", ["deleted_at"])
    op.drop_table("deletions")


def _runs() -> None:
    """Make the step, not the role, part of the key: a new table, since SQLite cannot change one."""
    op.drop_index("ix_experiment_runs_run_id", "experiment_runs")
    op.rename_table("experiment_runs", "experiment_roles")
    op.create_table(
        "experiment_runs",
        sa.Column("experiment_id", sa.String(40), sa.ForeignKey("experiments.id")),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "step", "seed", name="experiment_runs_by_step"),
    )
    op.execute(
        "INSERT INTO experiment_runs (experiment_id, step, seed, role, run_id, reused) "
        "SELECT experiment_id, role, seed, role, run_id, reused FROM experiment_roles"
    )
    op.drop_table("experiment_roles")
    op.create_index("ix_experiment_runs_run_id", "experiment_runs", ["run_id"])


def _workers() -> None:
    op.add_column(
        "workers", sa.Column("pool", sa.String(20), nullable=False, server_default="machine")
    )
    for threads, pool in POOLS.items():
        if threads:  # an id ended in the number of threads
            op.execute(f"UPDATE workers SET pool = '{pool}' WHERE id LIKE '%-{threads}'")


def _cards() -> None:
    table = sa.table("user_datasets", sa.column("key", sa.String), sa.column("card", sa.JSON))
    connection = op.get_bind()
    for key, card in connection.execute(sa.select(table.c.key, table.c.card)).all():
        card = json.loads(card) if isinstance(card, str) else dict(card)
        card.pop("builder", None)
        connection.execute(table.update().where(table.c.key == key).values(card=card))
