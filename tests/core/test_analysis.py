"""Analysis: the mathematics against clouds of known shape, what is looked at, and a whole run."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from laser_core.analysis.angles import cosines, held_energy, largest_angle, overlap, turning
from laser_core.analysis.dimension import gaussian_cloud, two_nn
from laser_core.analysis.recording import Place, looked_at, observe
from laser_core.analysis.spectra import (
    Moments,
    centred_energies,
    directions,
    participation_ratio,
    pooled,
    ranks,
    stable_rank,
)
from laser_core.analysis.tracking import Follower
from laser_core.analysis.verdicts import effectively_linear, low_dimensional, trackable, varied
from laser_core.config import AnalysisConfig, ConfigError, TrainConfig, parse_run
from laser_core.events import Event, FileSaved, Metrics, Result, Spectrum, Started, from_json, to_json
from laser_core.run import ANALYSIS, CHECKPOINTS, execute
from laser_core.tasks import Puzzles
from laser_core.tracker import Policy

Make = Callable[..., TrainConfig]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def basis(width: int, rank: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(normal(width, rank, seed=seed)).Q


# --- spectra


def test_energies_are_squared_singular_values_and_centring_takes_the_mean_away() -> None:
    x = normal(50, 8) + 3
    known, energies = directions(Moments.of(x))
    torch.testing.assert_close(energies, torch.linalg.svdvals(x).square())
    torch.testing.assert_close(known.T @ known, torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(centred_energies(Moments.of(x)), torch.linalg.svdvals(x - x.mean(0)).square())


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    x = normal(30, 5)
    whole, parts = Moments.of(x), pooled(Moments.of(part) for part in x.split(7))
    torch.testing.assert_close(parts.covariance_DD, whole.covariance_DD)
    assert parts.rows == 30


def test_ranks_and_effective_ranks_of_known_spectra() -> None:
    flat, single = torch.ones(20, dtype=torch.float64), torch.eye(20, dtype=torch.float64)[0]
    assert ranks(flat) == {"0.9": 18, "0.95": 19, "0.99": 20, "0.999": 20}
    assert set(ranks(single).values()) == {1}
    assert participation_ratio(flat) == stable_rank(flat) == pytest.approx(20)
    assert participation_ratio(single) == stable_rank(single) == 1
    assert participation_ratio(flat * 0) == stable_rank(flat * 0) == 0


# --- dimension


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_two_nn_finds_the_dimension_of_a_flat_cloud_in_a_wide_space(dimension: int) -> None:
    cloud = normal(1500, dimension) @ basis(40, dimension, seed=1).T
    assert two_nn(cloud) == pytest.approx(dimension, rel=0.12)


def test_two_nn_finds_two_dimensions_in_a_swiss_roll_that_takes_three_linear_ones() -> None:
    u, v = torch.rand(2, 2500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angle = 1.5 * math.pi * (1 + 2 * u)
    roll = torch.stack((angle * angle.cos(), 20 * v, angle * angle.sin()), dim=1)
    assert two_nn(roll) == pytest.approx(2, rel=0.12)
    energies = centred_energies(Moments.of(roll))
    assert ranks(energies)["0.95"] == 3
    flat = two_nn(gaussian_cloud(energies, 2500, torch.Generator().manual_seed(0)))
    assert flat == pytest.approx(3, rel=0.12)


def test_two_nn_sees_neither_scale_nor_repeated_points_nor_a_far_origin() -> None:
    cloud = normal(600, 3)
    found = two_nn(cloud)
    assert found is not None
    assert two_nn(torch.cat((cloud, cloud))) == pytest.approx(found)
    assert two_nn(7 * cloud + 1e4) == pytest.approx(found, rel=1e-6)
    assert two_nn(cloud[:10].repeat(100, 1)) is None


# --- angles


def test_angles_of_planes_at_a_known_angle() -> None:
    a = torch.eye(3, dtype=torch.float64)[:, :2]
    turned = torch.tensor([[1.0, 0, 0], [0, math.cos(0.5), math.sin(0.5)]], dtype=torch.float64).T
    torch.testing.assert_close(cosines(a, turned), torch.tensor([1.0, math.cos(0.5)], dtype=torch.float64))
    assert largest_angle(cosines(a, turned)) == pytest.approx(math.degrees(0.5))
    assert overlap(cosines(a, turned)) == pytest.approx((1 + math.cos(0.5) ** 2) / 2)


def test_random_subspaces_overlap_by_chance_and_the_same_one_wholly() -> None:
    bases = [basis(60, 15, seed) for seed in range(6)]
    found = turning([*bases, bases[0] @ basis(15, 15, 9)])
    beside = [found.overlap[i][j] for i in range(6) for j in range(i)]
    assert sum(beside) / len(beside) == pytest.approx(found.chance, abs=0.03)
    assert found.overlap[0][6] == pytest.approx(1)
    assert found.overlap[2][1] == found.overlap[1][2]


def test_a_basis_holds_the_energy_of_what_lies_in_it() -> None:
    inside = basis(12, 4)
    gram = inside @ inside.T
    assert held_energy(gram, inside) == pytest.approx(1)
    assert held_energy(torch.eye(12, dtype=torch.float64), inside) == pytest.approx(4 / 12)


# --- what is looked at


@pytest.mark.parametrize("block", ["attention", "mlp"])
def test_every_site_is_seen_at_every_recursion_step_of_the_last_cycle_alone(
    trial: Callable[..., Any], block: str
) -> None:
    model = trial(block=block, layers=2).model
    before, tokens = model.store, torch.randint(0, 7, (6, 9), dtype=torch.uint8)
    puzzles = Puzzles(tokens, tokens)
    watching = observe(model, puzzles, batch_size=4, supervision_steps=3, points=20, seed=0)
    counts = []
    while True:
        try:
            counts.append(next(watching))
        except StopIteration as end:
            seen = end.value
            break
    assert counts == [4, 6]
    assert model.store is before
    assert {place.supervision_step for place in seen.moments} == {1, 2, 3}
    assert {place.recursion_step for place in seen.moments} == {1, 2, 3}
    names = {"qkv", "o"} if block == "attention" else {"h", "mlp_t.gate_up", "mlp_t.down"}
    sites = {f"layers.{i}.{name}" for i in (0, 1) for name in names | {"gate_up", "down"}} | {"layers.1.h2"}
    assert {place.site for place in seen.moments} == sites
    output = seen.moments[Place("layers.1.h2", 1, 1)]
    assert output.rows == 6 * 9
    assert float(output.gram_DD.trace()) == pytest.approx(6 * 9 * 32, rel=1e-3)  # its rows have norm √D
    assert len(seen.samples[Place("layers.1.h2", 3, 2)]) == 20


def test_supervision_steps_looked_at_are_powers_of_two_and_the_last() -> None:
    assert looked_at(1) == [1]
    assert looked_at(6) == [1, 2, 4, 6]
    assert looked_at(16) == [1, 2, 4, 8, 16]


# --- tracking


def test_a_follower_tells_a_turning_subspace_from_its_frozen_basis() -> None:
    def activations(step: int) -> list[Tensor]:
        angle = 0.05 * step
        turned = torch.eye(32, dtype=torch.float64)[:, :6].clone()
        turned[0, 0], turned[10, 0] = math.cos(angle), math.sin(angle)
        return [(normal(200, 6, seed=2 * step + i) @ turned.T).float() for i in (0, 1)]

    follower = Follower("site", 32, Policy(update_every=1))
    for step in range(1, 25):
        follower.step(step, activations(step))
    seen = follower.seen
    assert len(seen.tracked) == len(seen.frozen) == len(seen.exact) == 23
    assert seen.tracked[-1] == pytest.approx(seen.exact[-1], abs=0.01)
    assert seen.tracked[-1] is not None
    assert seen.frozen[-1] is not None
    assert seen.tracked[-1] > 0.95
    assert seen.frozen[-1] < 0.93


# --- verdicts


def test_verdicts_follow_their_numbers() -> None:
    assert low_dimensional({"a": 0.2, "b": 0.4, "c": 0.9}).answer == "holds"
    assert low_dimensional({"a": 0.6, "b": 0.7}).answer == "does not hold"
    assert effectively_linear({"a": 0.9, "b": 0.3, "c": 0.8}).numbers["sites_flat"] == 2
    assert effectively_linear({}).answer == "not measured"
    finds, serves = trackable({"a": 0.97}, {"a": 0.975}, {"a": 0.5}, sites=2)
    assert (finds.answer, serves.answer) == ("holds", "does not hold")
    assert serves.numbers["frozen_least"] == 0.5
    assert serves.numbers["sites_in_full"] == 1
    assert [verdict.answer for verdict in trackable({}, {}, {}, 1)] == ["not measured"] * 2
    assert [verdict.answer for verdict in varied({"a": 0.05, "b": 0.5})] == ["holds", "holds"]
    assert [verdict.answer for verdict in varied({"a": 0.3, "b": 0.5})] == ["does not hold", "does not hold"]


# --- the run


def analysis(checkpoint: Path, **changes: Any) -> AnalysisConfig:
    small = {"max_puzzles": 6, "batch_size": 4, "supervision_steps": 2, "dimension_points": 60, "tracking_steps": 3}
    config = parse_run({"kind": "analysis", "checkpoint": str(checkpoint), "device": "cpu"} | small | changes)
    assert isinstance(config, AnalysisConfig)
    return config


@pytest.fixture
def run(tmp_path: Path, tiny: Make) -> Path:
    for _ in execute(tiny(), tmp_path / "trained"):
        pass
    return tmp_path / "trained"


def test_an_analysis_tells_spectra_saves_its_report_and_ends_in_verdicts(run: Path, tmp_path: Path) -> None:
    events: list[Event] = list(execute(analysis(run), tmp_path / "a"))
    assert [from_json(to_json(event)) for event in events] == events
    assert isinstance(events[0], Started)
    spectra = [event for event in events if isinstance(event, Spectrum)]
    assert {spectrum.model for spectrum in spectra} == {"trained", "initial", "untied", "step-00000010"}
    assert {"latent", "answer", "layers.0.qkv"} <= {spectrum.site for spectrum in spectra}
    assert all(sum(spectrum.energies) == pytest.approx(1) for spectrum in spectra if spectrum.width <= 64)
    tracked = [event for event in events if isinstance(event, Metrics) and "tracking.energy_ratio" in event.values]
    assert [event.step for event in tracked] == [2, 3]
    saved, result = events[-2:]
    assert isinstance(saved, FileSaved)
    assert isinstance(result, Result)
    report = json.loads((tmp_path / "a" / ANALYSIS).read_text())
    assert report["verdicts"] == json.loads(result.notes["verdicts"])
    assert [verdict["claim"] for verdict in report["verdicts"]] == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert set(report["drift"]) == {"initial", "step-00000010"}
    assert report["spectra"] == [dataclasses.asdict(s) | {"energies": list(s.energies)} for s in spectra]


def test_the_same_analysis_gives_the_same_report_and_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name in ("a", "b"):
        list(execute(analysis(run, controls=False, other_checkpoints=False), tmp_path / name))
    first, second = ((tmp_path / name / ANALYSIS).read_text() for name in ("a", "b"))
    assert first == second
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_switched_off_is_not_measured(run: Path, tmp_path: Path) -> None:
    folder = run / CHECKPOINTS / "step-00000010"
    changes = {"controls": False, "other_checkpoints": False, "dimension_points": 0, "tracking_steps": 0}
    events = list(execute(analysis(folder, **changes), tmp_path / "a"))
    assert {event.step for event in events if isinstance(event, Spectrum)} == {10}
    result = events[-1]
    assert isinstance(result, Result)
    answers = {verdict["claim"]: verdict["answer"] for verdict in json.loads(result.notes["verdicts"])}
    assert [answers[claim] for claim in ("1b", "2a", "2b")] == ["not measured"] * 3


def test_puzzles_of_another_size_and_a_missing_checkpoint_are_refused(run: Path, tmp_path: Path) -> None:
    task = {"kind": "sudoku", "size": 6, "max_blanks": 4, "train_puzzles": 5, "test_puzzles": 5}
    with pytest.raises(ConfigError, match="task: "):
        list(execute(analysis(run, task=task, tracking_steps=0), tmp_path / "a"))
    with pytest.raises(ConfigError, match=r"tracking_steps: .*16 cells"):
        list(execute(analysis(run, task=task), tmp_path / "a"))
    with pytest.raises(ConfigError, match="name the run whose checkpoint to analyse"):
        parse_run({"kind": "analysis", "checkpoint": ""})
    assert not (tmp_path / "a").exists()
