"""The model of any shape equals TRM written out plainly, and every store gives its gradient at full rank."""

import math

import pytest
import torch
from torch.nn import functional as F

from laser_core.parity import STORES

SHAPES = [
    {"layers": 1, "width": 24, "heads": 3, "latent_steps": 1, "cycles": 1},
    {"layers": 3, "width": 40, "heads": 2, "latent_steps": 3, "cycles": 3, "positions": "learned"},
    {"layers": 2, "width": 20, "puzzle_embedding": 50, "latent_steps": 2},  # 2.5 positions' worth: padded to 3
    {"layers": 1, "block": "mlp", "width": 28, "latent_steps": 4, "puzzle_embedding": 28, "puzzle_positions": 2},
    {"layers": 2, "block": "mlp", "width": 16, "positions": "none"},
]


def plain_loss(model, batch, weights, puzzle_rows):
    """One supervision step from the initial states, and its loss; ``weights`` by the model's names."""
    c, w = model.config, weights
    width, positions = c.width, model.puzzle_positions + model.seq_len

    def norm(x):
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)

    def swiglu(x, prefix):
        gate, up = (x @ w[f"{prefix}.inner.weight"].T).split(w[f"{prefix}.outer.weight"].shape[1], dim=-1)
        return (gate * torch.sigmoid(gate) * up) @ w[f"{prefix}.outer.weight"].T

    def rotate(x):
        half = x.shape[-1] // 2
        frequency = 10_000.0 ** (-torch.arange(half).float() / half)
        angle = torch.arange(positions).float()[:, None] * frequency
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)

    def attention(x, prefix):
        heads = (x @ w[f"{prefix}.inner.weight"].T).unflatten(-1, (3, c.heads, width // c.heads))
        q, k, v = (heads[:, :, i].transpose(1, 2) for i in range(3))
        if c.positions == "rope":
            q, k = rotate(q), rotate(k)
        scores = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // c.heads), dim=-1)
        return (scores @ v).transpose(1, 2).flatten(2) @ w[f"{prefix}.outer.weight"].T

    def network(x):
        for index in range(c.layers):
            mixer, mlp = f"layers.{index}.mixer", f"layers.{index}.mlp"
            if c.block == "attention":
                x = norm(x + attention(x, mixer))
            else:
                x = x.transpose(1, 2)
                x = norm(x + swiglu(x, mixer)).transpose(1, 2)
            x = norm(x + swiglu(x, mlp))
        return x

    e = w["token_embedding.weight"][batch.inputs_BS]
    if c.puzzle_embedding:
        filled = torch.zeros(len(e), model.puzzle_positions * width)
        filled[:, : c.puzzle_embedding] = puzzle_rows
        e = torch.cat((filled.view(len(e), -1, width), e), 1)
    if c.positions == "learned":
        e = (e + w["position_embedding.weight"]) / math.sqrt(2)
    e = e * math.sqrt(width)
    y, z = model.answer_init.expand_as(e), model.latent_init.expand_as(e)
    for cycle in range(c.cycles):
        with torch.set_grad_enabled(cycle == c.cycles - 1):
            for _ in range(c.latent_steps):
                z = network(z + y + e)
            y = network(y + z)
    logits = (y @ w["lm_head.weight"].T)[:, model.puzzle_positions :].double()
    halt = y[:, 0] @ w["halt_head.weight"][0] + w["halt_head.bias"][0]
    mass = torch.where(logits < 0, 1 / (1 - logits), logits + 1)
    p = mass / mass.sum(-1, keepdim=True)
    total = torch.zeros((), dtype=torch.float64)
    for row, labels in enumerate(batch.labels_BS):
        scored = labels != -100
        picked = p[row][scored].gather(-1, labels[scored][:, None])
        total = total - picked.log().mean()
        right = (logits[row].argmax(-1)[scored] == labels[scored]).all()
        total = total + 0.5 * F.softplus(-halt[row] if right else halt[row])
    return total


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_store_equals_the_plain_model(trial, shape):
    eager = trial(**shape)
    weights = {name: p.detach().clone().requires_grad_() for name, p in eager.model.named_parameters()}
    rows = eager.model.puzzle_table[eager.batch.puzzles_B] if shape.get("puzzle_embedding") else None
    expected = plain_loss(eager.model, eager.batch, weights, rows)
    expected.backward()
    for name, (store, bound) in STORES.items():
        t = trial(store, **shape)
        t.step()  # makes the bases
        t.model.zero_grad()
        torch.testing.assert_close(t.loss().double(), expected.detach(), rtol=1e-5, atol=1e-5, msg=name)
        t.step()
        for weight, gradient in t.gradients().items():
            scale = float(weights[weight].grad.abs().max().clamp_min(1e-3))
            torch.testing.assert_close(
                gradient, weights[weight].grad, rtol=0, atol=bound * 10 * scale, msg=f"{name} {weight}"
            )
