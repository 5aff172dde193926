"""GPUs and cores, found without torch."""

from __future__ import annotations

import os

import pytest

from worker import device


@pytest.fixture
def driver(tmp_path):
    """Two GPUs as the driver lists them."""
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / address).mkdir()
        (tmp_path / address / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 12\n")
    return tmp_path


def test_gpus_are_counted_or_taken_as_given(driver, tmp_path_factory):
    assert device.gpus({}, driver) == ["0", "1"]
    assert device.gpus({"CUDA_VISIBLE_DEVICES": "3,GPU-ab"}, driver) == ["3", "GPU-ab"]
    assert device.gpus({"CUDA_VISIBLE_DEVICES": ""}, driver) == []
    assert device.gpus({}, tmp_path_factory.mktemp("none")) == []


def test_the_description_is_for_people(driver, tmp_path_factory):
    assert device.description(driver) == "2 x NVIDIA H100"
    assert device.description(tmp_path_factory.mktemp("none")) == "cpu"


def test_cores_are_shared_evenly_and_never_less_than_one():
    cores = len(os.sched_getaffinity(0))
    assert device.threads(1, {}) == cores
    assert device.threads(1000, {}) == 1
    assert device.threads(1, {"OMP_NUM_THREADS": "3"}) == 3
    assert device.threads(1, {"OMP_NUM_THREADS": "4,2"}) == cores
