"""Scores: ours with intervals beside majority and guessing, published ones in a box apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...evaluation.published import PublishedTable, published
from ...training.metrics.names import METRICS, Metric
from ..context import Section
from ..figures import legend
from ..html import Child, Markup, element, folded, join, note
from ..tables import Rows, table
from .record import TrainingRecord, guessing_of, rows_of

# What a reader looks at first; other metrics follow by name.
_FIRST = ("macro_f1", "accuracy", "weighted_f1", "micro_f1", "mae", "corr")
_HEADS = ("metric", "majority", "guessing", "this run", "95 % interval", "above majority", "")


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one task; None where a number is unknown or undefined.

    Attributes:
        metric: Its name.
        mean: Over seeds.
        std: Sample standard deviation over seeds.
        low, high: Bootstrap interval.
        majority: What the constant classifier scores.
        guessing: What guessing by the class shares of train is expected to score.
    """

    metric: str
    mean: float | None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    majority: float | None = None
    guessing: float | None = None

    @property
    def described(self) -> Metric:
        """What the metric is."""
        return describe(self.metric)

    @property
    def title(self) -> str:
        """The metric as it is printed; of a reading of a task with the reading's name."""
        view, slash, _ = self.metric.rpartition("/")
        return f"{view}{slash}{self.described.title}"

    def text(self, value: float | None) -> str:
        """Return a value of this metric as it is printed: shares in percent."""
        return score(value, self.described.kind == "share")


def describe(name: str) -> Metric:
    """Return what a metric is; a name of another version is a plain number without direction."""
    last = name.rpartition("/")[2]
    return METRICS.get(last, Metric(last, "plain", None))


def section(run: TrainingRecord) -> Section:
    """Return the section."""
    found = run.table
    if found is None:
        words = f"Not evaluated yet: pipeline evaluate {run.name} prints and writes the scores."
        return Section("scores", "Scores", join([note(words), *_published(run.dataset)]))
    colours = {"compute": "interval", "read": "this run", "failed": "majority"}
    parts = [_how(run, found), legend(colours), *_tables(found), *_published(run.dataset)]
    return Section("scores", f"Scores on {found['split']}", join(parts))


def _how(run: TrainingRecord, found: Mapping[str, Any]) -> Markup:
    seeds = seeds_of(found)
    words = f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''} ({', '.join(seeds)}); shares in "
    words += "percent, mean ± sample standard deviation over seeds. The constant classifier that "
    words += "always says the most frequent training class stands beside every number, and what "
    words += "guessing by the class shares of train is expected to reach. "
    words += f"The best epoch was chosen by {run.monitor or 'a number on val'}. "
    return note(words, " ".join(map(str, found.get("notes", ()))))


def seeds_of(found: Mapping[str, Any]) -> list[str]:
    """Return the seeds of a table."""
    results = rows_of(found)[1]["results"]
    first: Mapping[str, Any] = next(
        (cell for of_task in results.values() for cell in of_task.values()), {}
    )
    return [str(seed) for seed in first.get("values", {})]


def cells(found: Mapping[str, Any], task: str) -> dict[str, Cell]:
    """Return the metrics of a task, counts left out, the usual ones first."""
    baseline, model = rows_of(found)
    ours, theirs = model["results"].get(task, {}), baseline["results"].get(task, {})
    guessed = guessing_of(found).get(task, {})
    around = model.get("intervals", {}).get(task, {})
    made = {
        name: Cell(
            name,
            value.get("mean"),
            value.get("std"),
            around.get(name, {}).get("low"),
            around.get(name, {}).get("high"),
            theirs.get(name, {}).get("mean"),
            guessed.get(name, {}).get("mean"),
        )
        for name, value in ours.items()
    }
    return {
        name: made[name]
        for name in ordered(made)
        if made[name].described.kind not in ("count", "flag")
    }


