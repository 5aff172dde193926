"""Checkpoints come back bit for bit, and a kill or a full disk at any moment leaves the earlier ones loadable."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core import checkpoint
from laser_core.checkpoint import CheckpointError, latest, load, model_sha256, save
from laser_core.config import parse_run
from laser_core.events import CheckpointSaved, Event, Metrics, Snapshot
from laser_core.run import execute


def snapshot(step: int) -> Snapshot:
    generator = torch.Generator().manual_seed(step)
    model = {
        "raw.w": torch.randn(3, 4, generator=generator),
        "raw.half": torch.randn(5, generator=generator).bfloat16(),
        "ema.w": torch.tensor([float("inf"), -0.0, 1e-45]),
    }
    shared = torch.arange(6)
    training = {
        "whole": shared,
        "same": shared.view(2, 3),
        "part": shared[2:4],
        "expanded": torch.zeros(()).expand(2, 2),
        "transposed": torch.arange(6).view(2, 3).T,
        "none": torch.empty(0, 3),
        "number": torch.tensor(7, dtype=torch.int64),
        "flags": torch.tensor([True, False]),
        "generator": generator.get_state(),
    }
    return Snapshot(step, model, training, {"config": {"name": "ä"}, "loss": 0.1 + 0.2})


def assert_holds(loaded: checkpoint.Checkpoint, saved: Snapshot) -> None:
    assert (loaded.step, loaded.state) == (saved.step, saved.state)
    for got, wanted in ((loaded.model, saved.model), (loaded.training, saved.training)):
        assert got.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert got[name].dtype == tensor.dtype
            assert got[name].shape == tensor.shape
            same_bits = (
                got[name].contiguous().flatten().view(torch.uint8),
                tensor.contiguous().flatten().view(torch.uint8),
            )
            assert torch.equal(*same_bits), name


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved = save(snapshot(200), tmp_path)
    assert (saved.step, saved.name) == (200, "step-00000200")
    assert_holds(load(tmp_path / saved.name), snapshot(200))
    assert saved.files["model.safetensors"] == model_sha256(snapshot(200).model)
    assert saved.size_bytes == sum(path.stat().st_size for path in (tmp_path / saved.name).iterdir())
    assert save(snapshot(200), tmp_path).files == saved.files  # saved again, over itself


def test_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(snapshot(step), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


class Killed(BaseException):
    """The process is gone: nothing after it runs, no clean-up either."""


def boundaries(monkeypatch: pytest.MonkeyPatch, strike: Callable[[], None], at: int) -> list[str]:
    """Counts calls that change the disk, and strikes before the one numbered ``at``."""
    calls: list[str] = []

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                strike()
            return original(*args, **kwargs)

        return call

    monkeypatch.setattr(Path, "mkdir", watched("mkdir", Path.mkdir))
    monkeypatch.setattr(Path, "open", watched("open", Path.open))
    monkeypatch.setattr(Path, "rename", watched("rename", Path.rename))
    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", watched("rmtree", checkpoint.shutil.rmtree))
    return calls


def test_a_kill_at_any_moment_leaves_a_loadable_checkpoint(tmp_path: Path) -> None:
    def kill() -> None:
        raise Killed

    for at in range(1, 100):
        parent = tmp_path / str(at)
        save(snapshot(1), parent)
        save(snapshot(2), parent)
        with pytest.MonkeyPatch.context() as patch:
            calls = boundaries(patch, kill, at)
            try:
                save(snapshot(3), parent)
                break
            except Killed:
                pass
        found = latest(parent)
        assert found
        assert_holds(found, snapshot(found.step))
        assert found.step == (3 if "rename" in calls[:-1] else 2)
        save(snapshot(3), parent)  # the next attempt isn't in its way
        assert sorted(path.name for path in parent.iterdir()) == ["step-00000002", "step-00000003"]
    assert calls.count("fsync") == 6  # four files, their folder, its parent
    assert at > 12


def test_a_full_disk_at_any_moment_is_said_and_leaves_the_earlier_ones(tmp_path: Path) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for at in range(1, 100):
        parent = tmp_path / str(at)
        save(snapshot(1), parent)
        with pytest.MonkeyPatch.context() as patch:
            boundaries(patch, fill, at)
            try:
                save(snapshot(2), parent)
                break
            except OSError:
                pass
        assert latest(parent)
        assert not list(parent.glob("*.unfinished"))
    assert at > 12


RUN = parse_run(
    {
        "kind": "train",
        "task": {"kind": "sudoku", "size": 4, "train_puzzles": 8, "test_puzzles": 4},
        "model": {"block": "mlp", "width": 8, "layers": 1, "latent_steps": 1, "cycles": 1},
        "store": {"kind": "laser", "energy": 0.9},
        "training": {"steps": 4, "batch_size": 4, "warmup_steps": 1, "log_every": 1, "checkpoint_every": 2},
    }
)


def points(events: list[Event]) -> dict[tuple[str, int], float]:
    """What the metrics say, but for times."""
    metrics = [event for event in events if isinstance(event, Metrics)]
    return {(key, m.step): x for m in metrics for key, x in m.values.items() if not key.startswith("time.")}


@pytest.mark.parametrize("cut", [Killed(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))], ids=["killed", "full"])
def test_training_goes_on_bit_for_bit_whichever_save_was_cut_short_wherever(tmp_path: Path, cut: BaseException) -> None:
    """From the checkpoint that was last told of, as the database would have it."""

    def strike() -> None:
        raise cut

    calm = list(execute(RUN, tmp_path / "calm", threads=1))
    for at in range(1, 200):
        told: list[Event] = []
        with pytest.MonkeyPatch.context() as patch:
            boundaries(patch, strike, at)
            try:
                for event in execute(RUN, tmp_path / str(at), threads=1):
                    told.append(event)
            except type(cut):
                pass
            else:
                break
        saved = [event.name for event in told if isinstance(event, CheckpointSaved)]
        again = list(execute(RUN, tmp_path / str(at), resume=saved[-1] if saved else None, threads=1))
        assert points(told) | points(again) == points(calm)
        assert all(points(calm)[place] == value for place, value in points(told).items())
        assert again[-1].weights_sha256 == calm[-1].weights_sha256
    assert at > 2 * 12  # two saves of a dozen boundaries each


def test_a_damaged_checkpoint_falls_back_to_the_older_one(tmp_path: Path) -> None:
    for name in ("model.safetensors", "training.safetensors", "state.json", "manifest.json"):
        parent = tmp_path / name
        save(snapshot(1), parent)
        newest = parent / save(snapshot(2), parent).name
        content = bytearray((newest / name).read_bytes())
        content[len(content) // 2] ^= 1
        (newest / name).write_bytes(content)
        with pytest.raises(CheckpointError):
            load(newest)
        found = latest(parent)
        assert found
        assert found.step == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 1}', b"\xff", b"null"])
def test_a_broken_manifest_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / save(snapshot(1), tmp_path).name
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="step-00000001"):
        load(folder)
    assert latest(tmp_path) is None


def test_a_missing_file_or_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        load(tmp_path / "gone")
    assert latest(tmp_path / "gone") is None


def test_none_newer_than_asked_is_taken(tmp_path: Path) -> None:
    for step in (5, 10):
        save(snapshot(step), tmp_path)
    found = latest(tmp_path, up_to="step-00000009")
    assert found
    assert found.step == 5
    assert latest(tmp_path, up_to="step-00000004") is None


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        save(Snapshot(1, {}, {}, {"loss": float("nan")}), tmp_path)
