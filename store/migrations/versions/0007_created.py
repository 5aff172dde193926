"""Runs in the order of their creation, for filters such as created>-7d."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index("ix_runs_created_at_number", "runs", ["created_at", "number"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
