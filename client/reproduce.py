"""The same run twice: what is equal bit for bit, what isn't, and what has changed in between."""

from __future__ import annotations

from typing import Any

import numpy as np

from client.curves import Curve, Curves
from client.render import checkout_words
from client.transport import Json

TIMED = "time."  # metrics that no two runs share


def compare(first: Json, second: Json, curves: tuple[Curves, Curves], environments: tuple[Json, Json]) -> Json:
    """{identical, words, weights, metrics, differences, changed, checkouts} of two runs of one configuration that succeeded.

    ``environments`` are those of their first attempts (empty where none is known). Times are left out of everything.
    """
    mine, other = ({key: curve for key, curve in one.items() if not key.startswith(TIMED)} for one in curves)
    differences = [
        parted for key in sorted(mine | other) if (parted := _difference(key, mine.get(key), other.get(key)))
    ]
    values = [_untimed(run["result"]["values"]) for run in (first, second)]
    differences += [
        {"result": name, "values": [values[0].get(name), values[1].get(name)]}
        for name in sorted(values[0] | values[1])
        if values[0].get(name) != values[1].get(name)
    ]
    weights = [run["result"]["weights_sha256"] for run in (first, second)]
    was, now = (_flat(environment) for environment in environments)
    changed = {name: [was.get(name), now.get(name)] for name in sorted(was | now) if was.get(name) != now.get(name)}
    found: Json = {
        "identical": not differences and weights[0] == weights[1],
        "runs": [first["id"], second["id"]],
        "weights_sha256": weights,
        "metrics": len(mine),
        "points": sum(len(curve.steps) for curve in mine.values()),
        "differences": differences,
        "changed": changed,
        "checkouts": [run.get("checkout") for run in (first, second)],
    }
    return found | {"words": _words(found)}


def _difference(key: str, mine: Curve | None, other: Curve | None) -> Json | None:
    """Where two curves first part."""
    if mine is None or other is None:
        return {"metric": key, "step": None, "values": [None if mine is None else "", None if other is None else ""]}
    length = min(len(mine.steps), len(other.steps))
    same = mine.steps[:length] == other.steps[:length]
    same &= mine.values[:length].view(np.int64) == other.values[:length].view(np.int64)  # of bits: NaN equals NaN
    if same.all() and len(mine.steps) == len(other.steps):
        return None
    place = length if same.all() else int(np.argmin(same))
    at = [float(curve.values[place]) if place < len(curve.steps) else None for curve in (mine, other)]
    longer = mine if place < len(mine.steps) else other
    return {"metric": key, "step": int(longer.steps[place]), "values": at}


def _untimed(values: Json) -> Json:
    return {name: value for name, value in values.items() if "time" not in name}


def _flat(environment: Json) -> dict[str, Any]:
    """What is worth comparing, by name."""
    return {
        "device": environment.get("device"),
        **environment.get("versions", {}),
        **environment.get("environment", {}),
    }


def _from_elsewhere(checkouts: list[Json | None]) -> str:
    """What to say where the two weren't submitted from equal checkouts."""
    first, second = checkouts
    if not first:  # nothing is known
        return ""
    if not second:
        return f" The first was submitted from {checkout_words(first)}, the second from no checkout."
    if (first["commit"], first["sha256"]) == (second["commit"], second["sha256"]):
        return ""
    return f" The first was submitted from {checkout_words(first)}, the second from {checkout_words(second)}."


def _words(found: Json) -> str:
    elsewhere = _from_elsewhere(found["checkouts"])
    sha256 = found["weights_sha256"][0]
    what = f"{found['points']:,} points of {found['metrics']} metrics"
    if found["identical"]:
        weights = f" and the final weights (sha256 {sha256[:12]}…)" if sha256 else ""
        return f"Identical: {what}{weights} are equal bit for bit.{elsewhere}"
    parts = [f"of {found['metrics']} metrics {sum('metric' in d for d in found['differences'])} differ"]
    if first := min(
        (d for d in found["differences"] if d.get("step") is not None), key=lambda d: d["step"], default=None
    ):
        parts.append(f"first {first['metric']} at step {first['step']} ({first['values'][0]} and {first['values'][1]})")
    if sha256:
        parts.append("the final weights are " + ("equal" if len(set(found["weights_sha256"])) == 1 else "not equal"))
    changes = ", ".join(f"{name} {was} → {now}" for name, (was, now) in found["changed"].items())
    why = f"Changed in between: {changes}." if changes else "Nothing that is recorded of the environment has changed."
    return f"Different: {'; '.join(parts)}. {why}{elsewhere}"
