"""Users may be known by an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("subject", sa.String(length=500), nullable=True))
        users.create_index("ix_users_subject", ["subject"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
