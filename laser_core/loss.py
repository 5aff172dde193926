"""TRM's loss: stable-max cross-entropy of the answer and binary cross-entropy of the decision to halt.

Shapes: B batch, S cells, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from laser_core.model import Outputs

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

IGNORED = -100  # label of a cell that isn't scored


@dataclass(frozen=True)
class Losses:
    """Sums over the batch; divide by the batch size for means."""

    total: Float[Tensor, ""]  # lm + 0.5 · halt; the one to differentiate
    lm: Float[Tensor, ""]
    halt: Float[Tensor, ""]
    exact_B: Bool[Tensor, "B"]  # whether every labelled cell is right
    cell_accuracy_B: Float[Tensor, "B"]  # share of labelled cells that are right


def act_loss(outputs: Outputs, labels_BS: Int[Tensor, "B S"]) -> Losses:
    """Loss of one supervision step (TRM's ACT loss without the continue loss), summed over the batch.

    Every puzzle weighs the same however many cells it labels; labels of -100 are ignored.
    """
    labels_BS = labels_BS.long()
    labelled_BS = labels_BS != IGNORED
    cells_B = labelled_BS.sum(-1)
    right_B = (labelled_BS & (outputs.logits_BSV.detach().argmax(-1) == labels_BS)).sum(-1)
    exact_B = right_B == cells_B

    nll_BS = stablemax_nll(outputs.logits_BSV, labels_BS.clamp_min(0))
    lm = (torch.where(labelled_BS, nll_BS, 0.0) / cells_B.clamp_min(1).unsqueeze(-1)).sum()
    halt_logit_B = outputs.halt_logit_B
    halt = F.binary_cross_entropy_with_logits(halt_logit_B, exact_B.to(halt_logit_B.dtype), reduction="sum")
    return Losses(lm + 0.5 * halt, lm.detach(), halt.detach(), exact_B, right_B / cells_B.clamp_min(1))


def stablemax_nll(logits: Float[Tensor, "*cells V"], labels: Int[Tensor, "*cells"]) -> Float[Tensor, "*cells"]:
    """-log of the stable-max probability of ``labels``, in float64: p(x) ∝ x + 1 for x ≥ 0, else 1 / (1 - x)
    (arXiv 2501.04697)."""
    x = logits.double()
    weights = torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)
    log_p = torch.log(weights / weights.sum(-1, keepdim=True))
    return -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
