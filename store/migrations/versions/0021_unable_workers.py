"""Workers that say why they take no run."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("workers", sa.Column("unable", sa.String(length=300), server_default="", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
