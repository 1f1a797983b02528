"""Confusion matrices: rows are the truth, columns what was said; summed over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..context import Section
from ..html import Child, Markup, element, join, note
from ..numbers import count_text, share_text
from .record import TrainingRecord


def section(run: TrainingRecord) -> Section | None:
    """Return the section; None where nothing was evaluated."""
    split = run.scored_split()
    if split is None:
        return None
    found: dict[str, tuple[list[str], np.ndarray]] = {}
    seeds = 0
    for seed in run.seeds:
        scores = seed.scores(split)
        seeds += scores is not None
        for facts in (scores or {}).get("confusions") or ():
            _add(found, f"{facts['task']} {facts['view']}".strip(), facts)
    if not found:
        return None
    boxes = [_matrix(task, classes, counts) for task, (classes, counts) in found.items()]
    words = f"On {split}, {seeds} seeds summed. " if seeds > 1 else f"On {split}. "
    words += "A row is a true class; shades are shares of the row. A column that takes every row "
    words += "means that the head says one class only."
    return Section(
        "confusion", "Confusion", join([note(words), element("div", boxes, class_="matrices")])
    )


def _add(found: dict[str, tuple[list[str], np.ndarray]], task: str, facts: dict[str, Any]) -> None:
    counts = np.asarray(facts["counts"], np.int64)
    if task in found:
        found[task] = (found[task][0], found[task][1] + counts)
    else:
        found[task] = ([str(name) for name in facts["classes"]], counts)


def _matrix(task: str, classes: Sequence[str], counts: np.ndarray) -> Markup:
    head: list[Child] = [element("th", "true ↓ said →"), *(element("th", name) for name in classes)]
    rows = [
        element("tr", element("th", name), *(_cell(int(cell), int(row.sum())) for cell in row))
        for name, row in zip(classes, counts, strict=True)
    ]
    body = element("table", element("tr", head), rows, class_="confusion")
    return element(
        "figure",
        element("figcaption", task),
        element("div", body, class_="wide"),
        class_="matrix-box",
    )


def _cell(count: int, whole: int) -> Markup:
    share = count / whole if whole else 0.0
    # A style that depends on the number alone; the sheet gives the colour.
    style = f"--share: {100 * share:.0f}%"
    kind = "full" if share > 0.55 else None
    share_words = element("small", share_text(count, whole))
    return element("td", count_text(count), share_words, style=style, class_=kind)
