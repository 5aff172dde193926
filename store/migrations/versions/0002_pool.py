"""The pool's policy: bands, pools, usage; and fidelity by recursion step in traces."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("shares", sa.Double(), nullable=False, server_default="1"))
        users.add_column(sa.Column("usage", sa.Double(), nullable=False, server_default="0"))
        users.add_column(sa.Column("usage_at", sa.Double(), nullable=False, server_default="0"))
        users.add_column(sa.Column("most_running", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("band", sa.Integer(), nullable=False, server_default="1"))
        runs.add_column(sa.Column("pool", sa.String(length=40), nullable=False, server_default=""))
        runs.create_index("ix_runs_state_band_owner_id_number", ["state", "band", "owner_id", "number"])
    with op.batch_alter_table("attempts") as attempts:
        # What ended before usage was counted costs nothing.
        attempts.add_column(sa.Column("is_charged", sa.Boolean(), nullable=False, server_default=sa.true()))
        attempts.create_index("ix_attempts_is_charged", ["is_charged"])
    with op.batch_alter_table("workers") as workers:
        workers.add_column(sa.Column("pools", sa.String(length=500), nullable=False, server_default=""))
    with op.batch_alter_table("traces") as traces:
        traces.add_column(sa.Column("step_fidelities", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
