"""Workers may be drained, and say which schema they know."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("workers") as workers:
        workers.add_column(sa.Column("drained_at", sa.Double(), nullable=True))
        workers.add_column(sa.Column("schema", sa.String(length=40), nullable=False, server_default=""))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
