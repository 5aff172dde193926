"""Projection: a projector is one, full rank changes nothing, and the basis comes from where the configuration says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from laser_core.checkpoint import Checkpoint, load, save
from laser_core.config import ConfigError, EvalConfig, TrainConfig, parse_run
from laser_core.evaluate import evaluate
from laser_core.events import Metrics, Result, Snapshot
from laser_core.projection import Moments, Projector, touched
from laser_core.tracker import spectrum
from laser_core.train import train
from laser_core.unroll import unrolled

STORES: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "fused": {"kind": "laser-fused", "rank": 6, "adapt": False},
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    made: dict[str, Checkpoint] = {}

    def make(name: str, config: TrainConfig) -> Checkpoint:
        if name not in made:
            folder: Path = tmp_path_factory.mktemp(name)
            for event in train(config):
                if isinstance(event, Snapshot):
                    made[name] = load(folder / save(event, folder).name)
        return made[name]

    return make


@pytest.fixture
def measured(checkpoints: Any, tiny: Callable[..., TrainConfig]) -> Callable[..., tuple[Result, list[Metrics]]]:
    """The result and the metrics of an evaluation with projection; by default without a store."""

    def run(store: str = "none", **projection: Any) -> tuple[Result, list[Metrics]]:
        config = parse_run({"kind": "eval", "checkpoint": "here", "device": "cpu", "projection": projection})
        assert isinstance(config, EvalConfig)
        events = list(evaluate(config, checkpoints(store, tiny(store=STORES[store])), files={}))
        result = events[-1]
        assert isinstance(result, Result)
        return result, [e for e in events if isinstance(e, Metrics) and "projection.drift" in e.values]

    return run


@pytest.mark.parametrize("every", ["step", "call"])
@pytest.mark.parametrize("states", ["latent", "both"])
def test_full_rank_changes_nothing(measured: Any, every: str, states: str) -> None:
    _, points = measured(rank=16, every=every, states=states, multiple=2)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    for point in points:
        for name in ("exact_accuracy", "cell_accuracy", "drift"):
            plain = point.values[f"projection.plain_{name}"]
            assert point.values[f"projection.{name}"] == pytest.approx(plain, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("basis", ["measured", "random"])
def test_low_rank_changes_the_trajectory_and_not_the_plain_one(measured: Any, basis: str) -> None:
    (result, points), (_, full) = measured(rank=2, basis=basis, multiple=2), measured(rank=16, multiple=2)
    assert result.notes["projection"] == basis
    for point, other in zip(points, full, strict=True):
        assert point.values["projection.plain_drift"] == other.values["projection.plain_drift"]
    assert points[-1].values["projection.drift"] != pytest.approx(points[-1].values["projection.plain_drift"], rel=0.01)
    for multiple, step in ((1, 3), (2, 6)):
        named = {name: result.values[f"{name}_{multiple}x"] for name in points[0].values}
        assert named == points[step - 1].values


def test_the_tracked_basis_is_taken_where_there_is_one_of_that_rank(measured: Any) -> None:
    sources = {
        (store, rank): measured(store, rank=rank, multiple=1)[0].notes["projection"]
        for store in STORES
        for rank in (6, 7)
    }
    assert sources == {
        ("none", 6): "measured",
        ("none", 7): "measured",
        ("fused", 6): "tracked",
        ("fused", 7): "measured",
    }


@pytest.mark.parametrize(
    ("store", "projection", "message"),
    [
        ("none", {"rank": 17}, "projection.rank: expected at most the model's width 16, got 17"),
        ("none", {"rank": 3, "basis": "tracked"}, "projection.basis: expected 3 tracked directions .* tracked none"),
        ("fused", {"rank": 9, "basis": "tracked"}, "projection.basis: expected 9 tracked directions .* tracked 6"),
    ],
)
def test_a_basis_that_is_not_to_be_had_is_refused(measured: Any, store: str, projection: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measured(store, **projection)


@pytest.mark.parametrize("every", ["step", "call"])
def test_projected_states_lie_in_the_subspace_that_holds_most_energy(trial: Callable[..., Any], every: Any) -> None:
    case = trial()
    moments = Moments()
    with torch.inference_mode(), touched(case.model, moments, every) as after:
        plain = [carry.latent_BLD for carry, _ in unrolled(case.model, case.batch, 3, after=after)]
    basis_DR = spectrum(moments.grams["latent"])[0][:, :5].float()
    if every == "step":  # what was measured is what is projected
        x_ND = torch.cat([x.flatten(0, 1) for x in plain])
        held = (x_ND @ basis_DR).square().sum()
        assert held.item() == pytest.approx(torch.linalg.svdvals(x_ND)[:5].square().sum().item(), rel=1e-4)
    store = case.model.store
    projector = Projector({"latent": basis_DR}, "measured")
    with torch.inference_mode(), touched(case.model, projector, every) as after:
        for carry, _ in unrolled(case.model, case.batch, 3, after=after):
            latent_BLD, answer_BLD = carry.latent_BLD, carry.answer_BLD
            torch.testing.assert_close(projector("latent", latent_BLD), latent_BLD)
            assert torch.linalg.matrix_rank(latent_BLD.flatten(0, 1), rtol=1e-4) <= 5
            assert torch.linalg.matrix_rank(answer_BLD.flatten(0, 1), rtol=1e-4) > 5
    assert case.model.store is store