def headline(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return task and metric of the one number to print large."""
    columns = [(str(task), str(metric)) for task, metric in found["columns"]]
    wanted = [("mean", name) for name in _FIRST] + columns
    return next(pair for pair in wanted if pair in columns)


def ordered(metrics: Mapping[str, Any]) -> list[str]:
    """Return names of metrics, the usual ones first."""
    known = [name for name in _FIRST if name in metrics]
    return known + [name for name in metrics if name not in _FIRST]


def _tables(found: Mapping[str, Any]) -> Iterator[Markup]:
    columns = {(str(task), str(metric)) for task, metric in found["columns"]}
    tasks = list(rows_of(found)[1]["results"])
    for task in sorted(tasks, key=lambda name: name != "mean"):
        all_cells = cells(found, task)
        shown = [cell for name, cell in all_cells.items() if (task, name) in columns]
        rest = [cell for name, cell in all_cells.items() if (task, name) not in columns]
        if not shown:
            continue
        count = (found.get("labelled") or {}).get(task)
        title = "mean over tasks" if task == "mean" else task
        title += f" · {count:,} labelled" if count is not None else ""
        parts: list[Child] = [element("h3", title), table(_HEADS, map(_row, shown), kind="scores")]
        if rest:
            more = table(_HEADS, map(_row, rest), kind="scores")
            parts.append(folded("further metrics", more))
        yield join([*parts, _per_class(found, task)])


def _row(cell: Cell) -> list[Child]:
    shown: Markup = element("b", cell.text(cell.mean))
    if cell.std is not None:
        shown = join([shown, f" ± {cell.text(cell.std)}"])
    interval = "–"
    if cell.low is not None and cell.high is not None:
        interval = f"{cell.text(cell.low)} … {cell.text(cell.high)}"
    known = cell.text(cell.majority), cell.text(cell.guessing)
    return [cell.title, *known, shown, interval, gain(cell), _interval_bar(cell)]


def gain(cell: Cell) -> Markup | str:
    """Return the distance from the majority: green only where the interval excludes it."""
    if cell.mean is None or cell.majority is None or cell.described.maximise is None:
        return "–"
    sign = 1 if cell.described.maximise else -1
    near = cell.low if cell.described.maximise else cell.high
    clear = near is not None and sign * (near - cell.majority) > 0
    distance = cell.mean - cell.majority
    kind = "good" if clear else "bad" if sign * distance < 0 else "fair"
    shown = 100 * distance if cell.described.kind == "share" else distance
    return element("span", f"{shown:+.2f}", class_=f"chip {kind}")


def _interval_bar(cell: Cell) -> Child:
    """Return the interval on a scale from 0 to 1 with the majority as a tick."""
    low, high, mean = cell.low, cell.high, cell.mean
    if cell.described.kind != "share" or low is None or high is None or mean is None:
        return None
    line = element("rect", x=0, width=100, y=4.2, height=1.6, class_="fill-track")
    wide = max(100 * (high - low), 0.6)
    reach = element("rect", x=f"{100 * low:.2f}", width=f"{wide:.2f}", y=3, height=4)
    parts = [line, element("g", reach, class_="fill-compute"), _tick(mean, "fill-read")]
    label = f"interval {low:.3f} to {high:.3f}"
    if cell.majority is not None:
        parts.append(_tick(cell.majority, "fill-failed"))
        label += f", majority {cell.majority:.3f}"
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


def _per_class(found: Mapping[str, Any], task: str) -> Child:
    """Return the scores of each class, mean over seeds; None where there are none."""
    each = [
        matrix
        for matrices in (found.get("confusions") or {}).values()
        for matrix in matrices
        if matrix["task"] == task and not matrix["view"]
    ]
    if not each:
        return None
    rows: Rows = []
    for index, name in enumerate(each[0]["classes"]):
        of_class: Sequence[Mapping[str, Any]] = [matrix["per_class"][index] for matrix in each]
        shares = (_mean(of_class, part) for part in ("precision", "recall", "f1"))
        counts = (f"{_mean(of_class, part):,.0f}" for part in ("support", "predicted"))
        rows.append([str(name), *counts, *(score(share, True) for share in shares)])
    heads = ("class", "labelled", "said", "precision", "recall", "F1")
    return folded("per class, mean over seeds", table(heads, rows, kind="scores"))


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)


def score(value: float | None, share: bool) -> str:
    """Return a number as printed: a share in percent, a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{100 * value:.2f}" if share else f"{value:.4f}"


def _published(dataset: str) -> list[Child]:
    found = published(dataset)
    if not found:
        return []
    intro = "Printed by others, from their own splits, features and training; not measured here."
    head = element("h3", "Published numbers")
    return [head, element("div", note(intro), *map(_published_table, found), class_="published")]


def _published_table(found: PublishedTable) -> Markup:
    rows: Rows = [[name, *cells] for name, cells in found.printed().items()]
    head = element("p", element("b", found.title))
    words = f"{found.origin()} {found.note}".strip()
    return join([head, table(("method", *found.columns), rows), note(words)])
