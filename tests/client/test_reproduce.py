"""Two runs of one configuration, compared bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from client.curves import Curve, Curves
from client.reproduce import compare


def run(name, sha256="a" * 64, **values):
    return {
        "id": name,
        "result": {"values": {"loss": 0.5, "step_time_s": len(name)} | values, "weights_sha256": sha256},
    }


def curves(*values, **others):
    return Curves({"train.loss": Curve(np.arange(len(values)), np.array(values, np.float64)), **others})


TIMES = {"time.step_s": Curve(np.array([1]), np.array([0.1]))}
ENVIRONMENT = {"device": "cpu", "versions": {"torch": "2.13"}, "environment": {"threads": "2"}}


def test_equal_but_for_times():
    pair = curves(1.0, np.nan, 0.5, **TIMES), curves(1.0, np.nan, 0.5)
    found = compare(run("r_1"), run("r_two"), pair, (ENVIRONMENT, ENVIRONMENT))
    assert found["identical"]
    assert found["words"] == (
        "Identical: 3 points of 1 metrics and the final weights (sha256 aaaaaaaaaaaa…) are equal bit for bit."
    )


@pytest.mark.parametrize(
    ("second", "step", "values"),
    [
        (curves(1.0, 2.0, np.nextafter(3.0, 4)), 2, [3.0, np.nextafter(3.0, 4)]),
        (curves(1.0, -0.0, 3.0), 1, [2.0, -0.0]),
        (curves(1.0, 2.0), 2, [3.0, None]),
        (curves(1.0, 2.0, 3.0, 4.0), 3, [None, 4.0]),
        (Curves(), None, ["", None]),
    ],
)
def test_the_first_difference_is_found(second, step, values):
    found = compare(run("r_1"), run("r_2"), (curves(1.0, 2.0, 3.0), second), (ENVIRONMENT, {}))
    assert not found["identical"]
    assert found["differences"] == [{"metric": "train.loss", "step": step, "values": values}]


def test_zero_has_two_signs():
    assert not compare(run("r_1"), run("r_2"), (curves(0.0), curves(-0.0)), ({}, {}))["identical"]


def test_what_has_changed_is_told():
    other = ENVIRONMENT | {"environment": {"threads": "1"}}
    pair = curves(1.0, 2.0), curves(1.0, 2.5)
    words = compare(run("r_1"), run("r_2", "b" * 64, loss=0.6), pair, (ENVIRONMENT, other))["words"]
    assert words == (
        "Different: of 1 metrics 1 differ; first train.loss at step 1 (2.0 and 2.5); the final weights are not equal. "
        "Changed in between: threads 2 → 1."
    )
    same = compare(run("r_1"), run("r_2", "b" * 64), (curves(1.0), curves(1.0)), (ENVIRONMENT, ENVIRONMENT))
    assert same["words"].endswith("not equal. Nothing that is recorded of the environment has changed.")
