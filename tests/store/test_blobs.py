"""Files in folders and in a real S3 server, through the same calls."""

from __future__ import annotations

import functools
import hashlib
import io
import os

import pytest

from laser_core.events import CheckpointSaved
from store import artifacts, backup, claims, datasets
from store.blobs import REQUEST_BYTES, Blob, Bucket, of_dataset, of_run
from store.database import write
from store.doctor import examine
from store.errors import Conflict, NotFound, Unreachable
from store.ingest import ingest
from store.move import move
from store.settings import Settings
from store.states import State

CSV = b"source,q,a,rating\nmine,1.3.341221.343.1,1234341221434321,2.5\n"
FILE = of_run("r_one", 2, "checkpoints/step-5/model.safetensors")


@pytest.fixture
def bucket(artifacts_url, tmp_path):
    return Settings(home=tmp_path, artifacts_url=artifacts_url, artifacts_cache_mib=1).blobs


@pytest.fixture(params=["folder", "bucket"])
def blobs(request, tmp_path):
    return Settings(home=tmp_path).blobs if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture
def keep(blobs, tmp_path):
    def keep(blob, content):
        part = tmp_path / "part"
        part.write_bytes(content)
        blobs.move_in(blob, part)
        assert not part.exists()

    return keep


def whole(blobs, blob, *span):
    return b"".join(blobs.read(blob, *span))


def test_what_is_kept_comes_back_until_it_is_removed(blobs, keep):
    content = os.urandom(REQUEST_BYTES + 5)
    keep(FILE, content)
    keep(of_dataset("d_1"), b"rows")
    assert whole(blobs, FILE) == content
    assert whole(blobs, FILE, 3, 10) == content[3:10]
    assert whole(blobs, FILE, REQUEST_BYTES - 1, REQUEST_BYTES + 2) == content[REQUEST_BYTES - 1 : REQUEST_BYTES + 2]
    keep(empty := of_run("r_one", 2, "empty.json"), b"")
    assert whole(blobs, empty) == b""
    other = of_run("r_one", 2, "checkpoints/step-5/state.json")
    assert whole(blobs, empty, 0, 0) == b""
    assert blobs.sizes([other, FILE, of_dataset("d_1"), of_dataset("d_2")]) == [None, len(content), 4, None]
    with pytest.raises(NotFound, match="is gone"):
        blobs.read(other)
    blobs.remove(of_dataset("d_1"))
    blobs.remove(of_dataset("d_1"))
    with pytest.raises(NotFound):
        blobs.read(of_dataset("d_1"))
    assert whole(blobs, FILE) == content


def test_a_run_is_removed_with_all_it_has_and_no_other(blobs, keep):
    longer = of_run("r_one2", 1, "analysis.json")
    for blob in (FILE, of_run("r_one", 1, "analysis.json"), longer):
        keep(blob, b"x")
    blobs.remove_runs(["r_one", "r_never"])
    assert blobs.sizes([FILE, longer]) == [None, 1]


def test_what_is_fetched_is_checked_and_kept_for_the_next(bucket, tmp_path):
    content = b"weights"
    sha256 = hashlib.sha256(content).hexdigest()
    bucket.put(FILE, io.BytesIO(content))
    bucket.fetch(FILE, sha256, tmp_path / "a" / "one")
    bucket.remove(FILE)
    bucket.fetch(FILE, sha256, tmp_path / "b" / "two")
    assert [(tmp_path / name).read_bytes() for name in ("a/one", "b/two")] == [content] * 2
    bucket.put(FILE, io.BytesIO(b"others"))
    with pytest.raises(NotFound, match="damaged"):
        bucket.fetch(FILE, "0" * 64, tmp_path / "three")
    with pytest.raises(NotFound, match="gone"):
        bucket.fetch(Blob("x", "artifacts/x"), "1" * 64, tmp_path / "three")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [sha256]


def test_the_cache_is_bounded_and_what_is_in_use_outlasts_it(bucket, tmp_path):
    for number in range(4):
        content = bytes([number]) * 400_000
        blob = of_run("r_one", number, "model.safetensors")
        bucket.put(blob, io.BytesIO(content))
        bucket.fetch(blob, hashlib.sha256(content).hexdigest(), tmp_path / str(number))
        os.utime(tmp_path / str(number), (number, number))
    assert sum(file.stat().st_size for file in (tmp_path / "cache").iterdir()) == 800_000
    assert [(tmp_path / str(number)).stat().st_size for number in range(4)] == [400_000] * 4


def test_a_torn_file_of_the_cache_is_fetched_again(bucket, tmp_path):
    sha256 = hashlib.sha256(b"weights").hexdigest()
    bucket.put(FILE, io.BytesIO(b"weights"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / sha256).write_bytes(b"wei")
    bucket.fetch(FILE, sha256, tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "cache" / sha256).read_bytes() == b"weights"


def test_the_cache_leaves_what_others_are_fetching(bucket, tmp_path):
    (tmp_path / "cache").mkdir()
    theirs, forgotten = (tmp_path / "cache" / f"{name}.part" for name in ("theirs", "forgotten"))
    for part in (theirs, forgotten):
        part.write_bytes(b"x" * 2**21)  # more than the cache may hold
    os.utime(forgotten, (1, 1))
    bucket.put(FILE, io.BytesIO(b"weights"))
    bucket.fetch(FILE, sha256 := hashlib.sha256(b"weights").hexdigest(), tmp_path / "one")
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"theirs.part", sha256}


