"""What the benchmark measures: models, stages of training, stores and repetitions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from laser_core.config import (
    AsiStore,
    CheckpointStore,
    Device,
    LaserCodedStore,
    LaserFusedStore,
    LaserStore,
    ModelConfig,
    NoneStore,
    QuantStore,
    RandomStore,
    Store,
    SudokuTask,
    TrainConfig,
    TrainingConfig,
)  # fmt: skip

Stage = Literal["init", "mid", "late"]
Block = Literal["attention", "mlp"]
BLOCKS: tuple[Block, ...] = get_args(Block)
NONE = NoneStore()


@dataclass(frozen=True)
class Compared:
    """One line of the table: a store, or the compiler's own choice of what to keep within ``compile_budget``."""

    name: str
    setting: str
    store: Store = NONE
    compile_budget: float | None = None  # its share of eager's activations
    half: bool = False  # forward as well under bfloat16 autocast, whatever the others do


EAGER = Compared("eager", "none")
CHECKPOINT = Compared("checkpoint", "block", CheckpointStore())
QUANT = Compared("quant", "4 bits, group 64", QuantStore(bits=4))


def coded(store: LaserCodedStore) -> Compared:
    """A setting of ``laser-coded``, named by what it sets."""
    parts = [f"energy {store.energy:g}", f"codes {store.code_loss:g}"]
    parts += [f"weights {store.weight_energy:g}"] if store.weight_energy < 1 else []
    parts += ["variable"] if store.codes == "variable" else []
    parts += [f"reuse {store.reuse:g}"] if store.reuse else []
    parts += ["per call"] if store.keep == "call" else []
    parts += ["bfloat16"] if store.backward == "bfloat16" else []
    return Compared("laser-coded", ", ".join(parts), store)


AS_IT_COMES = coded(LaserCodedStore())
REUSING = coded(LaserCodedStore(reuse=0.3))
CALL_REUSING = coded(LaserCodedStore(reuse=0.3, keep="call"))
IN_HALF = coded(LaserCodedStore(backward="bfloat16"))
CALL_IN_HALF = coded(LaserCodedStore(keep="call", backward="bfloat16"))


@dataclass(frozen=True)
class Scale:
    """One size of the benchmark. Weights are taken before training, after ``mid`` steps and after the last."""

    task: SudokuTask
    model: ModelConfig
    training: TrainingConfig
    compared: tuple[Compared, ...]
    repetitions: int  # of every step that counts; rounds before them make the bases
    mid: int
    blocks: tuple[Block, ...] = BLOCKS
    stages: tuple[Stage, ...] = ("init", "mid", "late")
    latent_steps: tuple[int, ...] = (6,)
    depths: tuple[int, ...] = (6, 12, 24)  # the first is what others are fractions of
    consecutive: int = 60  # training steps that trackers are followed over
    half: bool = False  # bfloat16 autocast

    def run(self, block: Block, latent_steps: int, device: Device) -> TrainConfig:
        """The training run whose weights are measured; store ``none``."""
        model = dataclasses.replace(self.model, block=block, latent_steps=latent_steps)
        training = dataclasses.replace(self.training, checkpoint_every=self.mid)
        return TrainConfig(task=self.task, model=model, training=training, device=device)


