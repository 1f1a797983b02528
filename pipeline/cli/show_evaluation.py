"""Scores for people: the majority beside every number, classes, confusions, differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from . import show

if TYPE_CHECKING:
    from ..evaluation.against import Comparison
    from ..evaluation.bootstrap import Difference, Interval
    from ..evaluation.evaluate import Evaluation


def print_evaluation(found: Evaluation) -> None:
    """Print confusions, classes and, nearest to the prompt, every metric beside the majority."""
    for warning in found.warnings:
        show.tell(f"warning: {warning}")
    for task, classes, counts in confusions_of(found):
        rows = [
            (name, *(f"{cell:,}" for cell in row))
            for name, row in zip(classes, counts.tolist(), strict=True)
        ]
        show.print_table(f"{task}: truth in rows, said in columns", ("", *classes), rows)
    heads: tuple[str, ...] = ("task", "class", "support", "predicted", "precision", "recall", "F1")
    show.print_table("classes, all seeds together", heads, _class_rows(found))
    heads = ("task", "n", "metric", "majority", "guessing", "this run")
    heads += ("95 % interval", "above majority")
    title = f"{found.table.title}, split {found.split}, seeds {', '.join(found.seeds)}"
    show.print_table(title, heads, _metric_rows(found))
    for row in found.table.rows:
        for flag in row.flags:
            where = f"{flag.task} {flag.view}".strip()
            typer.echo(f"flag: {where}: {flag.message}")
    for note in found.table.notes:
        typer.echo(note)


def _metric_rows(found: Evaluation) -> Iterator[tuple[str, ...]]:
    from ..evaluation.tables import NO_VALUE, cell
    from ..training.metrics.names import describe

    baseline, *guess, model = found.table.rows
    last = ""
    for task, metric in found.table.columns:
        ours = model.results[task][metric]
        theirs = baseline.results[task][metric]
        around = model.intervals.get(task, {}).get(metric)
        count = found.labelled.get(task)
        percent = 100 if describe(metric).kind == "share" else 1
        digits = 2 if percent == 100 else 4
        interval = (
            f"{percent * around.low:.{digits}f} … {percent * around.high:.{digits}f}"
            if around is not None and not around.undefined
            else "–"
        )
        gain = percent * (ours.mean - theirs.mean)
        yield (
            task if task != last else "",
            f"{count:,}" if count is not None and task != last else "",
            f"{describe(metric).title} %" if percent == 100 else describe(metric).title,
            cell(baseline, task, metric),
            cell(guess[0], task, metric) if guess else NO_VALUE,
            cell(model, task, metric).partition(" [")[0],
            interval,
            "–" if gain != gain else f"{gain:+.{digits}f}",
        )
        last = task


def _class_rows(found: Evaluation) -> Iterator[tuple[str, ...]]:
    from ..training.metrics.classification import per_class

    for task, classes, counts in confusions_of(found):
        scores = per_class(counts.astype(np.float64))
        for index, name in enumerate(classes):
            shares = (scores.precision[index], scores.recall[index], scores.f1[index])
            yield (
                task if index == 0 else "",
                name,
                f"{int(scores.support[index]):,}",
                f"{int(scores.predicted[index]):,}",
                *(f"{100 * float(share):.2f}" for share in shares),
            )


def confusions_of(found: Evaluation) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield task (with its reading), classes and counts summed over seeds."""
    each = [scores.confusions for scores in found.seeds.values()]
    for group in zip(*each, strict=True):
        first = group[0]
        name = f"{first.task} {first.view}".strip()
        yield name, first.classes, np.sum([item.counts for item in group], axis=0)


def print_comparison(found: Comparison) -> None:
    """Print differences with their intervals; one that excludes 0 is marked."""
    from ..report.training.against import main_metric
    from ..training.metrics.names import describe

    rows = []
    for task, of_task in found.differences.items():
        for metric, item in of_task.items():
            if main_metric(metric):
                share = describe(metric).kind == "share"
                rows.append((task, describe(metric).title, *_difference(item, share)))
    heads = ("task", "metric", "difference", "over samples", "over seeds", "both", "0 excluded")
    title = f"{found.first} minus {found.second}, {found.samples:,} samples of {found.split}, "
    title += f"seeds {', '.join(found.seeds)}, shares in points, others in their own unit"
    show.print_table(title, heads, rows)
    for name, decided in zip((found.first, found.second), found.decided, strict=True):
        if decided:
            typer.echo(f"{name}: {decided}")
    typer.echo("95 % intervals of paired bootstrap resamples; the last column is about samples.")


def _difference(item: Difference, share: bool) -> tuple[str, ...]:
    # Errors and correlations differ in the digits that shares have before the point.
    unit, digits = (100, 2) if share else (1, 4)

    def words(interval: Interval | None) -> str:
        if interval is None or interval.low != interval.low:
            return "–"
        return f"{unit * interval.low:+.{digits}f} … {unit * interval.high:+.{digits}f}"

    low, high = item.samples.low, item.samples.high
    excluded = "yes" if low > 0 or high < 0 else "no"
    value = f"{unit * item.samples.value:+.{digits}f}"
    return value, words(item.samples), words(item.seeds), words(item.both), excluded
