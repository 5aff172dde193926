"""Workers have devices, and runs share them by memory."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("worker", sa.String(length=120), nullable=False),
        sa.Column("uid", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["worker"], ["workers.id"], name=op.f("fk_devices_worker"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("worker", "uid", name=op.f("pk_devices")),
    )
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("memory_asked", sa.BigInteger(), nullable=True))
        runs.add_column(sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"))
        runs.add_column(sa.Column("memory_held", sa.BigInteger(), nullable=True))
        runs.add_column(sa.Column("memory_peak", sa.BigInteger(), nullable=True))
        runs.add_column(sa.Column("memory_grown", sa.Boolean(), nullable=False, server_default=sa.false()))
        runs.add_column(sa.Column("device", sa.String(length=200), nullable=True))
