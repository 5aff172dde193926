"""The Tiny Recursive Model's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser_core.schema import Checked, Problem, option


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The Tiny Recursive Model (arXiv 2510.04871)."""

    block: Literal["attention", "mlp"] = option(
        "attention", "Mixes positions by attention or by an MLP over positions."
    )
    width: int = option(64, "Hidden size D.", ge=4, le=4096)
    heads: int = option(4, "Attention heads; must divide the width.", ge=1, le=64)
    layers: int = option(2, "Blocks in the one small network that is applied recursively.", ge=1, le=16)
    latent_steps: int = option(6, "Latent updates per cycle (n).", ge=1, le=64)
    cycles: int = option(3, "Recursion cycles per supervision step (T); only the last carries gradient.", ge=1, le=32)
    expansion: float = option(
        4.0, "SwiGLU expansion; its width is round(2/3 · expansion · D), rounded up to 256.", gt=0, le=16
    )
    positions: Literal["rope", "learned", "none"] = option("rope", "How positions are told apart.")
    puzzle_embedding: int = option(
        0, "Numbers in the embedding of each puzzle identifier; 0 for none.", ge=0, le=65_536
    )
    puzzle_positions: int = option(0, "Leading positions that hold it; 0 for as few as it fills.", ge=0, le=256)

    def cross_check(self) -> list[Problem]:
        if self.block == "attention" and self.width % self.heads:
            return [Problem("heads", f"must divide width {self.width}, got {self.heads}")]
        if self.positions == "rope" and self.block == "attention" and (self.width // self.heads) % 2:
            return [Problem("heads", f"rope needs an even head size, got width {self.width} / heads {self.heads}")]
        if self.puzzle_positions and not self.puzzle_embedding:
            return [Problem("puzzle_positions", "needs puzzle_embedding above 0")]
        if self.puzzle_positions and self.puzzle_positions * self.width < self.puzzle_embedding:
            held = self.puzzle_positions * self.width
            return [
                Problem(
                    "puzzle_positions",
                    f"{self.puzzle_positions} positions hold {held} numbers, puzzle_embedding has {self.puzzle_embedding}",
                )
            ]
        return []
