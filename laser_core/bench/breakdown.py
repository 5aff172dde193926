"""Where a step's time goes, and how many multiply-additions it takes: what the time can come down to.

Every operator is timed by itself and named by its phase (forward; backward; recompute, which is forward again in backward)
and what it is. Products (matrix products and attention) are counted in units of rows · D² per block and call of the last
cycle, so that one D×D linear layer takes one unit; the ratio of two stores' units is that of their times where nothing but
products took time.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from laser_core.bench.scales import (
    AS_IT_COMES,
    CALL_IN_HALF,
    CALL_REUSING,
    CHECKPOINT,
    EAGER,
    IN_HALF,
    REUSING,
    Compared,
    Stage,
)  # fmt: skip
from laser_core.bench.subject import Situation, Subject, Tell
from laser_core.bench.timing import Place, now, wrapped
from laser_core.model import TRM
from laser_core.stores import fused, laser_coded, make_store, variable
from laser_core.stores.laser_fused import LaserFused
from laser_core.stores.tracked import Code
from laser_core.tracker import SubspaceTracker

BROKEN_DOWN = (EAGER, CHECKPOINT, AS_IT_COMES, IN_HALF, CALL_IN_HALF, REUSING, CALL_REUSING)
PLACES: dict[Place, str] = {  # functions whose operators have a name of their own
    (laser_coded.LaserCoded, "projected"): "encode",
    (laser_coded.LaserCoded, "pack"): "encode",
    (laser_coded.LaserCoded, "plan"): "tracker",
    (laser_coded, "decode"): "decode",
    (variable, "decode"): "decode",
    (Code, "decoded"): "decode",
    (LaserFused, "projection"): "decode",
    (SubspaceTracker, "observe"): "tracker",
    (SubspaceTracker, "end_step"): "tracker",
    (fused, "_run_again"): "recompute",
    (fused, "_product"): "backward: weight gradients",
}
MATRIX = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}  # operator -> its two factors


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Seconds and multiply-additions of operators, by what they are for."""

    def __init__(self, model: TRM, batch_size: int, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = defaultdict(float)
        self.products: Counter[str] = Counter()
        self.phase, self.places = "forward", list[str]()
        self._device = device
        rows = batch_size * (model.puzzle_positions + model.seq_len)
        sublayers = [sublayer for block in model.blocks for sublayer in block.sublayers]
        self._rows = {rows * model.config.width // s.inner.weight.shape[1] for s in sublayers}
        self._inner = {s.inner.weight.shape[0] for s in sublayers}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        began = now(self._device)
        output = func(*args, **(kwargs or {}))
        seconds = now(self._device) - began
        name = str(func.overloadpacket.__name__)
        purpose, count = self._purpose(name, args)
        self.seconds[purpose] += seconds
        self.products[purpose] += count
        return output

    def _purpose(self, name: str, args: tuple[Any, ...]) -> tuple[str, int]:
        phase = "recompute" if self.phase == "backward" and torch.is_grad_enabled() else self.phase
        if self.places:
            phase = self.places[-1]
        if name in MATRIX:
            left, right = (args[index] for index in MATRIX[name])
            count = left.numel() * right.shape[-1]
            return phase if ":" in phase else f"{phase}: {self._product(phase, left, right)}", count
        if "attention" in name:
            query = args[0] if "backward" not in name else args[1]
            products = 5 if "backward" in name else 2  # backward computes the scores again
            return f"{phase}: attention", products * query.numel() * query.shape[-2]
        return f"{phase}: other operators", 0

    def _product(self, phase: str, left: Tensor, right: Tensor) -> str:
        if phase != "backward":
            return "products"
        if left.shape[-1] in self._rows:
            return "weight gradients"
        return "inner layers again" if right.shape[-1] in self._inner else "input gradients"

    def around(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A wrapper whose function's operators are named ``name``."""

        def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
            def within(*arguments: Any, **options: Any) -> Any:
                self.places.append(name)
                try:
                    return function(*arguments, **options)
                finally:
                    self.places.pop()

            return within

        return wrapper


def breakdown(
    subject: Subject, stage: Stage, repetitions: int, tell: Tell, compared: Sequence[Compared] = BROKEN_DOWN
) -> dict[str, Any]:
    """Of each store: shares of its operators' time and units of products, by purpose; ``bound`` is its units over eager's."""
    here, measured = subject.situation(stage), dict[str, Any]()
    for each in compared:
        tell(f"{subject.config.model.block}, {stage}: breakdown of {each.name}")
        model = subject.model()
        model.load_state_dict(subject.weights(stage))
        model.store = make_store(each.store, subject.config.seed)
        steps = [_operators(model, here, number, subject.device) for number in range(1, repetitions + 2)][1:]
        measured[f"{each.name}, {each.setting}"] = _summary(steps, _unit(model, here))
    eager = measured[f"{EAGER.name}, {EAGER.setting}"]
    return {name: of | {"bound": of["units"] / eager["units"]} for name, of in measured.items()}


def _operators(model: TRM, here: Situation, number: int, device: torch.device) -> Operators:
    operators = Operators(model, len(here.batch.inputs_BS), device)
    with wrapped({place: operators.around(name) for place, name in PLACES.items()}), operators:
        model.store.begin_step(number)
        loss = here.loss(model)
        operators.phase = "backward"
        loss.backward()  # type: ignore[no-untyped-call]
        operators.phase = "tracker"
        model.store.end_step()
    model.zero_grad()
    return operators


def _unit(model: TRM, here: Situation) -> int:
    """Multiply-additions of one D×D layer in every block and call of the last cycle."""
    rows = here.carry.latent_BLD.shape[0] * here.carry.latent_BLD.shape[1]
    return rows * model.config.width**2 * len(model.blocks) * (model.config.latent_steps + 1)


def _summary(steps: list[Operators], unit: int) -> dict[str, Any]:
    purposes = sorted({purpose for step in steps for purpose in step.seconds})
    total = statistics.fmean(sum(step.seconds.values()) for step in steps)
    means = {purpose: statistics.fmean(step.seconds[purpose] for step in steps) for purpose in purposes}
    products = {purpose: statistics.fmean(step.products[purpose] for step in steps) / unit for purpose in purposes}
    return {
        "operators_s": total,
        "shares": {purpose: mean / total for purpose, mean in means.items()},
        "units": sum(products.values()),
        "products": {purpose: count for purpose, count in products.items() if count},
    }
