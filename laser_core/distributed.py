"""Data-parallel training: one process for each device, started by torch's launcher, each with its rows of every batch.

Every process draws the whole batch, and all other random numbers, and takes its rows; gradients and counts are summed. So
weights, moments, averages and bases are the same everywhere, a checkpoint is that of the whole run whatever their number,
and that number changes results by rounding alone. A process on its own gets back what it gave.

Shapes: B batch, R the rows of one process (B / processes).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from laser_core.config import ConfigError, Problem

T = TypeVar("T")


class PeerLost(RuntimeError):
    """Another process of the run has ended or doesn't answer; why is for that one to say."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Among the processes that torchrun started, if it did; all leave together. Inside of itself it does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or size() > 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _peers():
        dist.init_process_group()  # gloo for what is on the CPU, NCCL for what is on GPUs
    yield
    on_any(False)
    dist.destroy_process_group()


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def place() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def leads() -> bool:
    """Whether this one saves checkpoints and tells what happens."""
    return place() == 0


def check_shares(batch_size: int) -> None:
    """Raises ConfigError where the processes can't have equally many rows of a batch."""
    if batch_size % size():
        message = f"{batch_size} puzzles can't be shared evenly by {size()} processes; choose a multiple of {size()}"
        raise ConfigError(Problem("training.batch_size", message))


def share(x_B: Tensor) -> Tensor:
    """This process's rows of what all have in full."""
    return x_B if size() == 1 else x_B.chunk(size())[place()]


def dealt(items: Sequence[T]) -> Sequence[T]:
    """This process's part of what all have in full, for work that is dealt out one by one."""
    return items[place() :: size()]


def whole(x_R: Tensor) -> Tensor:
    """The rows of all processes, in order."""
    if size() == 1:
        return x_R
    x_R = x_R.contiguous()
    x_B = x_R.new_empty(size() * len(x_R), *x_R.shape[1:])
    with _peers():
        dist.all_gather(list(x_B.chunk(size())), x_R)
    return x_B


def summed(x: Tensor) -> Tensor:
    """The sum over all processes, in the place of ``x``."""
    if size() > 1:
        with _peers():
            dist.all_reduce(x)
    return x


def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Sums every weight's gradient over all processes, all in one message."""
    if size() > 1:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        vector_to_parameters(summed(parameters_to_vector(gradients)), gradients)


def on_any(flag: bool) -> bool:
    """Whether the flag is set on any process."""
    return flag if size() == 1 else bool(summed(torch.tensor(int(flag))))


def of_leader(value: T) -> T:
    """The leading process's value."""
    values = [value]
    if size() > 1:
        with _peers():
            dist.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def check_equal(tensors: Mapping[str, Tensor]) -> None:
    """Raises RuntimeError where processes differ in what they should have alike."""
    if size() == 1:
        return
    bits = (x.detach().contiguous().view(-1).view(torch.uint8) for _, x in sorted(tensors.items()))
    sums = torch.stack([x.sum(dtype=torch.int64).cpu() for x in bits])
    if on_any(not torch.equal(sums, of_leader(sums))):
        raise RuntimeError("the processes of this run no longer have the same weights; resume from its last checkpoint")


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(f"lost contact with another process of this run: {error}") from error
