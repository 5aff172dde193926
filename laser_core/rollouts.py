"""More answers at inference time: rollouts of a trained model whose latent is disturbed, and how one of them is chosen.

Normal noise is added to the latent before every supervision step, so that each rollout takes another path and may
leave a wrong answer behind (PTRM, arXiv 2605.19943). The first rollout is undisturbed: one rollout is plain evaluation.

Shapes: N puzzles, B batch, K rollouts, S cells.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from laser_core.config import EvalConfig
from laser_core.events import Metrics
from laser_core.loss import IGNORED
from laser_core.model import TRM, Batch, Carry
from laser_core.unroll import Between, unchanged, unrolled

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from laser_core.tasks import Puzzles

Verifier = Callable[[Tensor, Tensor], Tensor]  # puzzles and answers (B, S) -> whether the rules accept them (B)


@dataclass(frozen=True)
class Rollouts:
    """What K rollouts of N puzzles answered."""

    exact_NK: Bool[Tensor, "N K"]
    cell_accuracy_NK: Float[Tensor, "N K"]
    halt_NK: Float[Tensor, "N K"]  # halting logits at the end
    answer_NK: Int[Tensor, "N K"]  # the first rollout of the puzzle that gave this answer
    valid_NK: Bool[Tensor, "N K"]  # whether the rules accept the answer; (N, 0) without a verifier

    def chosen(self, count: int) -> dict[str, Int[Tensor, "N"]]:
        """Each chooser's pick among the first ``count`` rollouts; of equals the earliest.

        ``halt``: the highest halting value; ``mode``: the most frequent answer; ``verifier``: the first that the rules
        accept, else the highest halting value; ``any``: a right one where there is one, an upper bound that knows the solution.
        """
        halt_N = self.halt_NK[:, :count].argmax(1)
        answer_NK = self.answer_NK[:, :count]
        votes_NK = torch.zeros_like(answer_NK).scatter_add(1, answer_NK, torch.ones_like(answer_NK))
        picks = {"halt": halt_N, "mode": votes_NK.argmax(1), "any": self.exact_NK[:, :count].int().argmax(1)}
        valid_NK = self.valid_NK[:, :count]
        if valid_NK.shape[1]:
            picks["verifier"] = torch.where(valid_NK.any(1), valid_NK.int().argmax(1), halt_N)
        return picks

    def accuracy(self, pick_N: Int[Tensor, "N"]) -> tuple[float, float]:
        """Exact and cell accuracy of the rollouts that were picked."""
        return _mean_of(self.exact_NK, pick_N), _mean_of(self.cell_accuracy_NK, pick_N)

    def validity(self, pick_N: Int[Tensor, "N"]) -> dict[str, float]:
        """Share of the picks, and of the undisturbed rollouts, that the rules accept; where solutions aren't unique (mazes)
        it is above exact accuracy. Empty without a verifier."""
        if not self.valid_NK.shape[1]:
            return {}
        plain_N = torch.zeros_like(pick_N)
        return {
            "valid_accuracy": _mean_of(self.valid_NK, pick_N),
            "plain.valid_accuracy": _mean_of(self.valid_NK, plain_N),
        }

    def curve(self) -> Iterator[Metrics]:
        """``rollouts.exact_accuracy.<chooser>`` at every number of rollouts."""
        for count in range(1, self.exact_NK.shape[1] + 1):
            picks = self.chosen(count)
            yield Metrics(count, {f"rollouts.exact_accuracy.{name}": self.accuracy(picks[name])[0] for name in picks})


def roll_out(
    model: TRM, puzzles: Puzzles, config: EvalConfig, valid: Verifier | None
) -> Generator[int, None, Rollouts]:
    """``config.rollouts`` answers to every puzzle, all but the first under noise of standard deviation ``config.noise``.

    Yields how many puzzles are done after each batch. The noise depends on the seed, the puzzle's place among ``puzzles``,
    the rollout and the supervision step alone: neither the batch size nor the number of rollouts changes it.
    """
    device = model.answer_init.device
    parts: list[Rollouts] = []
    for start in range(0, len(puzzles), config.batch_size):
        batch = puzzles.batch(slice(start, start + config.batch_size), device)
        answers, halts = [], []
        for rollout in range(config.rollouts):
            before = disturbed(config.noise, config.seed, rollout, start) if rollout else unchanged
            predictions_BS, halt_B = _answer(model, batch, config.supervision_steps, before)
            answers.append(predictions_BS)
            halts.append(halt_B)
        parts.append(_judged(batch, torch.stack(answers, 1), torch.stack(halts, 1), valid))
        yield start + len(batch.inputs_BS)
    return Rollouts(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def disturbed(noise: float, seed: int, rollout: int, first_puzzle: int) -> Between:
    """Adds normal noise to the latents of the puzzles from ``first_puzzle`` on, anew at every supervision step."""

    def add(carry: Carry) -> Carry:
        step = int(carry.steps_B[0])
        draws = [
            _normal(carry.latent_BLD.shape[1:], f"{seed} {first_puzzle + row} {rollout} {step}")
            for row in range(len(carry.latent_BLD))
        ]
        latent_BLD = carry.latent_BLD + noise * torch.stack(draws).to(carry.latent_BLD)
        return dataclasses.replace(carry, latent_BLD=latent_BLD)

    return add


def _normal(shape: torch.Size, purpose: str) -> Tensor:
    digest = hashlib.sha256(f"rollout {purpose}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    return torch.randn(shape, generator=generator)  # on the CPU, so that every device gets the same


@torch.inference_mode()
def _answer(model: TRM, batch: Batch, supervision_steps: int, before: Between) -> tuple[Tensor, Tensor]:
    for _, outputs in unrolled(model, batch, supervision_steps, before=before):
        last = outputs
    return last.logits_BSV.argmax(-1).cpu(), last.halt_logit_B.cpu()


def _judged(batch: Batch, answers_BKS: Tensor, halt_BK: Tensor, valid: Verifier | None) -> Rollouts:
    inputs_BS, labels_BS = batch.inputs_BS.cpu(), batch.labels_BS.cpu()
    labelled_BKS = (labels_BS != IGNORED)[:, None]
    right_BK = (labelled_BKS & (answers_BKS == labels_BS[:, None])).sum(-1)
    cells_B1 = labelled_BKS.sum(-1)
    equal_BKK = torch.stack([(answers_BKS == one).all(-1) for one in torch.split(answers_BKS, 1, dim=1)], 1)
    valid_BK = torch.empty(len(labels_BS), 0, dtype=torch.bool)
    if valid:
        valid_BK = torch.stack([valid(inputs_BS, answer_BS) for answer_BS in answers_BKS.unbind(1)], 1)
    accuracy_BK, first_BK = right_BK / cells_B1.clamp_min(1), equal_BKK.int().argmax(-1)
    return Rollouts(right_BK == cells_B1, accuracy_BK, halt_BK, first_BK, valid_BK)


def _mean_of(values_NK: Tensor, pick_N: Tensor) -> float:
    return values_NK.gather(1, pick_N[:, None]).double().mean().item()
