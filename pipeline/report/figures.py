"""Bars and histograms as inline SVG: they print, scale and need nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .html import Markup, element

_WIDTH = 100.0


def stacked_bar(
    parts: Mapping[str, float], whole: float | None = None, label: str = "", slim: bool = False
) -> Markup:
    """Return one bar of coloured parts.

    Args:
        parts: Colour class (see style.css) to amount, at least 0, in drawing order.
        whole: Amount that fills the bar; the sum of the parts by default.
        label: What the bar says, for those who do not see it.
        slim: Half the height, for bars inside tables.
    """
    total = whole if whole is not None else sum(parts.values())
    start = 0.0
    pieces = [_rect("track", 0.0, _WIDTH)]
    for name, amount in parts.items():
        width = _WIDTH * amount / total if total > 0 else 0.0
        if width > 0:
            pieces.append(_rect(name, start, width))
        start += width
    return element(
        "svg",
        pieces,
        class_="bar slim" if slim else "bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=label or ", ".join(f"{name} {amount:g}" for name, amount in parts.items()),
    )


def _rect(name: str, start: float, width: float) -> Markup:
    return element("rect", class_=f"fill-{name}", x=_round(start), width=_round(width), height=10)


def _round(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def legend(entries: Mapping[str, str]) -> Markup:
    """Return what the colours mean: colour class to words."""
    items = [
        element("li", element("span", class_=f"swatch fill-{name}"), words)
        for name, words in entries.items()
    ]
    return element("ul", items, class_="legend")


def histogram(counts: Sequence[int], low: str, high: str, label: str) -> Markup:
    """Return upright bars with the smallest and largest value below them.

    Args:
        counts: Rows per bin, at least one bin.
        low: Text below the first bin.
        high: Text below the last bin.
        label: What is counted.
    """
    tallest = max(max(counts), 1)
    step = _WIDTH / len(counts)
    bars = [
        element(
            "rect",
            class_="fill-compute",
            x=_round(index * step + 0.15 * step),
            y=_round(40 - 40 * count / tallest),
            width=_round(0.7 * step),
            height=_round(40 * count / tallest),
        )
        for index, count in enumerate(counts)
    ]
    drawing = element(
        "svg",
        bars,
        class_="histogram",
        viewBox="0 0 100 40",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}: {', '.join(str(count) for count in counts)}",
    )
    scale = element("div", element("span", low), element("span", high), class_="scale")
    return element(
        "figure", drawing, scale, element("figcaption", label), class_="histogram-figure"
    )
