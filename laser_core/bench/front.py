"""The front: bytes held, peak, step time and gradient fidelity of every store on the same weights and puzzles.

Steps are interleaved: every store takes its n-th step before any takes its next, so that a busy machine is unfair to none,
and a step's time is a ratio to eager's of the same round. Weights stay as they are; every round has a batch of its own, for
which bases come from earlier ones, as in training.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from laser_core import memory
from laser_core.bench.limit import coded_sites, over_bound
from laser_core.bench.peak import peak_bytes
from laser_core.bench.scales import CHECKPOINT, EAGER, Compared, Stage
from laser_core.bench.subject import Situation, Subject, Tell
from laser_core.bench.timing import interval, now
from laser_core.compiled import CompiledTRM, missing_compiler
from laser_core.model import TRM
from laser_core.stores import make_store
from laser_core.stores.laser_coded import LaserCoded

BASES = 4  # rounds that make the bases, and compile; they don't count
UNSEEN = 8
Row = dict[str, Any]


@dataclass
class Contender:
    """A store at work, and what was measured of it."""

    compared: Compared
    model: TRM
    step_times: list[float] = field(default_factory=list)
    fidelities: list[tuple[float, float]] = field(default_factory=list)  # cosine, relative error
    skipped: str = ""  # why it can't be measured here

    def at(self, here: Situation) -> Situation:
        """The situation in the precision that it is compared in."""
        return dataclasses.replace(here, half=here.half or self.compared.half)


def contenders(subject: Subject, compared: Sequence[Compared]) -> list[Contender]:
    """One model for each; the compiled ones are compiled at their first step and stay so for all stages."""
    lacking = missing_compiler(subject.device)
    torch.compiler.reset()  # what was compiled for another subject isn't needed, and its number is limited
    made = []
    for each in compared:
        model = subject.model()
        if each.compile_budget is not None and not lacking:
            model = _compiled(model, subject, each.compile_budget)
        made.append(Contender(each, model, skipped=lacking if each.compile_budget is not None else ""))
    return made


def _compiled(plain: TRM, subject: Subject, budget: float) -> TRM:
    sizes = (subject.task.vocab_size, subject.task.seq_len, subject.task.puzzle_identifiers)
    model = CompiledTRM(plain.config, *sizes, store=plain.store, generator=torch.Generator().manual_seed(0))

    def lowered(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        from torch._functorch import config
        from torch._inductor.compile_fx import compile_fx

        with config.patch(activation_memory_budget=budget):
            return compile_fx(graph, list(inputs))

    # A backend of its own: graphs compiled with another budget aren't taken for this one's.
    model._compiled = torch.compile(partial(TRM._cycle, model), backend=lowered, fullgraph=True, dynamic=False)
    return model.to(subject.device)


def compare(subject: Subject, stage: Stage, field_: list[Contender], repetitions: int, tell: Tell) -> list[Row]:
    """One row per contender, in their order; the first must be eager."""
    weights = subject.weights(stage)
    for each in field_:
        each.step_times, each.fidelities = [], []
        each.model.load_state_dict(weights)
        if each.compared.compile_budget is None:
            each.model.store = make_store(each.compared.store, subject.config.seed)
    for round_ in range(1, BASES + repetitions + 1):
        what = f"{subject.config.model.block}, n={subject.config.model.latent_steps}, {stage}"
        tell(f"{what}: round {round_} of {BASES + repetitions}")
        here = subject.situation(stage, round_)
        _round(field_, here, round_, subject.device)
    tell(f"{what}: bytes")
    held = [_bytes(each, each.at(here), subject.device) for each in field_]
    with torch.no_grad():
        loss = float(here.loss(field_[0].model)) / len(here.batch.inputs_BS)
    unseen = [subject.situation(stage, round_ + number) for number in range(1, UNSEEN + 1)]
    eager, checkpoint = (_times_of(field_, compared) for compared in (EAGER, CHECKPOINT))
    rows = []
    for each, (saved_bytes, peak) in zip(field_, held, strict=True):
        row = _named(each, subject, stage) | _shares(saved_bytes, peak, *held[0]) | _pace(each, eager, checkpoint)
        row |= _fidelity(each) | {"samples_per_s": _per_second(each, here), "loss": loss}
        if isinstance(each.model.store, LaserCoded) and not each.skipped:
            tell(f"{what}: codes of {each.compared.setting}")
            sites = coded_sites(each.model, [partial(each.at(other).loss, each.model) for other in unseen])
            row |= {"sites": sites, "code_over_bound": over_bound(sites)}
            row |= {"code_over_basis_bound": over_bound(sites, "basis_bound")}
        rows.append(row)
    return rows


# --- measuring ---------------------------------------------------------------------------------------------------------


def _round(field_: list[Contender], here: Situation, round_: int, device: torch.device) -> None:
    exact: Tensor | None = None
    for each in field_:
        if each.skipped:
            continue
        try:
            elapsed, gradient = step(each.model, each.at(here), round_, device)
        except RuntimeError as error:  # no memory, or no compiler that works
            each.skipped = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            each.model.zero_grad()
            continue
        exact = gradient if each.compared == EAGER else exact
        if round_ > BASES:
            each.step_times.append(elapsed)
            if exact is not None:
                each.fidelities.append(agreement(gradient, exact))


def step(model: TRM, here: Situation, number: int, device: torch.device) -> tuple[float, Tensor]:
    """Seconds of a training step without its optimiser, and the gradient of all weights in one vector."""
    began = now(device)
    model.store.begin_step(number)
    here.loss(model).backward()  # type: ignore[no-untyped-call]
    model.store.end_step()
    elapsed = now(device) - began
    weights = model.parameters()
    gradient = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten().double() for w in weights])
    model.zero_grad()
    return elapsed, gradient


def agreement(gradient: Tensor, exact: Tensor) -> tuple[float, float]:
    """Cosine and relative error."""
    size = float(exact.norm())
    return float(gradient @ exact) / (float(gradient.norm()) * size), float((gradient - exact).norm()) / size


def _bytes(each: Contender, here: Situation, device: torch.device) -> tuple[int, int]:
    """Held between forward and backward, and at most until the end of backward; (0, 0) where it can't run."""

    def forward_and_backward() -> None:
        here.loss(each.model).backward()  # type: ignore[no-untyped-call]
        each.model.zero_grad()

    if each.skipped:
        return 0, 0
    saved_bytes = memory.measure(each.model, partial(here.loss, each.model), 0, eager_bytes=1).saved_bytes
    return saved_bytes, peak_bytes(forward_and_backward, device)


