"""What an inspection's answer depends on, so that asking again is answered at once."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("runs", sa.Column("content", sa.String(length=64), nullable=True))
    op.create_index("ix_runs_content", "runs", ["content"])
    op.create_index("ix_runs_kind_number", "runs", ["kind", "number"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
