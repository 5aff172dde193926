"""Runs may have a time limit and wait for others."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("runs", sa.Column("time_limit_s", sa.Double(), nullable=True))
    op.create_table(
        "waits",
        sa.Column("run", NUMBER, nullable=False),
        sa.Column("other", NUMBER, nullable=False),
        sa.Column("needs", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_waits_run"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["other"], ["runs.number"], name=op.f("fk_waits_other"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "other", name=op.f("pk_waits")),
    )
    op.create_index("ix_waits_other", "waits", ["other"])
    op.execute(
        "INSERT INTO waits (run, other, needs) SELECT number, source, 'checkpoint' FROM runs WHERE source IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
