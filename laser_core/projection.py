"""The states of the recursion projected onto few directions at inference: does it stay accurate, and does it settle?

``z <- z·QQᵀ`` after every supervision step, or after every call of the network, beside the same model left alone, far
beyond the supervision steps of its training. Bases are uncentred, as the activation stores' are.

Shapes: B batch, L positions, D width, R rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from laser_core.checkpoint import Checkpoint
from laser_core.config import ConfigError, EvalConfig, Problem, TrainConfig
from laser_core.events import Metrics
from laser_core.loss import act_loss
from laser_core.model import TRM, Batch
from laser_core.stores import ActivationStore
from laser_core.tracker import extended, spectrum
from laser_core.unroll import Between, unchanged, unrolled

if TYPE_CHECKING:
    from jaxtyping import Float

    from laser_core.layers import Block
    from laser_core.tasks import Puzzles, PuzzleTask

State = Literal["latent", "answer"]
Touch = Callable[[State, Tensor], Tensor]  # sees a state (B, L, D) and gives what takes its place

CALIBRATION_PUZZLES = 256
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # of the trained supervision steps, named in the result


@dataclass(frozen=True)
class Trajectory:
    """Means over puzzles after each supervision step. Drift is ‖z_t − z_{t−1}‖ / ‖z_t‖ of the latent."""

    exact_accuracy: list[float]
    cell_accuracy: list[float]
    drift: list[float]


@dataclass(frozen=True)
class Comparison:
    """A model left alone and with its states projected."""

    plain: Trajectory
    projected: Trajectory

    def metrics(self) -> Iterator[Metrics]:
        """``projection.*`` and ``projection.plain_*`` over supervision steps."""
        for step in range(1, len(self.plain.drift) + 1):
            yield Metrics(step, self._at(step))

    def values(self, trained_steps: int) -> dict[str, float]:
        """The same at 1×, 2×, 4×, … the trained supervision steps, such as ``projection.drift_4x``."""
        reached = [multiple for multiple in MULTIPLES if multiple * trained_steps <= len(self.plain.drift)]
        return {f"{name}_{m}x": value for m in reached for name, value in self._at(m * trained_steps).items()}

    def _at(self, step: int) -> dict[str, float]:
        return {
            f"projection.{prefix}{name}": values[step - 1]
            for prefix, trajectory in (("", self.projected), ("plain_", self.plain))
            for name, values in dataclasses.asdict(trajectory).items()
        }


class Projector:
    """Projects the states that have a basis; ``source`` says where it comes from: tracked, measured or random."""

    def __init__(self, bases: dict[State, Float[Tensor, "D R"]], source: str) -> None:
        self.bases, self.source = bases, source

    def __call__(self, state: State, x_BLD: Tensor) -> Tensor:
        basis_DR = self.bases.get(state)
        return x_BLD if basis_DR is None else x_BLD @ basis_DR @ basis_DR.T


class Moments:
    """Sums up the second moments ``XᵀX`` (D, D) of the states that it sees, and leaves them as they are."""

    def __init__(self) -> None:
        self.grams: dict[State, Tensor] = {}

    def __call__(self, state: State, x_BLD: Tensor) -> Tensor:
        x_ND = x_BLD.flatten(0, 1).double()
        self.grams[state] = self.grams.get(state, 0) + x_ND.T @ x_ND
        return x_BLD


class TouchedCalls(ActivationStore):
    """Lets ``touch`` at the state that each call of the network puts out: n latents, then an answer."""

    def __init__(self, touch: Touch, latent_steps: int) -> None:
        super().__init__()
        self._touch, self._period = touch, latent_steps + 1
        self._calls = 0

    def begin_forward(self) -> None:
        super().begin_forward()
        self._calls = 0

    def call(self, blocks: Sequence[Block], hidden_BLD: Tensor, injection_BLD: Tensor) -> Tensor:
        self._calls += 1
        state: State = "latent" if self._calls % self._period else "answer"
        return self._touch(state, super().call(blocks, hidden_BLD, injection_BLD))


def compare(
    model: TRM, puzzles: Puzzles, config: EvalConfig, supervision_steps: int, projector: Projector
) -> Generator[int, None, Comparison]:
    """All ``puzzles`` with and without projection, yielding how many are done after each batch."""
    sums = torch.zeros(2, 3, supervision_steps, dtype=torch.float64)
    for start in range(0, len(puzzles), config.batch_size):
        batch = puzzles.batch(slice(start, start + config.batch_size), model.answer_init.device)
        sums[0] += _trajectory_sums(model, batch, supervision_steps, unchanged)
        with touched(model, projector, config.projection.every) as after:
            sums[1] += _trajectory_sums(model, batch, supervision_steps, after)
        yield start + len(batch.inputs_BS)
    plain, projected = (sums / len(puzzles)).tolist()
    return Comparison(Trajectory(*plain), Trajectory(*projected))


@contextmanager
def touched(model: TRM, touch: Touch, every: Literal["step", "call"]) -> Iterator[Between]:
    """What to do after each supervision step so that ``touch`` sees the states; meanwhile the model lets it into its calls."""
    if every == "step":
        yield lambda carry: dataclasses.replace(
            carry, latent_BLD=touch("latent", carry.latent_BLD), answer_BLD=touch("answer", carry.answer_BLD)
        )
        return
    store, model.store = model.store, TouchedCalls(touch, model.config.latent_steps)
    try:
        yield unchanged
    finally:
        model.store = store


@torch.inference_mode()
def _trajectory_sums(model: TRM, batch: Batch, supervision_steps: int, after: Between) -> Tensor:
    rows = []
    latent_BLD = model.latent_init.expand(len(batch.inputs_BS), 1, -1)
    for carry, outputs in unrolled(model, batch, supervision_steps, after=after):
        losses = act_loss(outputs, batch.labels_BS)
        drift_B = (carry.latent_BLD - latent_BLD).flatten(1).norm(dim=1) / carry.latent_BLD.flatten(1).norm(dim=1)
        rows.append(torch.stack([x.double().sum() for x in (losses.exact_B, losses.cell_accuracy_B, drift_B)]))
        latent_BLD = carry.latent_BLD
    return torch.stack(rows, dim=1).cpu()


# --- bases


def make_projector(
    config: EvalConfig, model: TRM, task: PuzzleTask, trained: TrainConfig, checkpoint: Checkpoint
) -> Projector:
    """The projector that ``config.projection`` asks for.

    Raises ConfigError where the rank is above the width, or nothing gives the basis that was asked for.
    """
    wanted, width = config.projection, model.config.width
    if wanted.rank > width:
        raise ConfigError(Problem("projection.rank", f"expected at most the model's width {width}, got {wanted.rank}"))
    directions, source = _directions(config, model, task, trained, checkpoint)
    states: tuple[State, ...] = ("latent", "answer") if wanted.states == "both" else ("latent",)
    bases = {state: directions[state][:, : wanted.rank].to(model.latent_init) for state in states}
    return Projector(bases, source)


def _directions(
    config: EvalConfig, model: TRM, task: PuzzleTask, trained: TrainConfig, checkpoint: Checkpoint
) -> tuple[dict[State, Tensor], str]:
    """Orthonormal directions of each state, the most important first, and their source."""
    wanted = config.projection
    if wanted.basis == "random":
        nothing = torch.zeros(model.config.width, 0, dtype=torch.float64)
        random = (extended(nothing, model.config.width, config.seed + index) for index in range(2))
        return {"latent": next(random), "answer": next(random)}, "random"
    if wanted.basis != "measured":
        tracked = tracked_basis(model, checkpoint)
        if tracked is not None and tracked.shape[1] >= wanted.rank:
            return {"latent": tracked, "answer": tracked}, "tracked"
        if wanted.basis == "tracked":
            found = "training tracked none" if tracked is None else f"training tracked {tracked.shape[1]}"
            message = f"expected {wanted.rank} tracked directions of the states, but {found}; choose measured, or less"
            raise ConfigError(Problem("projection.basis", message))
    moments = measured_moments(model, task, trained.training.supervision_steps, wanted.every)
    return {state: spectrum(gram)[0] for state, gram in moments.items()}, "measured"


def tracked_basis(model: TRM, checkpoint: Checkpoint) -> Float[Tensor, "D K"] | None:
    """The basis that training tracked for what a call of the network puts out, latents and answers alike; None without
    one, and where that site was kept in full. Its directions come by descending energy."""
    site = f"{model.blocks[-1].name}.h2"
    probe = checkpoint.training.get(f"store.{site}/probe")
    return None if probe is None else probe[:, : checkpoint.state["store"][f"{site}/rank"]]


@torch.inference_mode()
def measured_moments(
    model: TRM, task: PuzzleTask, supervision_steps: int, every: Literal["step", "call"]
) -> dict[State, Float[Tensor, "D D"]]:
    """Second moments of the states on training puzzles. Raises ConfigError where there are none."""
    if not len(task.train):
        message = "needs training puzzles to measure the states on; name a dataset in task.train"
        raise ConfigError(Problem("projection.basis", message))
    batch = task.train.batch(slice(CALIBRATION_PUZZLES), model.answer_init.device)
    moments = Moments()
    with touched(model, moments, every) as after:
        for _ in unrolled(model, batch, supervision_steps, after=after):
            pass
    return moments.grams
