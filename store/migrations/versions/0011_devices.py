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
    # Not as a batch: for a default such as this Boolean's, that makes the table anew on SQLite, and dropping the old one takes
    # with it whatever refers to its rows.
    op.add_column("runs", sa.Column("memory_asked", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("memory_held", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("memory_peak", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("memory_grown", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("device", sa.String(length=200), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
