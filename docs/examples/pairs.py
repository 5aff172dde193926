# %% [markdown]
# # Plain training and LASER, in pairs of seeds
#
# Needs a running platform (`laser up`) and takes about a minute on two cores. `pairs.ipynb` and `pairs.py` hold the same: the
# notebook is made from the script, which `python docs/examples/pairs.py` runs.

# %%
from pathlib import Path

from client import Client

lab = Client()  # finds the platform and its token as the `laser` command does

config = {
    "kind": "train",
    "tags": ["pairs-example"],
    "task": {"kind": "sudoku", "size": 4, "train_puzzles": 200, "test_puzzles": 100},
    "model": {"block": "mlp", "width": 32, "heads": 2, "layers": 1, "latent_steps": 2, "cycles": 2},
    "training": {"steps": 60, "batch_size": 32, "learning_rate": 5e-3, "warmup_steps": 10, "log_every": 5},
}

# %% Submit both variants with each seed, and wait.
runs = [
    lab.submit(config | {"seed": seed, "store": {"kind": store}})
    for seed in (0, 1)
    for store in ("none", "laser-fused")
]
for run in runs:
    ended = lab.wait(run["id"])
    assert ended["state"] == "succeeded", ended["reason"]

# %% Curves are numpy arrays: every point, exactly as measured.
for run in runs:
    loss = lab.metrics(run["id"], ["train.loss"])["train.loss"]
    print(
        f"{run['name']}: loss {loss.values[0]:.3f} at step {loss.steps[0]}, {loss.values[-1]:.3f} at {loss.steps[-1]}"
    )

# %% All metrics as one table: a column each, NaN where a step wasn't measured; `to_pandas()` gives a frame.
table = lab.metrics(runs[0]["id"]).table()
print(f"{len(table) - 1} metrics at {len(table['step'])} steps")

# %% What the platform says of the pairs.
comparison = lab.compare([run["id"] for run in runs])
print(comparison["summary"])

# %% The newest checkpoint of the last run, checked by its sha256.
for file in lab.download_files(runs[-1]["id"], Path("downloads")):
    print(file["path"], file["sha256"][:12])
