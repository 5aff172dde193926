"""A run may ask for several devices of one worker; ``device`` holds the uids of all, between blanks."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("runs", sa.Column("gpus", sa.Integer(), nullable=False, server_default="1"))
    # Another column under the old name: SQLite can't change a type, and a table made anew would lose what refers to it.
    op.add_column("runs", sa.Column("uids", sa.Text(), nullable=True))
    op.execute("UPDATE runs SET uids = device")
    op.drop_column("runs", "device")
    op.execute("ALTER TABLE runs RENAME COLUMN uids TO device")


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: going back would lose data")
