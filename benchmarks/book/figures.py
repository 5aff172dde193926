"""Small multiples of lines and dots as SVG; no plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

COLOURS = (
    "#2563a8", "#c2571a", "#2e8b57", "#8a4fae", "#b03060", "#6b7280", "#a08a00", "#0f8b8d", "#444444", "#7c4a21", "#d6409f",
    "#4b7f00", "#e0a100",
)  # fmt: skip
WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 26, 38
LETTER = 5.4  # width of one, about
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass
class Mark:
    """A line through ``points``, or a dot (a ring if ``hollow``) if there is one point alone; ``label`` stands at its end."""

    points: Sequence[Point]
    colour: str = COLOURS[0]
    label: str = ""
    hollow: bool = False


@dataclass
class Panel:
    """One plot. ``x_log``: logarithmic x, whose values must be above 0. Ranges default to the data's."""

    title: str
    x_name: str
    y_name: str
    marks: Sequence[Mark] = field(default_factory=list)
    x_log: bool = False
    x_range: Point | None = None
    y_range: Point | None = None


def figure(panels: Sequence[Panel], columns: int = 2) -> str:
    """The SVG text: panels row by row on white."""
    columns = min(columns, len(panels))
    wide, high = columns * WIDTH, -(-len(panels) // columns) * HEIGHT
    inner = "\n".join(
        f'<g transform="translate({index % columns * WIDTH},{index // columns * HEIGHT})">\n{_drawn(panel)}\n</g>'
        for index, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'font-family="sans-serif" font-size="10" fill="#222">\n<rect width="{wide}" height="{high}" fill="#fff"/>\n'
        f"{inner}\n</svg>\n"
    )


def _drawn(panel: Panel) -> str:
    points = [point for mark in panel.marks for point in mark.points]
    forward = math.log10 if panel.x_log else float
    x_low, x_high = _range((forward(x) for x, _ in points), panel.x_range and tuple(map(forward, panel.x_range)))
    y_low, y_high = _range((y for _, y in points), panel.y_range)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(point: Point) -> Point:
        x = LEFT + across * (forward(point[0]) - x_low) / (x_high - x_low)
        return x, TOP + down * (1 - (point[1] - y_low) / (y_high - y_low))

    parts = [_text(LEFT, 16, panel.title, "start", ' font-weight="bold"')]
    parts.append(f'<rect x="{LEFT}" y="{TOP}" width="{across}" height="{down}" fill="none" stroke="#bbb"/>')
    for tick in _ticks(y_low, y_high):
        y = place((1.0, tick))[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}h{across}" stroke="#eee"/>')
        parts.append(_text(LEFT - 4, y + 3, f"{tick:g}", "end"))
    for tick in _log_ticks(x_low, x_high) if panel.x_log else _ticks(x_low, x_high):
        x = place((tick, y_low))[0]
        parts.append(f'<path d="M{x:.1f} {TOP + down}v4" stroke="#888"/>')
        parts.append(_text(x, TOP + down + 14, f"{tick:g}", "middle"))
    parts.append(_text(LEFT + across / 2, HEIGHT - 8, panel.x_name, "middle"))
    parts.append(_text(WIDTH - RIGHT, 16, panel.y_name, "end", ' fill="#777"'))
    placed = [([place(point) for point in mark.points], mark) for mark in panel.marks if mark.points]
    for points, mark in placed:
        parts.append(_shape(points, mark))
    return "\n".join([*parts, *_labels(placed)])


def _shape(points: Sequence[Point], mark: Mark) -> str:
    if len(points) == 1:
        fill = f'fill="{"#fff" if mark.hollow else mark.colour}" stroke="{mark.colour}"'
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3.5" {fill}/>'
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{mark.colour}" stroke-width="1.5"/>'


def _labels(placed: Sequence[tuple[Sequence[Point], Mark]]) -> Iterable[str]:
    """Each beside the end of its mark, where it covers least of the dots and of the labels before it."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for points, _ in placed if len(points) == 1 for x, y in points]
    for points, mark in placed:
        if not mark.label:
            continue
        (x, y), wide = points[-1], LETTER * len(mark.label)
        sides = [x + 6, x - 6 - wide] if x <= WIDTH * 0.6 else [x - 6 - wide, x + 6]
        places = [(left, y + below) for below in (-4, 3, 12, -13, 21, -22) for left in sides]
        boxes = [(left, bottom - 8, left + wide, bottom + 2) for left, bottom in places]
        box = min(boxes, key=lambda box: sum(_shared(box, other) for other in taken) + 10 * _outside(box))
        taken.append(box)
        is_left = box[0] < x
        at = box[2] if is_left else box[0]
        yield _text(at, box[3] - 2, mark.label, "end" if is_left else "start", f' fill="{mark.colour}"')


def _shared(one: Box, other: Box) -> float:
    """The area of both."""
    across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _outside(box: Box) -> float:
    """The area beyond the plot."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _shared(box, (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM))


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _range(values: Iterable[float], given: Sequence[float] | None) -> Point:
    """The given range, or the values' with 6 % of room; never empty."""
    found = list(values)
    low, high = given if given else (min(found, default=0.0), max(found, default=1.0))
    room = 0.0 if given else 0.06 * (high - low)
    return (low - room, high + room) if high > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, some four to eight of them."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [round(index * step, 10) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [
        value
        for decade in decades
        for value in (f * 10.0**decade for f in (1, 2, 5))
        if low <= math.log10(value) <= high
    ]
