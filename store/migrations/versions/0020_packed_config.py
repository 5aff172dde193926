"""Configurations that filters find values in without reading them whole."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE runs SET config = jsonb(config)")


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