@pytest.mark.parametrize(
    ("changed", "code", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "", "AWS_ENDPOINT_URL"),
        ({"url": "s3://nowhere/x"}, "NoSuchBucket", "make the bucket"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(artifacts_url, tmp_path, monkeypatch, changed, code, advice):
    url = changed.pop("url", artifacts_url)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    settings = Settings(home=tmp_path, artifacts_url=url)
    for call in (lambda b: b.put(FILE, io.BytesIO(b"x")), lambda b: b.read(FILE), lambda b: list(b.list("artifacts"))):
        with pytest.raises(Unreachable, match=url) as caught:
            call(settings.blobs)
        assert caught.value.code == code, str(caught.value)
    (finding,) = [each for each in examine(settings) if each.name == "object storage"]
    assert (finding.status, code in finding.found, advice in finding.advice) == ("failed", True, True), finding
    assert "Debug" not in finding.found


def test_the_doctor_tries_what_runs_need_and_leaves_nothing(bucket, artifacts_url, tmp_path):
    settings = Settings(home=tmp_path, artifacts_url=artifacts_url)
    (finding,) = [each for each in examine(settings) if each.name == "object storage"]
    assert (finding.status, finding.advice) == ("ok", "")
    assert isinstance(settings.blobs, Bucket)
    assert list(settings.blobs.list("doctor")) == []
    assert not [each for each in examine(Settings(home=tmp_path)) if each.name == "object storage"]


@pytest.mark.parametrize("url", ["http://x", "s3://", "s3://Upper", "s3://bucket/a//b", "s3://bucket/../x y"])
def test_a_url_that_names_no_bucket_is_refused(url):
    with pytest.raises(ValueError, match="artifacts_url"):
        Settings(artifacts_url=url)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_installation_moves_from_folders_to_a_bucket(engine, settings, artifacts_url, start):
    run_id, content = start(), b"weights"
    folder = settings.artifacts_dir / run_id / "checkpoints" / "step-5"
    folder.mkdir(parents=True)
    hashes = {name: hashlib.sha256(content).hexdigest() for name in ("whole", "damaged", "gone")}
    for name in ("whole", "damaged"):
        (folder / name).write_bytes(content if name == "whole" else b"others")
    ingest(engine, run_id, 1, 0, 9, [CheckpointSaved(5, "step-5", hashes, 7)])
    dataset, _ = datasets.add(engine, settings, "mine", io.BytesIO(CSV))
    there = settings.model_copy(update={"artifacts_url": artifacts_url})
    with pytest.raises(Conflict, match="at work"):
        move(engine, there)
    claims.finish(engine, run_id, 1, State.succeeded)
    assert move(engine, there) == {"copied": 2, "there_before": 0, "missing": 2}
    assert move(engine, there) == {"copied": 0, "there_before": 2, "missing": 2}
    sizes = {a.name: a.size_bytes for a in artifacts.list_artifacts(engine, there, run_id)}
    assert sizes == {"whole": 7, "damaged": None, "gone": None}
    assert datasets.preview(engine, there, dataset.id) == datasets.preview(engine, settings, dataset.id)
    with pytest.raises(Conflict, match="LASER_ARTIFACTS_URL"):
        move(engine, settings)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bucket_that_is_away_holds_no_transaction(engine, settings, artifacts_url, monkeypatch):
    """Others would wait for it: every worker writes to the same database."""
    there = settings.model_copy(update={"artifacts_url": artifacts_url})
    dataset, _ = datasets.add(engine, there, "mine", io.BytesIO(CSV))
    file = of_dataset(dataset.id)
    written = []

    def others_write(call, *arguments):
        with write(engine):
            written.append(call.__name__)
        call(*arguments)

    for call in (Bucket.move_in, Bucket.remove):
        monkeypatch.setattr(
            Bucket, call.__name__, functools.partialmethod(lambda *a, of: others_write(of, *a), of=call)
        )
    with pytest.raises(Conflict, match="belongs to"):
        datasets.add(engine, there, "mine", io.BytesIO(CSV.replace(b"mine", b"ours")))
    datasets.delete(engine, there, "mine")
    assert there.blobs.sizes([file]) == [None]
    assert datasets.add(engine, there, "mine", io.BytesIO(CSV))[1]
    assert written == ["remove", "move_in"]
    assert there.blobs.sizes([file]) == [len(CSV)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_has_no_files_of_a_bucket(engine, settings, artifacts_url, tmp_path):
    there = settings.model_copy(update={"artifacts_url": artifacts_url})
    with pytest.raises(backup.BackupError, match="back the bucket up"):
        backup.make(engine, there, tmp_path / "b.zip", with_files=True)
    assert backup.make(engine, there, tmp_path / "b.zip").summary()["files"] == 0
