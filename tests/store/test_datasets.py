"""Uploads: checked, named by content, and nothing left behind when refused."""

from __future__ import annotations

import io
import os

import pytest

from laser_core.config import parse_run
from laser_core.puzzle_file import PuzzleFileError
from store import claims, datasets
from store.errors import Conflict, NotFound, Refused
from store.settings import Settings
from store.submit import create_run

SOLVED = "1234341221434321"
GOOD = f"source,q,a,rating\nme,.{SOLVED[1:]},{SOLVED},1\nme,..{SOLVED[2:]},{SOLVED},2.5\n".encode()
OTHER = f"source,q,a,rating\nme,...{SOLVED[3:]},{SOLVED},1\n".encode()


def files(settings):
    return sorted(os.listdir(settings.datasets_dir)) if settings.datasets_dir.exists() else []


def add(engine, settings, name, data):
    return datasets.add(engine, settings, name, io.BytesIO(data))


def test_a_file_is_kept_as_it_came(engine, settings, owner):
    dataset, created = datasets.add(engine, settings, "easy.csv", io.BytesIO(GOOD), owner)
    assert created
    assert (dataset.name, dataset.rows, dataset.size, dataset.size_bytes) == ("easy.csv", 2, 4, len(GOOD))
    assert dataset.id == f"d_{dataset.sha256[:12]}"
    assert (settings.datasets_dir / f"{dataset.id}.csv").read_bytes() == GOOD
    assert datasets.get(engine, "easy.csv") == datasets.get(engine, dataset.id) == dataset
    assert [row.rating for row in datasets.preview(engine, settings, "easy.csv")] == [1.0, 2.5]
    assert len(datasets.preview(engine, settings, "easy.csv", rows=1)) == 1


def test_the_same_content_is_one_dataset(engine, settings):
    first, _ = add(engine, settings, "a", GOOD)
    assert add(engine, settings, "a", GOOD) == (first, False)
    assert add(engine, settings, "b", GOOD) == (first, False)
    assert files(settings) == [f"{first.id}.csv"]
    assert datasets.list_datasets(engine) == [first]


def test_a_name_belongs_to_its_content(engine, settings):
    first, _ = add(engine, settings, "a", GOOD)
    with pytest.raises(Conflict, match="choose another name"):
        add(engine, settings, "a", OTHER)
    assert files(settings) == [f"{first.id}.csv"]


class Broken(io.BytesIO):
    def read(self, size=-1):
        data = super().read(10)
        if not data:
            raise ConnectionError("the client went away")
        return data


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a", (b""), PuzzleFileError),
        ("a", (GOOD + b"me,x\n"), PuzzleFileError),
        ("a", (b"\xff\xfe" + GOOD), PuzzleFileError),
        ("a", GOOD, ConnectionError),
        ("a", (GOOD + b"\n" * 5000), Refused),
        ("../a", (GOOD), Refused),
        ("", (GOOD), Refused),
        ("a\n", (GOOD), Refused),
        ("a\0", (GOOD), Refused),
        ("x" * 121, (GOOD), Refused),
    ],
)
def test_what_is_refused_leaves_nothing(engine, settings, name, data, error):
    small = Settings(home=settings.home, max_upload_bytes=1000)
    stream = Broken(data) if error is ConnectionError else io.BytesIO(data)
    with pytest.raises(error):
        datasets.add(engine, small, name, stream)
    assert files(settings) == []
    assert datasets.list_datasets(engine) == []


def test_a_failing_commit_leaves_no_file(engine, settings):
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        datasets.add(engine, settings, "a", io.BytesIO(GOOD), owner_id="u_nobody")
    assert files(settings) == []


def test_a_dataset_in_use_stays(engine, settings, owner):
    dataset, _ = add(engine, settings, "mine", GOOD)
    config = parse_run({"kind": "train", "task": {"kind": "csv", "train": "mine", "test": dataset.id}})
    run, _ = create_run(engine, config, owner)
    claim = claims.claim_run(engine, "w", 20, settings=settings)
    file = settings.datasets_dir / f"{dataset.id}.csv"
    assert claim.luggage.files == {"mine": file, dataset.id: file}
    with pytest.raises(Conflict, match=run.id):
        datasets.delete(engine, settings, "mine")
    other, _ = add(engine, settings, "other", OTHER)
    datasets.delete(engine, settings, other.id)
    assert files(settings) == [f"{dataset.id}.csv"]
    with pytest.raises(NotFound):
        datasets.get(engine, "other")
