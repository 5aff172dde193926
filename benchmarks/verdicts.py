"""How often the verdicts are wrong: simulated experiments whose truth is known, judged by the engine itself.

    .venv/bin/python -m benchmarks.verdicts [--experiments 2000] [--seed 0] [--out docs/results/verdicts.json]

Every case is simulated with 3 to 20 pairs in turn, then with 6, 10 and 20 alone, under normal noise and under skewed noise
(most seeds near each other, a few far below, as where a training falls late). A verdict is false when what it says isn't so:
better though the variant isn't, worse though it isn't, equivalent though the true difference is at the margin or beyond.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from laser_core.verdicts import ALPHA, LEAST_PAIRS, verdict

MARGIN = 2.0  # percentage points
CASES = {  # true difference and standard deviation of the differences, in points
    "no effect": (0.0, 1.0),
    "small loss": (-1.0, 1.0),
    "loss of the margin": (-2.0, 1.0),
    "large loss": (-6.0, 2.0),
    "tie in noise": (0.0, 6.0),
}
PAIRS = {"3 to 20": range(3, 21), "6": [6], "10": [10], "20": [20]}
NOISES = ("normal", "skewed")


def drawn(random: np.random.Generator, noise: str, pairs: int) -> NDArray[np.float64]:
    """Of mean 0 and standard deviation 1."""
    if noise == "normal":
        return random.standard_normal(pairs)
    return (2 - random.gamma(2.0, 1.0, pairs)) / np.sqrt(2)


def is_false(answer: str, difference: float) -> bool:
    """Whether the verdict says what isn't so."""
    wrong = {"better": difference <= 0, "worse": difference >= 0, "equivalent": abs(difference) >= MARGIN}
    return wrong.get(answer, False)


def simulated(noise: str, case: str, pairs: str, experiments: int, seed: int) -> dict[str, Any]:
    """Verdicts counted over ``experiments``."""
    random = np.random.default_rng([seed, NOISES.index(noise), list(CASES).index(case), list(PAIRS).index(pairs)])
    difference, deviation = CASES[case]
    counts, early = Counter[str](), 0
    for number in range(experiments):
        many = PAIRS[pairs][number % len(PAIRS[pairs])]
        baseline = 90 + random.standard_normal(many)
        variant = baseline + difference + deviation * drawn(random, noise, many)
        answer = verdict(list(baseline), list(variant), MARGIN).answer
        counts[answer] += 1
        early += many < LEAST_PAIRS and answer != "too few seeds"
    false = sum(count for answer, count in counts.items() if is_false(answer, difference))
    said = {answer: counts[answer] for answer in ("better", "worse", "equivalent", "undecided", "too few seeds")}
    return {
        "noise": noise, "case": case, "pairs": pairs, "experiments": experiments, "true_difference": difference,
        "deviation": deviation, "verdicts": said, "false_rate": false / experiments, "claims_under_six_pairs": early,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/verdicts.json"))
    given = parser.parse_args()
    rows = []
    for noise in NOISES:
        for case in CASES:
            for pairs in PAIRS:
                rows.append(simulated(noise, case, pairs, given.experiments, given.seed))
                print(f"{noise:7} {case:19} {pairs:8} {rows[-1]['false_rate']:.2%} {rows[-1]['verdicts']}", flush=True)
    report = {
        "command": "python -m benchmarks.verdicts", "seed": given.seed, "margin": MARGIN, "alpha": ALPHA, "rows": rows,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }  # fmt: skip
    given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"verdicts: {given.out}")


if __name__ == "__main__":
    main()
