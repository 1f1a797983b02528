"""Scores: ours with intervals beside the majority, published ones in a box of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...evaluation.published import PublishedTable, published_on
from ..context import Section
from ..html import Child, Markup, element, folded, join, note
from ..tables import Rows, table
from .record import TrainingRecord

# What a reader looks at first; other metrics follow by name.
_FIRST = ("macro_f1", "accuracy", "weighted_f1", "mae", "corr", "acc2_non0", "acc2_has0")


def section(run: TrainingRecord) -> Section | None:
    """Return the section; None while nothing is known."""
    found = run.table
    if found is None:
        return Section("scores", "Scores", _none(run))
    split = str(found["split"])
    parts: list[Child] = [_how(run, found), *_tables(found["tasks"])]
    parts += _published(run.dataset)
    return Section("scores", f"Scores on {split}", join(parts))


def _none(run: TrainingRecord) -> Markup:
    words = f"Not evaluated yet: pipeline evaluate {run.name} prints and writes the scores."
    return join([note(words), *_published(run.dataset)])


def _how(run: TrainingRecord, found: Mapping[str, Any]) -> Markup:
    seeds = found.get("seeds", ())
    words = [
        f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''} ({', '.join(map(str, seeds))}); "
        "mean ± sample standard deviation over seeds. ",
        f"Intervals: {found['interval']}. " if found.get("interval") else "",
        "The best epoch was chosen by ",
        f"{run.monitor}. " if run.monitor else "a metric on val. ",
        f"Batches: {found['batch_policy']}. " if found.get("batch_policy") else "",
    ]
    if found.get("thresholds"):
        words.append("Thresholds of binary tasks were tuned on val. ")
    return note(*words)


def _tables(tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[Markup]:
    for task, found in tasks.items():
        metrics = found["metrics"]
        rows: Rows = [_row(name, metrics[name]) for name in ordered(metrics)]
        heads = ("metric", "majority", "this run", "95 % interval", "above majority", "")
        title = f"{task}" if task != "mean" else "mean over tasks"
        if found.get("labelled"):
            title += f" · {found['labelled']:,} labelled"
        per_class = found.get("per_class")
        body = [table(heads, rows, kind="scores"), _per_class(per_class) if per_class else None]
        yield join([element("h3", title), *body])


def ordered(metrics: Mapping[str, Any]) -> list[str]:
    """Return names of metrics, the usual ones first."""
    known = [name for name in _FIRST if name in metrics]
    return known + sorted(set(metrics) - set(known))


def _row(name: str, cell: Mapping[str, Any]) -> list[Child]:
    low, high, majority = cell.get("low"), cell.get("high"), cell.get("majority")
    interval = f"{score(low)} … {score(high)}" if low is not None and high is not None else "–"
    shown = element("b", score(cell.get("mean")))
    if cell.get("std") is not None:
        shown = join([shown, f" ± {score(cell['std'])}"])
    return [name, score(majority), shown, interval, _gain(cell), _interval_bar(cell)]


def _gain(cell: Mapping[str, Any]) -> Markup | str:
    mean, majority = cell.get("mean"), cell.get("majority")
    if mean is None or majority is None:
        return "–"
    low, high = cell.get("low"), cell.get("high")
    better = cell.get("direction", "max") == "max"
    gain = mean - majority
    clear = low is not None and (low > majority if better else high < majority)
    worse = gain < 0 if better else gain > 0
    kind = "good" if clear else "bad" if worse else "fair"
    return element("span", f"{gain:+.3f}", class_=f"chip {kind}")


def _interval_bar(cell: Mapping[str, Any]) -> Child:
    """Return the interval on a scale from 0 to 1 with the majority as a tick."""
    ends = [cell.get(name) for name in ("low", "high", "mean")]
    low, high, mean = (math.nan if value is None else float(value) for value in ends)
    # NaN, too, is not within 0 and 1.
    if not all(0 <= value <= 1 for value in (low, high, mean)):
        return None
    majority = cell.get("majority")
    line = element("rect", x=0, width=100, y=4.2, height=1.6, class_="fill-track")
    wide = max(100 * (high - low), 0.6)
    reach = element("rect", x=f"{100 * low:.2f}", width=f"{wide:.2f}", y=3, height=4)
    parts = [line, element("g", reach, class_="fill-compute")]
    parts.append(_tick(mean, "fill-read"))
    if majority is not None and 0 <= majority <= 1:
        parts.append(_tick(majority, "fill-failed"))
    label = f"interval {low:.3f} to {high:.3f}"
    if majority is not None:
        label += f", majority {majority:.3f}"
    return element(
        "svg",
        parts,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _tick(value: float, kind: str) -> Markup:
    return element("rect", x=f"{100 * value - 0.35:.2f}", width=0.7, y=0, height=10, class_=kind)


def _per_class(rows: Sequence[Mapping[str, Any]]) -> Markup:
    cells: Rows = [
        [
            str(row["class"]),
            int(row["support"]),
            *(score(row.get(name)) for name in ("precision", "recall", "f1")),
        ]
        for row in rows
    ]
    heads = ("class", "samples", "precision", "recall", "F1")
    return folded("per class, mean over seeds", table(heads, cells, kind="scores"))


def score(value: float | None) -> str:
    """Return a score with three decimals, a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _published(dataset: str) -> list[Child]:
    found = published_on(dataset)
    if not found:
        return []
    intro = "Printed by others, from their own splits, features and training; not ours, not rerun."
    head = element("h3", "Published numbers")
    boxes = [element("div", note(intro), *map(_published_table, found), class_="published")]
    return [head, *boxes]


def _published_table(found: PublishedTable) -> Markup:
    rows: Rows = []
    if found.majority is not None:
        title = element("i", found.majority.title)
        rows.append([title, *map(_as_printed, found.majority.values)])
    rows += [[row.method, *map(_as_printed, row.values)] for row in found.rows]
    head = element("p", element("b", found.title), " · ", found.printed_as)
    words = note(f"Source: {found.source}. {found.note}".strip())
    return join([head, table(("method", *found.columns), rows), words])


def _as_printed(value: float | None) -> str:
    return "–" if value is None else f"{value:g}" if value < 1 else f"{value:.2f}"
