"""Curves: loss and validation metrics of every seed over the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..context import Section
from ..html import Child, Markup, folded, join, note
from .charts import COLOURS, Line, chart_grid, line_chart, line_legend
from .record import Series, TrainingRecord
from .scores import describe, ordered

_OPEN_TASKS = 1


def section(run: TrainingRecord) -> Section | None:
    """Return the section; None before the first epoch has ended."""
    series = {seed.seed: seed.epochs for seed in run.seeds if seed.epochs}
    if not series:
        return None
    marks = {seed.seed: seed.best_epoch for seed in run.seeds}
    parts: list[Child] = [_legend(series), _losses(series, marks)]
    parts += _metrics(run, series, marks)
    words = "A dot marks the best epoch of a seed, the one that is evaluated; the grey level line "
    words += "is the majority baseline on val."
    return Section("curves", "Curves", join([*parts, note(words)]))


def _legend(series: Mapping[str, Series]) -> Markup:
    entries = {f"seed {seed}": (index, False) for index, seed in enumerate(series)}
    if len(entries) > len(COLOURS):
        entries = {}
    return line_legend({**entries, "training": (0, False), "validation": (0, True)})


def _losses(series: Mapping[str, Series], marks: Mapping[str, int | None]) -> Markup:
    names = list(dict.fromkeys(name for found in series.values() for name in found))
    pairs = _loss_pairs(names)
    charts = []
    for title, wanted in pairs.items():
        lines = [
            Line(f"{seed} {name}", found[name], index, dashed, marks[seed] if dashed else None)
            for index, (seed, found) in enumerate(series.items())
            for name, dashed in wanted
            if name in found
        ]
        if lines:
            charts.append(line_chart(title, lines))
    return chart_grid(charts)


def _loss_pairs(names: Iterable[str]) -> dict[str, list[tuple[str, bool]]]:
    """Return title to (series, dashed): training and validation of one loss in one chart."""
    pairs: dict[str, list[tuple[str, bool]]] = {}
    for name in names:
        split, _, title = name.partition("/")
        if split in ("train", "val") and title.partition("/")[0] == "loss":
            pairs.setdefault(title, []).append((name, split == "val"))
    return pairs


def _metrics(
    run: TrainingRecord, series: Mapping[str, Series], marks: Mapping[str, int | None]
) -> Iterable[Markup]:
    """Yield one fold per task with a chart per validation metric."""
    tasks: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(name for found in series.values() for name in found):
        parts = name.split("/")
        is_metric = len(parts) == 4 and parts[:2] == ["val", "metrics"] and parts[3] != "loss"
        if is_metric and describe(parts[3]).kind not in ("count", "flag"):
            tasks.setdefault(parts[2], {})[parts[3]] = name
    majority = run.majority("val")
    for index, task in enumerate(sorted(tasks, key=lambda name: name != "mean")):
        charts = [
            line_chart(
                f"val {describe(metric).title}",
                [
                    Line(seed, found[name], colour, mark=marks[seed])
                    for colour, (seed, found) in enumerate(series.items())
                    if name in found
                ],
                majority.get(task, {}).get(metric),
            )
            for metric in ordered(tasks[task])
            for name in [tasks[task][metric]]
        ]
        title = "mean over tasks" if task == "mean" else task
        yield folded(title, chart_grid(charts), open_=index < _OPEN_TASKS)
