"""Result tables: the constant classifier and guessing first, then models, published ones apart.

A cell is the mean over seeds ± sample standard deviation of unrounded values. Shares are printed as
percentages with two decimals, MAE and correlation as they are with four. In JSON everything is
unrounded, with the value of each seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..errors import InvalidInput
from ..training.metrics.names import describe
from .aggregate import Aggregate, Aggregates, aggregate
from .bootstrap import Interval
from .flags import Flag
from .published import PublishedTable

Column: TypeAlias = tuple[str, str]
MAJORITY = "majority class of train"
GUESSING = "guessing by class shares of train"
_GUESSED = (
    "Guessing: the expected score of drawing each sample's class by the class shares of train. A "
    "macro-F1 between the majority's and this is no sign that samples were looked at."
)
NO_VALUE = "–"
_HIDDEN = {"ece", "loss"}


@dataclass(frozen=True, slots=True)
class Row:
    """One model, the constant classifier, or guessing.

    Attributes:
        name: What it is called.
        results: Of its seeds, as `aggregate` returns them.
        kind: Whether it is the constant classifier, guessing or a model.
        facts: What stands beside every number: ``text_encoder``, ``alignment``, ``features``
            (provenance digest), ``parameters``, ``flops``, ``epochs``, ``selection``, …
        intervals: Task to metric to bootstrap interval over samples, where it was computed.
        flags: What `flags` found, of any seed.
    """

    name: str
    results: Aggregates
    kind: Literal["baseline", "guess", "model"] = "model"
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    flags: Sequence[Flag] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A finished table; make it with `results_table`.

    Attributes:
        title: Heading.
        split: Which split the numbers are of.
        columns: (task, metric) pairs shown; JSON has all.
        rows: The constant classifier first, then guessing where a task has classes.
        published: Tables of others, shown apart.
        notes: Lines below.
    """

    title: str
    split: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    published: tuple[PublishedTable, ...] = ()
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return the table as Markdown."""
        groups = _grouped(self.columns)
        lines = [f"### {self.title}", "", f"Split: {self.split}. {_seeds(self.rows)}", ""]
        lines.append("| model | " + " | ".join(_heading(group) for group in groups) + " |")
        lines.append("|---|" + "---:|" * len(groups))
        for row in self.rows:
            cells = (" / ".join(cell(row, *column) for column in group) for group in groups)
            mark = " ⚠" if row.flags else ""
            lines.append(f"| {_escaped(row.name)}{mark} | " + " | ".join(cells) + " |")
        for part in (_flag_lines(self.rows), _fact_lines(self.rows)):
            lines += ["", *part] if part else []
        lines += [line for note in self.notes for line in ("", note)]
        for table in self.published:
            lines += ["", table.markdown()]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return everything, unrounded, as JSON values; NaN is null."""
        return {
            "title": self.title,
            "split": self.split,
            "columns": [list(column) for column in self.columns],
            "rows": [_row_json(row) for row in self.rows],
            "published": [table.to_json() for table in self.published],
            "notes": list(self.notes),
        }

    def json_text(self) -> str:
        """Return `to_json` as text."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def results_table(
    title: str,
    split: str,
    majority: Mapping[str, Mapping[str, float]],
    models: Sequence[Row],
    *,
    guessing: Mapping[str, Mapping[str, float]] | None = None,
    columns: Sequence[Column] | None = None,
    published: Sequence[PublishedTable] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Return a table whose first row is the constant classifier.

    Args:
        title: Heading.
        split: Which split the numbers are of.
        majority: What `baselines.constant_results` returned.
        models: Further rows, in order.
        guessing: What `baselines.guessing_results` returned: the second row, unless it is empty.
        columns: (task, metric) pairs; by default accuracies and F1, or what a regression reports.
        published: Tables of others.
        notes: Lines below the table.

    Raises:
        InvalidInput: GloVe and BERT rows are in one table, two rows have one name, or a row lacks
            a column.
    """
    names = [row.name for row in models]
    if len(set(names)) != len(names):
        raise InvalidInput(f"two rows have the same name: {', '.join(sorted(names))}")
    encoders = {str(row.facts.get("text_encoder", "")).lower() for row in models}
    if any("glove" in name for name in encoders) and any("bert" in name for name in encoders):
        raise InvalidInput(
            "rows with GloVe and with BERT text features are not comparable",
            "make one table of each",
        )
    first = Row(MAJORITY, aggregate({"constant": majority}), "baseline")
    chosen = tuple(columns) if columns is not None else default_columns(first.results)
    rows = (first, *models)
    for row in rows:
        absent = [f"{t}/{m}" for t, m in chosen if m not in row.results.get(t, {})]
        if absent:
            raise InvalidInput(f"row '{row.name}' has no {', '.join(absent[:5])}")
    if guessing:
        # Metrics that are not guessed, such as those of a regression, get a dash.
        rows = (first, Row(GUESSING, aggregate({"expectation": guessing}), "guess"), *models)
        notes = (*notes, _GUESSED)
    return Table(title, split, chosen, rows, tuple(published), tuple(notes))


