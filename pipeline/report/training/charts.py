"""Line charts as inline SVG, one thin line per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..html import Markup, element

Points: TypeAlias = Sequence[tuple[float, float]]

# In units of the drawing's own coordinates.
_WIDTH, _HEIGHT = 360.0, 176.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 8.0, 24.0
COLOURS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: What it is, for the legend.
        points: (x, y) in order of x; finite.
        colour: Number of its colour.
        dashed: Set apart from a full line of the same colour.
        mark: x of a point to mark, for example the best epoch.
    """

    name: str
    points: Points
    colour: int = 0
    dashed: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class _Frame:
    """From values to coordinates."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low or 1.0
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - self.x_low) / span

    def y(self, value: float) -> float:
        span = self.y_high - self.y_low or 1.0
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - self.y_low) / span


def line_chart(title: str, lines: Sequence[Line], level: float | None = None) -> Markup:
    """Return a figure of lines over epochs or steps.

    Args:
        title: What is drawn.
        lines: At least one with a point.
        level: A horizontal line to compare with, for example the majority baseline.
    """
    drawn = [line for line in lines if line.points]
    frame = _frame(drawn, level)
    parts: list[Markup] = [*_grid(frame)]
    if level is not None:
        parts.append(_rule(frame.y(level), "level"))
    for line in drawn:
        parts += _line(frame, line)
    drawing = element(
        "svg",
        parts,
        class_="chart",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
        aria_label=f"{title}: " + ", ".join(_spoken(line) for line in drawn),
    )
    return element("figure", element("figcaption", title), drawing, class_="chart-figure")


def _spoken(line: Line) -> str:
    return f"{line.name} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"


def _frame(lines: Sequence[Line], level: float | None) -> _Frame:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + ([] if level is None else [level])
    low, high = min(ys), max(ys)
    room = 0.06 * (high - low) or abs(high) * 0.05 or 0.05
    return _Frame(min(xs), max(xs), low - room, high + room)


def _grid(frame: _Frame) -> list[Markup]:
    parts: list[Markup] = []
    for value in ticks(frame.y_low, frame.y_high):
        parts.append(_rule(frame.y(value), "grid"))
        parts.append(_text(_LEFT - 6, frame.y(value) + 3.5, _short(value), "end"))
    for value in ticks(frame.x_low, frame.x_high, whole=True):
        parts.append(_text(frame.x(value), _HEIGHT - 8, _short(value), "middle"))
    return parts


def ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """Return round values between ``low`` and ``high``, about ``count`` of them."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _short(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def _rule(y: float, kind: str) -> Markup:
    return element(
        "line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_=f"rule-{kind}"
    )


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _line(frame: _Frame, line: Line) -> list[Markup]:
    colour = f"stroke-{COLOURS[line.colour % len(COLOURS)]}"
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    kind = f"{colour} dashed" if line.dashed else colour
    parts = [element("polyline", points=path, class_=kind)]
    if len(places) == 1:
        parts.append(_dot(*places[0], colour))
    at = [place for place, (x, _) in zip(places, line.points, strict=True) if x == line.mark]
    return parts + [_dot(x, y, colour) for x, y in at]


def _dot(x: float, y: float, colour: str) -> Markup:
    return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.2, class_=f"dot {colour}")


def line_legend(entries: Mapping[str, tuple[int, bool]]) -> Markup:
    """Return what the lines mean: words to (number of the colour, dashed)."""
    items = [
        element("li", _sample(colour, dashed), words) for words, (colour, dashed) in entries.items()
    ]
    return element("ul", items, class_="legend")


def _sample(colour: int, dashed: bool) -> Markup:
    kind = f"stroke-{COLOURS[colour % len(COLOURS)]}{' dashed' if dashed else ''}"
    line = element("line", x1=0, x2=22, y1=5, y2=5, class_=kind)
    return element("svg", line, class_="key", viewBox="0 0 22 10", aria_hidden="true")


def chart_grid(charts: Sequence[Markup]) -> Markup:
    """Return charts side by side."""
    return element("div", charts, class_="charts")
