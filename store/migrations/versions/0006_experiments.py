"""Experiments: what is asked of a group of runs, and which runs belong to it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_experiments_owner_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_experiments")),
        sa.UniqueConstraint("id", name=op.f("uq_experiments_id")),
        sa.UniqueConstraint("owner_id", "idempotency_key", name=op.f("uq_experiments_owner_id_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "experiment_runs",
        sa.Column("run", NUMBER, nullable=False),
        sa.Column("experiment", NUMBER, nullable=False),
        sa.Column("variant", sa.String(length=120), nullable=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_experiment_runs_run"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["experiment"], ["experiments.number"], name=op.f("fk_experiment_runs_experiment"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_experiment_runs")),
    )
    op.create_index("ix_experiment_runs_experiment", "experiment_runs", ["experiment"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
