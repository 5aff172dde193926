"""Rollouts: the choosers pick by their rules, the noise belongs to the puzzle, and one rollout is plain evaluation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from laser_core.config import EvalConfig, parse_run
from laser_core.model import TRM, Batch, Carry
from laser_core.rollouts import Rollouts, disturbed, roll_out
from laser_core.sudoku import is_solution
from laser_core.tasks import Puzzles
from laser_core.unroll import started, unrolled


def evaluation(**changes: Any) -> EvalConfig:
    config = parse_run({"kind": "eval", "checkpoint": "here", "supervision_steps": 2} | changes)
    assert isinstance(config, EvalConfig)
    return config


def rolled(model: TRM, puzzles: Puzzles, config: EvalConfig, valid: Any = None) -> Rollouts:
    rolling = roll_out(model, puzzles, config, valid)
    while True:
        try:
            next(rolling)
        except StopIteration as end:
            value: Rollouts = end.value
            return value


# One puzzle: rollouts 0..4 answer a, b, b, c, c; c is right, c and b are accepted by the rules; b is the surest.
ONE = Rollouts(
    exact_NK=torch.tensor([[False, False, False, True, True]]),
    cell_accuracy_NK=torch.tensor([[0.1, 0.2, 0.2, 1.0, 1.0]]),
    halt_NK=torch.tensor([[-1.0, 5.0, 2.0, 3.0, 5.0]]),
    answer_NK=torch.tensor([[0, 1, 1, 3, 3]]),
    valid_NK=torch.tensor([[False, False, True, True, True]]),
)


@pytest.mark.parametrize(
    ("count", "picks"),
    [
        (1, {"halt": 0, "mode": 0, "verifier": 0, "any": 0}),
        (2, {"halt": 1, "mode": 0, "verifier": 1, "any": 0}),  # nothing accepted: the surest; of equals the earliest
        (3, {"halt": 1, "mode": 1, "verifier": 2, "any": 0}),
        (4, {"halt": 1, "mode": 1, "verifier": 2, "any": 3}),
        (5, {"halt": 1, "mode": 1, "verifier": 2, "any": 3}),
    ],
)
def test_each_chooser_picks_by_its_rule(count: int, picks: dict[str, int]) -> None:
    assert {name: pick.item() for name, pick in ONE.chosen(count).items()} == picks


def test_validity_is_that_of_the_picks_and_of_the_first_rollout() -> None:
    picks = ONE.chosen(5)
    assert ONE.validity(picks["verifier"]) == {"valid_accuracy": 1.0, "plain.valid_accuracy": 0.0}
    assert ONE.validity(picks["halt"]) == {"valid_accuracy": 0.0, "plain.valid_accuracy": 0.0}


def test_without_a_verifier_there_is_no_such_chooser() -> None:
    blind = dataclasses.replace(ONE, valid_NK=torch.empty(1, 0, dtype=torch.bool))
    assert set(blind.chosen(5)) == {"halt", "mode", "any"}
    assert blind.validity(blind.chosen(5)["halt"]) == {}
    assert set(next(blind.curve()).values) == {f"rollouts.exact_accuracy.{name}" for name in ("halt", "mode", "any")}


def some_puzzles(count: int, cells: int = 9) -> Puzzles:
    generator = torch.Generator().manual_seed(1)
    return Puzzles(*(torch.randint(1, 7, (count, cells), generator=generator, dtype=torch.uint8) for _ in range(2)))


def test_answers_depend_neither_on_batch_size_nor_on_the_number_of_rollouts(trial: Callable[..., Any]) -> None:
    model, puzzles = trial().model, some_puzzles(11)
    whole = rolled(model, puzzles, evaluation(rollouts=5, batch_size=64, noise=1.0))
    assert (whole.answer_NK > 0).any(), "the noise must matter for this test to mean anything"
    for batch_size, rollouts in ((1, 5), (4, 5), (64, 3)):
        other = rolled(model, puzzles, evaluation(rollouts=rollouts, batch_size=batch_size, noise=1.0))
        assert torch.equal(other.answer_NK, whole.answer_NK[:, :rollouts])
        torch.testing.assert_close(other.halt_NK, whole.halt_NK[:, :rollouts])


def test_another_seed_is_another_noise(trial: Callable[..., Any]) -> None:
    model, puzzles = trial().model, some_puzzles(4)
    first, again, other = (rolled(model, puzzles, evaluation(rollouts=3, noise=1.0, seed=s)) for s in (0, 0, 1))
    assert torch.equal(first.halt_NK, again.halt_NK)
    assert torch.equal(first.halt_NK[:, 0], other.halt_NK[:, 0])
    assert (first.halt_NK[:, 1:] != other.halt_NK[:, 1:]).all()


def test_the_first_rollout_is_plain_evaluation(trial: Callable[..., Any]) -> None:
    model, puzzles = trial().model, some_puzzles(6)
    batch = puzzles.batch(slice(None), torch.device("cpu"))
    with torch.inference_mode():
        *_, (_, outputs) = unrolled(model, batch, 2)
    right = (outputs.logits_BSV.argmax(-1) == batch.labels_BS).float().mean(1)
    first = rolled(model, puzzles, evaluation(rollouts=2))
    assert torch.equal(first.cell_accuracy_NK[:, 0], right)
    assert torch.equal(first.halt_NK[:, 0], outputs.halt_logit_B)


def test_noise_is_normal_of_the_given_size_and_new_for_every_puzzle_rollout_and_step(trial: Callable[..., Any]) -> None:
    model = trial(batch_size=40).model
    batch = some_puzzles(40).batch(slice(None), torch.device("cpu"))
    carry = started(model, batch)
    later = dataclasses.replace(carry, steps_B=carry.steps_B + 1)

    def drawn(at: Carry, rollout: int) -> Tensor:
        changed = disturbed(0.3, 0, rollout, 0)(at)
        assert torch.equal(changed.answer_BLD, at.answer_BLD)
        return (changed.latent_BLD - at.latent_BLD).flatten(1)

    noise = torch.cat([drawn(carry, 1), drawn(carry, 2), drawn(later, 1)])
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, abs=0.01)
    correlations = torch.corrcoef(noise) - torch.eye(len(noise))
    assert correlations.abs().max() < 6 / noise.shape[1] ** 0.5


def sudoku_valid(inputs_BS: Tensor, predictions_BS: Tensor) -> Tensor:
    kept = ((inputs_BS == 1) | (inputs_BS == predictions_BS)).all(-1)
    solved = [is_solution(tuple(cells), 4) for cells in (predictions_BS - 1).tolist()]
    return kept & torch.tensor(solved)


class Lucky(TRM):
    """Right about a puzzle once its latent happens to be high in one place; always a little surer when it is wrong."""

    def supervision_step(self, carry: Carry, batch: Batch) -> Any:
        carry, outputs = super().supervision_step(carry, batch)
        lucky_B = (torch.arange(len(batch.inputs_BS)) + carry.latent_BLD[:, 0, 0].mul(1e4).long()) % 4 == 0
        answers_BS = torch.where(lucky_B[:, None], batch.labels_BS, batch.inputs_BS)
        logits_BSV = torch.nn.functional.one_hot(answers_BS, self.vocab_size).float()
        return carry, dataclasses.replace(outputs, logits_BSV=logits_BSV, halt_logit_B=-lucky_B.float())


def test_a_verifier_finds_the_right_rollout_where_the_halting_value_misleads(tiny: Callable[..., Any]) -> None:
    from laser_core.stores import ActivationStore
    from laser_core.tasks import prepare

    preparing = prepare(tiny().task, {})
    try:
        while True:
            next(preparing)
    except StopIteration as end:
        puzzles = end.value.test
    model = Lucky(tiny().model, 6, 16, store=ActivationStore(), generator=torch.Generator().manual_seed(0))
    found = rolled(model, puzzles, evaluation(rollouts=8), sudoku_valid)
    assert torch.equal(found.exact_NK, found.valid_NK)
    picks = found.chosen(8)
    accuracy = {name: found.accuracy(pick)[0] for name, pick in picks.items()}
    assert accuracy["verifier"] == accuracy["any"] > 0.5
    assert accuracy["halt"] < 0.5
    curve = [point.values["rollouts.exact_accuracy.verifier"] for point in found.curve()]
    assert curve == sorted(curve)
    assert len(curve) == 8
