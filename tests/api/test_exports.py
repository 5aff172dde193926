"""Tables of a run, read back by the readers that people have: pandas, pyarrow and Python's own csv."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pandas
import pyarrow.parquet as parquet
import pytest

from laser_core.events import Metrics, Trace
from store.ingest import ingest

ODD = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 0.1 + 0.2, 1 / 3]


def bits(values):
    """What tells -0.0 from 0.0, and any double from its neighbour."""
    return np.asarray(values, np.float64).view(np.int64).tolist()


@pytest.fixture
def measured(started, engine):
    """Id of a run with values and steps that a careless export loses."""
    run_id = started()
    said = [Metrics(2**53 + 1 + step, {"odd": value, 'a,"key"': value}) for step, value in enumerate(ODD)]
    energies = tuple(float(np.float32(value)) for value in (0.1, float("nan"), 1e-40))
    said += [Trace(2**53 + 1, "layers.0", 0, "init", 4, 16, 0.1 + 0.2, float("nan"), 2**53 + 1, energies, ())]
    said += [Trace(2**53 + 3, "layers.0", 1, "grow", 5, 16, 1.0, 1 / 3, 7, (), energies)]
    ingest(engine, run_id, 1, 0, 100, said)
    return run_id


def frame(api, run_id, name):
    response = api.get(f"runs/{run_id}/{name}")
    assert response.headers["content-disposition"] == f'attachment; filename="{run_id}-{name}"'
    if name.endswith(".csv"):
        return pandas.read_csv(io.BytesIO(response.content), keep_default_na=False, na_values=["nan"])
    return pandas.read_parquet(io.BytesIO(response.content))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_points_read_back_to_the_bit(api, measured, form):
    found = frame(api, measured, f"metrics.{form}")
    assert found.columns.tolist() == ["key", "step", "value"]
    assert found.dtypes[["step", "value"]].astype(str).tolist() == ["int64", "float64"]
    assert found["key"].tolist() == ['a,"key"'] * len(ODD) + ["odd"] * len(ODD)
    assert found["step"].tolist() == [2**53 + 1 + step for step in range(len(ODD))] * 2
    assert bits(found["value"]) == bits(ODD * 2)


def test_parquet_says_that_nothing_is_missing(api, measured):
    for name, columns in (("metrics", 3), ("traces", 11)):
        schema = parquet.read_schema(io.BytesIO(api.get(f"runs/{measured}/{name}.parquet").content))
        assert [field.nullable for field in schema] == [False] * columns


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_traces_read_back_to_the_bit(api, measured, form):
    found = frame(api, measured, f"traces.{form}")
    if form == "csv":
        for column in ("energies", "fidelities"):
            found[column] = [[float(word) for word in str(text).split()] for text in found[column]]
    energies = np.float32([0.1, float("nan"), 1e-40])
    assert found["step"].tolist() == [2**53 + 1, 2**53 + 3]
    assert found["saved_bytes"].tolist() == [2**53 + 1, 7]
    assert found[["site", "update", "event", "rank", "width"]].values.tolist() == [
        ["layers.0", 0, "init", 4, 16],
        ["layers.0", 1, "grow", 5, 16],
    ]
    assert bits(found["fidelity"]) == bits([0.1 + 0.2, 1.0])
    assert bits(found["drift"]) == bits([float("nan"), 1 / 3])
    for column, place in (("energies", 0), ("fidelities", 1)):
        np.testing.assert_array_equal(np.float32(found[column][place]), energies)
        assert len(found[column][1 - place]) == 0


def test_some_metrics_and_none(api, measured):
    some = api.get(f"runs/{measured}/metrics.parquet", params={"keys": "odd,other"}).content
    assert set(parquet.read_table(io.BytesIO(some))["key"].to_pylist()) == {"odd"}
    empty = api.post("runs", json={"kind": "train"}).json()["id"]
    for name in ("metrics", "traces"):
        assert len(frame(api, empty, f"{name}.csv")) == len(frame(api, empty, f"{name}.parquet")) == 0


# Both tables of a run of a million points, and the most memory that sending them took beyond what was held before.
MILLION = """
import json, resource, sys
import numpy as np
from api import exports
from laser_core.config import parse_run
from store import access, database, metrics, submit, users
from store.settings import Settings
settings = Settings(home=sys.argv[1])
engine = database.connect(settings.database_url)
database.migrate(engine)
run, _ = submit.create_run(engine, parse_run({"kind": "train"}), users.add(engine, "someone", "member").id)
with engine.begin() as connection:
    for start in range(0, 1_000_000, 50_000):
        steps = np.arange(start, start + 50_000)
        metrics.append(connection, run.number, {"loss": (steps, np.random.default_rng(start).random(50_000))})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def size(response):
    import asyncio
    async def read():
        return sum([len(piece) async for piece in response.body_iterator])
    return asyncio.run(read())
before = peak()
csv = size(exports.metrics_csv(run.id, engine))
between = peak()
parquet = size(exports.metrics_parquet(run.id, engine, settings))
print(json.dumps({"csv": csv, "parquet": parquet, "csv_kib": between - before, "parquet_kib": peak() - between}))
"""


def test_a_million_points_pass_through_little_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", MILLION, str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(found)
    assert found["csv"] > 25e6
    assert found["parquet"] > 8e6
    assert found["csv_kib"] < 10_000
    assert found["parquet_kib"] < 40_000
    assert not list(tmp_path.glob("tmp*"))
