"""Where a model looks: words coloured and region boxes drawn by weight, for chosen samples.

Weights of a sample sum to 1 over its valid entries. A colour is full at `FULL_AT` times equal
weights, or at the sample's largest weight where that is more, so that weights that hardly differ
look alike and light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..context import Section
from ..html import Child, Markup, code, element, join, note
from ..numbers import counted
from . import neighbours
from .neighbours import Neighbour
from .picture import Picture, shown

Box: TypeAlias = tuple[float, float, float, float]

MAX_BOXES = 8
MAX_WORDS = 160
FULL_AT = 3.0
_NEIGHBOURS = (
    "Neighbours are the samples of the same batch that a sample is joined to in a graph: their "
    "features are averaged with its own. Named are the five with the greatest cosine, or as many "
    "as there are. In another batch it has others."
)


@dataclass(frozen=True)
class AttentionSample:
    """One sample as the model saw it.

    Attributes:
        key: Its key.
        truth: Task to label in words; absent where it has none.
        said: Task to prediction in words.
        words: Tokens in order with weights; empty where the model does not weight tokens.
        boxes: Regions ``(x1, y1, x2, y2)`` in the picture's pixels, with weights.
        others: Further roles to weights, for which neither words nor boxes are known.
        picture: The picture; None with the reason in ``missing``.
        missing: Why something is not shown.
        neighbours: By graph, the samples it was judged together with, strongest first.
    """

    key: str
    truth: Mapping[str, str]
    said: Mapping[str, str]
    words: Sequence[tuple[str, float]] = ()
    boxes: Sequence[tuple[Box, float]] = ()
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)
    picture: Picture | None = None
    missing: tuple[str, ...] = ()
    neighbours: Mapping[str, Sequence[Neighbour]] = field(default_factory=dict)


def section(samples: Sequence[AttentionSample], how: str, warning: str) -> Section | None:
    """Return the section.

    Args:
        samples: Chosen samples; with none only ``how`` is said.
        how: How they were chosen, or why there are none.
        warning: The dataset's own warning.
    """
    if not samples and not how:
        return None
    parts: list[Child] = [note(how)]
    if samples and warning:
        parts.append(element("p", element("b", "Warning: "), warning, class_="verdict fair"))
    if samples:
        words = f"The colour is full at {FULL_AT:g} times equal weights, or at the largest weight. "
        if any(sample.boxes for sample in samples):
            words += f"Of the regions the {MAX_BOXES} with the largest weights are drawn."
        parts.append(note(words))
    related = any(sample.neighbours for sample in samples)
    if related:
        parts.append(note(_NEIGHBOURS))
    parts.append(element("div", map(_sample, samples), class_="looks"))
    title = "Attention and neighbours" if related else "Attention"
    return Section("attention", title, join(parts))


def _sample(sample: AttentionSample) -> Markup:
    lines = [_task_line(task, sample.truth.get(task), said) for task, said in sample.said.items()]
    facts = element("ul", lines, class_="said")
    text: list[Child] = [element("p", code(sample.key)), facts]
    if sample.words:
        text += [_words(sample.words), _spread([weight for _, weight in sample.words], "token")]
    if sample.boxes:
        text.append(_spread([weight for _, weight in sample.boxes], "region"))
    text += [_strip(role, weights) for role, weights in sample.others.items()]
    text += [note(reason) for reason in sample.missing]
    text.append(neighbours.listing(sample.neighbours))
    picture = _drawn(sample.picture, sample.boxes) if sample.picture is not None else None
    return element("article", picture, element("div", text), class_="look")


def _task_line(task: str, truth: str | None, said: str) -> Markup:
    if truth is None:
        return element("li", f"{task}: said {said}; no label")
    kind = "right" if truth == said else "wrong"
    words = f"{task}: {said}" if truth == said else f"{task}: said {said}, labelled {truth}"
    return element("li", words, class_=kind)


def _words(words: Sequence[tuple[str, float]]) -> Markup:
    full = full_weight([weight for _, weight in words])
    pieces: list[Child] = []
    for index, (word, weight) in enumerate(words[:MAX_WORDS]):
        joined = word.startswith("##")
        if index and not joined:
            pieces.append(" ")
        special = word.startswith("[") and word.endswith("]")
        pieces.append(
            element(
                "span",
                word[2:] if joined else word,
                class_="token special" if special else "token",
                style=f"--weight: {100 * weight / full:.0f}%",
                title=f"{weight:.4f}",
            )
        )
    if len(words) > MAX_WORDS:
        pieces.append(f" … and {len(words) - MAX_WORDS} more")
    return element("p", *pieces, class_="tokens", dir="auto")


def _spread(weights: Sequence[float], noun: str) -> Markup:
    count, largest = len(weights), max(weights)
    words = f"weights of {counted(count, noun)}: largest {largest:.4f}"
    words += f", equal ones {1 / count:.4f}, entropy {normalised_entropy(weights):.3f} of 1"
    return note(words)


def full_weight(weights: Sequence[float]) -> float:
    """Return the weight that gets the full colour; 1 where there are no weights."""
    if not weights:
        return 1.0
    return max(max(weights), FULL_AT / len(weights))


def normalised_entropy(weights: Sequence[float]) -> float:
    """Return the entropy of weights that sum to 1, relative to equal weights; 1 for one entry."""
    if len(weights) < 2:
        return 1.0
    entropy = -sum(weight * math.log(weight) for weight in weights if weight > 0)
    return entropy / math.log(len(weights))


def _strip(role: str, weights: Sequence[float]) -> Markup:
    full = full_weight(weights)
    cells = [
        element("span", class_="cell", style=f"--weight: {100 * weight / full:.0f}%")
        for weight in weights[:MAX_WORDS]
    ]
    strip = element("div", cells, class_="weights", role="img", aria_label=f"weights of {role}")
    return join([note(role), strip, _spread(weights, "place")])


def _drawn(picture: Picture, boxes: Sequence[tuple[Box, float]]) -> Markup:
    """Return the picture with boxes; the strongest lies on top."""
    strongest = sorted(boxes, key=lambda item: item[1])[-MAX_BOXES:]
    full = full_weight([weight for _, weight in boxes])
    line = max(picture.width, picture.height) / 90
    shapes = [_box(box, weight, weight / full, line) for box, weight in strongest]
    overlay = element(
        "svg",
        shapes,
        viewBox=f"0 0 {picture.width} {picture.height}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    canvas = element("div", shown(picture, "the sample's picture"), overlay, class_="canvas")
    return element("div", canvas, class_="picture")


def _box(box: Box, weight: float, relative: float, line: float) -> Markup:
    left, top, right, bottom = box
    return element(
        "g",
        element("title", f"{weight:.4f}"),
        element(
            "rect",
            x=f"{left:.1f}",
            y=f"{top:.1f}",
            width=f"{max(right - left, 0):.1f}",
            height=f"{max(bottom - top, 0):.1f}",
            stroke_width=f"{line * (0.3 + 0.7 * relative):.2f}",
        ),
        class_="box",
        style=f"opacity: {0.25 + 0.75 * relative:.2f}",
    )
