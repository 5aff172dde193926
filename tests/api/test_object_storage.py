"""Runs whose files are in a real S3 server: what the API gives of them is the same as from folders."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from laser_core.events import CheckpointSaved, FileSaved
from store import claims
from store.blobs import of_run
from store.ingest import ingest
from store.states import State

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEADER = "source,q,a,rating\n"
CSV = (HEADER + "mine,1.3.341221.343.1,1234341221434321,2.5\n").encode()

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def settings(settings, artifacts_url):
    return settings.model_copy(update={"artifacts_url": artifacts_url})


@pytest.fixture
def ended(started, engine, settings):
    """A run that left a checkpoint in the bucket and succeeded."""
    run_id = started()
    saved = CheckpointSaved(3, "step-00000003", {"model.safetensors": SHA256}, len(CONTENT))
    settings.blobs.put(of_run(run_id, 1, "checkpoints/step-00000003/model.safetensors"), io.BytesIO(CONTENT))
    ingest(engine, run_id, 1, 0, 100, [saved])
    claims.finish(engine, run_id, 1, State.succeeded)
    return run_id


@pytest.fixture
def file(api, ended):
    (artifact,) = api.get(f"runs/{ended}/artifacts").json()["items"]
    assert (artifact["size_bytes"], artifact["sha256"]) == (len(CONTENT), SHA256)
    return f"artifacts/{artifact['id']}"


def test_a_download_comes_through_the_api(api, nobody, file):
    got = api.get(file)
    assert (got.status_code, got.content) == (200, CONTENT)
    assert got.headers["x-sha256"] == SHA256
    assert got.headers["content-disposition"].startswith("attachment;")
    assert nobody.get(f"/api/v1/{file}").status_code == 401


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=6990-", 6990, 7000), ("bytes=-10", 6990, 7000),
     ("bytes=10-99999", 10, 7000)],
)  # fmt: skip
def test_a_part_of_a_file(api, file, asked, start, end):
    got = api.get(file, headers={"Range": asked})
    assert (got.status_code, got.content) == (206, CONTENT[start:end])
    assert got.headers["content-range"] == f"bytes {start}-{end - 1}/7000"


def test_ranges_that_are_not_to_be_had(api, file):
    assert api.get(file, headers={"Range": "bytes=7000-"}).status_code == 416
    assert api.get(file, headers={"Range": "bytes=1-2", "If-Range": '"other"'}).content == CONTENT
    for whole in ("bytes=0-1,3-4", "lines=1-2", "bytes=-"):
        assert api.get(file, headers={"Range": whole}).content == CONTENT


def test_an_archive_goes_out_and_in(api, ended, settings):
    packed = api.get(f"runs/{ended}/archive").content
    entry = "files/checkpoints/step-00000003/model.safetensors"
    assert zipfile.ZipFile(io.BytesIO(packed)).read(entry) == CONTENT
    made = api.post("runs/import", content=packed, headers={"Content-Type": "application/zip"})
    assert made.status_code == 201, made.text
    run_id = made.json()["id"]
    (artifact,) = api.get(f"runs/{run_id}/artifacts").json()["items"]
    assert api.get(f"artifacts/{artifact['id']}").content == CONTENT
    assert api.get(f"runs/{run_id}/archive").content == packed
    assert list(settings.artifacts_dir.iterdir()) == []
    assert api.delete(f"runs/{run_id}").status_code == 204
    assert list(settings.blobs.list(f"artifacts/{run_id}")) == []
    assert api.get(f"runs/{ended}/archive").content == packed


def test_a_dataset_is_kept_there_and_told_to_whoever_claims(api, engine, settings):
    made = api.post("datasets?name=mine", content=CSV, headers={"Content-Type": "text/csv"})
    assert made.status_code == 201, made.text
    dataset = made.json()
    assert len(api.get("datasets/mine/preview").json()["items"]) == 1
    assert list(settings.datasets_dir.iterdir()) == []
    run = api.post("runs", json={"kind": "train", "task": {"kind": "csv", "train": "mine", "test": "mine"}})
    assert run.status_code == 201, run.text
    claim = claims.claim_run(engine, "w1", 20, settings=settings)
    (item,) = claim.luggage.items
    settings.blobs.fetch(item.blob, item.sha256, item.target)
    assert claim.luggage.files["mine"].read_bytes() == CSV
    api.post(f"runs/{run.json()['id']}/cancel")
    claims.release(engine, claim.run_id, 1, "")
    assert api.delete(f"runs/{claim.run_id}").status_code == 204
    assert api.delete("datasets/mine").status_code == 204
    assert dict(settings.blobs.list("datasets")) == {}
    assert dataset["size_bytes"] == len(CSV)


def test_an_inspection_is_read_from_there(api, engine, settings, ended):
    asked = api.post("runs", json={"kind": "inspect", "checkpoint": ended})
    assert asked.status_code == 201, asked.text
    run_id = asked.json()["id"]
    claims.claim_run(engine, "w1", 20, settings=settings)
    claims.mark_running(engine, run_id, 1)
    ingest(engine, run_id, 1, 0, 9, [FileSaved("inspection.json", "d" * 64, 2)])
    claims.finish(engine, run_id, 1, State.succeeded)
    gone = api.get(f"runs/{run_id}/inspection")
    assert (gone.status_code, "inspect again" in gone.text) == (404, True)


def test_while_it_is_away_the_answer_says_so(api, file, ended, monkeypatch, settings, storage_server):
    storage_server.stop()
    try:
        for path in (file, f"runs/{ended}/artifacts", f"runs/{ended}/archive"):
            got = api.get(path)
            assert got.status_code == 503, got.text
            assert "gives no answer" in got.json()["detail"]

        assert api.get(f"runs/{ended}").status_code == 200
    finally:
        storage_server.start()