def default_columns(results: Mapping[str, Mapping[str, Aggregate]]) -> tuple[Column, ...]:
    """Return accuracies, F1, errors and correlations of every task; the mean of several last."""
    tasks = [task for task in results if task != "mean"]
    order = [*tasks, "mean"] if len(tasks) > 1 else tasks
    return tuple(
        (task, metric)
        for task in order
        for metric in results.get(task, {})
        if describe(metric).kind in ("share", "plain")
        and not (metric in _HIDDEN or "/" in metric)
        and not metric.endswith(("_precision", "_recall"))
    )


def cell(row: Row, task: str, metric: str) -> str:
    """Return one cell, such as ``52.31 ± 0.42 [50.10, 54.40]`` or ``n/a``."""
    found = row.results.get(task, {}).get(metric)
    if found is None:
        return NO_VALUE
    if found.undefined:
        if row.kind == "baseline":
            return "n/a"
        return f"NaN ({found.undefined} of {len(found.values)} seeds)"
    text = _number(found.mean, metric)
    if len(found.values) > 1:
        text += f" ± {_number(found.std, metric)}"
    around = row.intervals.get(task, {}).get(metric)
    if around is not None:
        text += f" [{_number(around.low, metric)}, {_number(around.high, metric)}]"
    return text


def _number(value: float, metric: str) -> str:
    kind = describe(metric).kind
    if kind == "share":
        return f"{100 * value:.2f}"
    return f"{value:.4f}" if kind == "plain" else f"{value:g}"


def _grouped(columns: Sequence[Column]) -> list[tuple[Column, ...]]:
    """Put Has0 and Non0 of the same score into one cell, so that both are always read."""
    result: list[tuple[Column, ...]] = []
    taken: set[Column] = set()
    for column in columns:
        if column in taken:
            continue
        task, metric = column
        score = metric.removeprefix("has0_").removeprefix("non0_")
        pair = ((task, f"has0_{score}"), (task, f"non0_{score}"))
        group = pair if column in pair and set(pair) <= set(columns) else (column,)
        taken.update(group)
        result.append(group)
    return result


def _heading(group: tuple[Column, ...]) -> str:
    task, metric = group[0]
    title = describe(metric).title
    if "/" in metric:
        title = f"{metric.rpartition('/')[0]} {title}"
    return f"{_escaped(task)} {title}" + ("/Non0" if len(group) > 1 else "")


def _seeds(rows: Sequence[Row]) -> str:
    named = {row.name: list(_any(row).values) for row in rows if row.kind == "model"}
    distinct = {tuple(seeds) for seeds in named.values()}
    if not distinct:
        return ""
    if len(distinct) == 1:
        return f"Mean ± sample std over seeds {', '.join(next(iter(distinct)))}."
    each = "; ".join(f"{name}: {', '.join(seeds)}" for name, seeds in named.items())
    return f"Mean ± sample std over the seeds of each row ({each})."


def _any(row: Row) -> Aggregate:
    return next(value for of_task in row.results.values() for value in of_task.values())


def _flag_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        for found in dict.fromkeys(row.flags):
            where = f"{found.task} {found.view}".strip()
            lines.append(f"- ⚠ {_escaped(row.name)}, {_escaped(where)}: {found.message}")
    return lines


def _fact_lines(rows: Sequence[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.facts))
    if not names:
        return []
    lines = ["| model | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for row in rows:
        if row.facts:
            cells = (_escaped(str(row.facts.get(name, NO_VALUE))) for name in names)
            lines.append(f"| {_escaped(row.name)} | " + " | ".join(cells) + " |")
    return lines


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "facts": dict(row.facts),
        "results": {
            task: {metric: found.to_json() for metric, found in of_task.items()}
            for task, of_task in row.results.items()
        },
        "intervals": {
            task: {metric: found.to_json() for metric, found in of_task.items()}
            for task, of_task in row.intervals.items()
        },
        "flags": [found._asdict() for found in dict.fromkeys(row.flags)],
    }


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