# --- rows --------------------------------------------------------------------------------------------------------------


def _named(each: Contender, subject: Subject, stage: Stage) -> Row:
    trackers = getattr(each.model.store, "trackers", {})
    model = subject.config.model
    return {
        "store": each.compared.name, "setting": each.compared.setting, "block": model.block, "stage": stage,
        "latent_steps": model.latent_steps, "autocast": each.compared.half, "skipped": each.skipped or None,
        "ranks": {site: tracker.rank for site, tracker in trackers.items()},
    }  # fmt: skip


def _shares(saved_bytes: int, peak: int, eager_saved: int, eager_peak: int) -> Row:
    def share(part: int, whole: int) -> float | None:
        return part / whole if part and whole else None

    return {
        "saved_bytes": saved_bytes or None, "saved_fraction": share(saved_bytes, eager_saved),
        "peak_bytes": peak or None, "peak_fraction": share(peak, eager_peak),
    }  # fmt: skip


def _pace(each: Contender, eager: list[float], checkpoint: list[float]) -> Row:
    to_eager, to_checkpoint = _ratios(each.step_times, eager), _ratios(each.step_times, checkpoint)
    return {
        "step_time_s": _median(each.step_times), "step_times_s": each.step_times,
        "step_time_ratio": _median(to_eager), "step_time_interval": _interval(to_eager), "step_time_ratios": to_eager,
        "step_time_mean_ratio": statistics.fmean(to_eager) if to_eager else None,
        "step_time_vs_checkpoint": _median(to_checkpoint),
        "step_time_vs_checkpoint_interval": _interval(to_checkpoint),
        "step_time_vs_checkpoint_ratios": to_checkpoint,
    }  # fmt: skip


def _fidelity(each: Contender) -> Row:
    cosines, errors = zip(*each.fidelities, strict=True) if each.fidelities else ((), ())
    return {"grad_cosine": _median(cosines), "grad_relative_error": _median(errors)}


def _per_second(each: Contender, here: Situation) -> float | None:
    median = _median(each.step_times)
    return len(here.batch.inputs_BS) / median if median else None


def _times_of(field_: list[Contender], wanted: Compared) -> list[float]:
    return next((each.step_times for each in field_ if each.compared == wanted), [])


def _ratios(mine: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(mine, theirs, strict=True)] if len(mine) == len(theirs) else []


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _interval(values: list[float]) -> tuple[float, float] | None:
    return interval(values) if values else None
