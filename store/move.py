"""``python -m store.move``: copies the files of runs and datasets from the folders below LASER_HOME to LASER_ARTIFACTS_URL.

Every file's sha256 is checked; those that are there already with the right size are passed over, so it can be repeated.
Nothing is removed. No run may be at work.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator

import sqlalchemy as sa

from store import database
from store.artifacts import blob_of, files_of
from store.blobs import Blob, Bucket, of_dataset
from store.errors import Conflict, StoreError
from store.settings import Settings
from store.states import LEASED
from store.tables import datasets, runs


def move(engine: sa.Engine, settings: Settings) -> dict[str, int]:
    """How many files were copied, were there before, and are missing or damaged here. Raises Conflict, Unreachable."""
    if not isinstance(bucket := settings.blobs, Bucket):
        raise Conflict(
            "LASER_ARTIFACTS_URL: expected s3://BUCKET/PREFIX, got nothing; set it to where the files shall go"
        )
    with database.read(engine) as connection:
        if connection.execute(sa.select(runs.c.id).where(runs.c.state.in_(LEASED)).limit(1)).scalar():
            raise Conflict("runs are at work: let them end, or pause them, and stop every worker first")
        wanted = list(_files(connection))
    there = {key: size for folder in ("artifacts", "datasets") for key, size in bucket.list(folder)}
    counts = {"copied": 0, "there_before": 0, "missing": 0}
    for blob, sha256 in wanted:
        file = settings.home / blob.path
        if not file.is_file():
            counts["there_before" if blob.key in there else "missing"] += 1
        elif there.get(blob.key) == file.stat().st_size:
            counts["there_before"] += 1
        else:
            with file.open("rb") as content:
                is_whole = hashlib.file_digest(content, "sha256").hexdigest() == sha256
                content.seek(0)
                if is_whole:
                    bucket.put(blob, content)
            counts["copied" if is_whole else "missing"] += 1
    return counts


def _files(connection: sa.Connection) -> Iterator[tuple[Blob, str]]:
    yield from ((blob_of(row), row.sha256) for row in files_of(connection, sa.true()))
    for row in connection.execute(sa.select(datasets.c.id, datasets.c.sha256)):
        yield of_dataset(row.id), row.sha256


def main() -> int:
    settings = Settings()
    try:
        counts = move(database.connect(settings.database_url), settings)
    except (StoreError, OSError, sa.exc.SQLAlchemyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(counts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