def every_store(width: int) -> tuple[Compared, ...]:
    """The front's table, for models of this width."""
    fused = [Compared("laser-fused", f"k = D/{d}", LaserFusedStore(rank=width // d, adapt=False)) for d in (2, 4, 8)]
    again = (EAGER, CHECKPOINT, AS_IT_COMES, coded(LaserCodedStore(keep="call")), CALL_REUSING, QUANT)
    alike = [coded(LaserCodedStore(energy=energy, code_loss=1.0)) for energy in (0.99, 0.999, 0.9999)]
    return (
        EAGER,
        CHECKPOINT,
        Compared("checkpoint", "call", CheckpointStore(unit="call")),
        Compared("laser", "energy 0.95", LaserStore(energy=0.95)),
        *fused,
        Compared("laser-fused", "energy 0.999", LaserFusedStore(energy=0.999)),
        AS_IT_COMES,
        coded(LaserCodedStore(energy=0.9995)),
        *alike,
        coded(LaserCodedStore(codes="variable")),
        coded(LaserCodedStore(energy=0.9995, code_loss=1.0, codes="variable")),
        coded(LaserCodedStore(keep="call")),
        IN_HALF,
        CALL_IN_HALF,
        REUSING,
        coded(LaserCodedStore(energy=0.9995, code_loss=1.0, codes="variable", reuse=0.3)),
        CALL_REUSING,
        coded(LaserCodedStore(reuse=0.3, backward="bfloat16")),
        coded(LaserCodedStore(reuse=0.3, keep="call", backward="bfloat16")),
        Compared("quant", "8 bits, group 64", QuantStore(bits=8)),
        QUANT,
        Compared("quant", "4 bits, group 32", QuantStore(bits=4, group=32)),
        Compared("quant", "4 bits, group 64, bfloat16", QuantStore(bits=4, backward="bfloat16")),
        Compared("asi", "k = D/4", AsiStore(rank=width // 4)),
        Compared("random", "k = D/4", RandomStore(rank=width // 4)),
        Compared("compile", "budget 0.5", compile_budget=0.5),
        Compared("compile", "budget 0.3", compile_budget=0.3),
        *(Compared(each.name, f"{each.setting}, autocast", each.store, half=True) for each in again),
    )


def _few(width: int) -> tuple[Compared, ...]:
    settings = {"none", "block", "call", "energy 0.95", "energy 0.999", "k = D/4", "4 bits, group 64"}
    settings |= {
        AS_IT_COMES.setting,
        f"{AS_IT_COMES.setting}, per call",
        "energy 0.9995, codes 0.1",
        REUSING.setting,
        CALL_REUSING.setting,
    }
    return tuple(compared for compared in every_store(width) if compared.setting in settings)


_CODED = (
    EAGER,
    Compared("compile", "budget 1.0", compile_budget=1.0),
    CHECKPOINT,
    AS_IT_COMES,
    coded(LaserCodedStore(energy=0.9995)),
    REUSING,
    CALL_REUSING,
)

CORE = Scale(
    task=SudokuTask(size=9, max_blanks=12, train_puzzles=2000, test_puzzles=100),
    model=ModelConfig(width=256, heads=4, layers=2, cycles=3),
    training=TrainingConfig(steps=1200, batch_size=8, learning_rate=5e-4, supervision_steps=4),
    compared=every_store(256),
    repetitions=15,
    mid=300,
)
QUICK = Scale(
    task=SudokuTask(size=4, train_puzzles=200, test_puzzles=20),
    model=ModelConfig(width=64, heads=4, layers=2, cycles=3),
    training=TrainingConfig(steps=160, batch_size=24, warmup_steps=20, supervision_steps=4),
    compared=_few(64),
    repetitions=5,
    mid=40,
)
GPU = Scale(
    task=SudokuTask(size=9, max_blanks=12, train_puzzles=2000, test_puzzles=100),
    model=ModelConfig(width=512, heads=8, layers=2, cycles=3, puzzle_embedding=512, puzzle_positions=16),
    training=TrainingConfig(steps=100, batch_size=768, learning_rate=5e-4, supervision_steps=4, precision="bfloat16"),
    compared=_CODED,
    repetitions=15,
    mid=100,
    blocks=("attention",),
    stages=("late",),
    latent_steps=(6, 12),
    half=True,
)
TINY = dataclasses.replace(
    GPU,
    task=SudokuTask(size=4, train_puzzles=20, test_puzzles=4),
    model=ModelConfig(width=16, heads=2, layers=1, cycles=2, puzzle_embedding=16, puzzle_positions=2),
    training=TrainingConfig(steps=2, batch_size=4, supervision_steps=2, precision="bfloat16"),
    compared=tuple(compared for compared in _CODED if compared.compile_budget is None),
    repetitions=2,
    mid=2,
    latent_steps=(2, 3),
)
