"""Looks at a model's activations where activation stores would pack them, and changes nothing.

A site is a linear layer's input; a block's input where no linear layer takes it in as it is (``h`` of the token mixer; of
attention it is the input of ``qkv``, and the block's middle that of ``gate_up``); and what a call of the network puts out
(``h2``): n times the latent, then the answer. Recursion steps are the n + 1 calls of the last cycle, counted from 1.

Shapes: B batch, L positions, D width, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from laser_core.analysis.spectra import Moments
from laser_core.model import TRM
from laser_core.stores import ActivationStore
from laser_core.unroll import unrolled

if TYPE_CHECKING:
    from laser_core.layers import Block, Linear
    from laser_core.tasks import Puzzles

Sink = Callable[[str, int, Tensor], None]  # sees (site, recursion step, activations (..., D))


class RecordingStore(ActivationStore):
    """Keeps every activation, as eager training does, and shows ``sink`` those of each forward pass's last cycle."""

    def __init__(self, latent_steps: int, cycles: int, sink: Sink) -> None:
        super().__init__()
        self._sink, self._earlier = sink, (cycles - 1) * (latent_steps + 1)
        self._calls = 0

    def begin_forward(self) -> None:
        super().begin_forward()
        self._calls = 0

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        self._calls += 1
        y_BLD = super().call(blocks, hidden_BLD, injection_BLD)
        self._show(f"{blocks[-1].name}.h2", y_BLD)
        return y_BLD

    def block(self, block: Block, x_BLD: Tensor) -> Tensor:
        if block.mixer.transposed:
            self._show(f"{block.name}.h", x_BLD)
        return super().block(block, x_BLD)

    def linear(self, layer: Linear, x_NI: Tensor) -> Tensor:
        self._show(layer.site, x_NI)
        return super().linear(layer, x_NI)

    def _show(self, site: str, x: Tensor) -> None:
        step = self._calls - self._earlier
        if step > 0:
            self._sink(site, step, x.detach())


class UntiedStore(RecordingStore):
    """A control: every recursion step has blocks of its own, those of ``models``, and not the model's."""

    def __init__(self, models: Sequence[TRM], cycles: int, sink: Sink) -> None:
        super().__init__(len(models) - 1, cycles, sink)
        self._blocks = [model.blocks for model in models]

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        own = self._blocks[self._calls % len(self._blocks)]
        return super().call(own, hidden_BLD, injection_BLD)


class Place(NamedTuple):
    """Where activations were seen; steps count from 1."""

    site: str
    supervision_step: int
    recursion_step: int


class Observations:
    """Second moments of all rows, and a random sample of some ``points`` rows, of every place.

    Samples of a site's recursion steps are of the same rows in the same order.
    """

    def __init__(self, points: int, batches: int, seed: int) -> None:
        self.moments: dict[Place, Moments] = {}
        self.samples: dict[Place, Tensor] = {}
        self.batch = 0
        self.supervision_step = 0  # of what is seen next; 0 to look away
        self._quota, self._seed = -(-points // batches), seed

    def see(self, site: str, recursion_step: int, x: Tensor) -> None:
        """Adds activations (..., D) of the supervision step at hand."""
        if not self.supervision_step:
            return
        place, x_ND = Place(site, self.supervision_step, recursion_step), x.flatten(0, -2)
        seen = Moments.of(x_ND)
        self.moments[place] = self.moments[place] + seen if place in self.moments else seen
        if self._quota:
            generator = torch.Generator().manual_seed(self._seed + self.batch)
            drawn = torch.randperm(len(x_ND), generator=generator)[: self._quota].to(x.device)
            earlier = [self.samples[place]] if place in self.samples else []
            self.samples[place] = torch.cat([*earlier, x_ND[drawn]])


def looked_at(supervision_steps: int) -> list[int]:
    """The supervision steps that are looked at: the powers of two, and the last."""
    doubling = [1 << power for power in range(supervision_steps.bit_length())]
    return sorted({*doubling, supervision_steps})


@torch.inference_mode()
def _observe_batch(model: TRM, puzzles: Puzzles, steps: Sequence[int], seen: Observations) -> None:
    batch = puzzles.batch(slice(None), model.answer_init.device)
    seen.supervision_step = 1 if 1 in steps else 0
    for done, _ in enumerate(unrolled(model, batch, max(steps)), 1):
        seen.supervision_step = done + 1 if done + 1 in steps else 0


def observe(
    model: TRM,
    puzzles: Puzzles,
    batch_size: int,
    supervision_steps: int,
    points: int,
    seed: int,
    untied: Sequence[TRM] = (),
) -> Generator[int, None, Observations]:
    """Solves all ``puzzles``, yielding how many are done after each batch; the generator's value is what was seen.

    ``untied``: one model per recursion step, whose blocks take the place of ``model``'s own.
    """
    batches = -(-len(puzzles) // batch_size)
    seen = Observations(points, batches, seed)
    config, before = model.config, model.store
    if untied:
        model.store = UntiedStore(untied, config.cycles, seen.see)
    else:
        model.store = RecordingStore(config.latent_steps, config.cycles, seen.see)
    try:
        for start in range(0, len(puzzles), batch_size):
            chosen = puzzles[start : start + batch_size]
            _observe_batch(model, chosen, looked_at(supervision_steps), seen)
            seen.batch += 1
            yield start + len(chosen)
    finally:
        model.store = before
    return seen
