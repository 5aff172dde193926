"""Checkouts: what runs were submitted from."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "checkouts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("diff", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkouts")),
    )
    op.create_table(
        "run_checkouts",
        sa.Column("run", NUMBER, nullable=False),
        sa.Column("checkout", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_run_checkouts_run"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["checkout"], ["checkouts.id"], name=op.f("fk_run_checkouts_checkout")),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_run_checkouts")),
    )
    op.create_index("ix_run_checkouts_checkout", "run_checkouts", ["checkout"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
