"""Sessions know the token that opened them, and end with it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("secrets", sa.Column("opened_with", sa.String(length=40), nullable=True))
    op.create_index("ix_secrets_opened_with", "secrets", ["opened_with"])


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
