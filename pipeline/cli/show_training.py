"""What a training looks like while it runs, and its table at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from . import show

Watcher = Callable[[Mapping[str, Any]], None]


@contextmanager
def display(quiet: bool) -> Iterator[Watcher]:
    """Give a watcher: a bar over the steps of an epoch on a terminal, a line per epoch anywhere."""
    if quiet:
        yield lambda entry: None
        return
    if not sys.stderr.isatty():
        yield lambda entry: _tell(entry, lambda line: typer.echo(line, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)

        def watch(entry: Mapping[str, Any]) -> None:
            if entry["kind"] == "progress":
                name = f"epoch {entry['epoch']}"
                bar.update(task, completed=entry["batch"], total=entry["of"], description=name)
            _tell(entry, lambda line: bar.console.print(line, markup=False, highlight=False))

        yield watch


def _tell(entry: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if entry["kind"] == "data":
        for split, counts in entry["counts"].get("splits", {}).items():
            lacking = {role: count for role, count in counts["missing"].items() if count}
            words = "".join(f", {count:,} without {role}" for role, count in lacking.items())
            words += f", {counts['dropped']:,} dropped for that" if counts.get("dropped") else ""
            say(f"{split}: {counts['rows']:,} samples{words}")
        for line in _left_out(entry["counts"]):
            say(line)
    elif entry["kind"] == "preparing":
        say(entry["message"])
    elif entry["kind"] == "seed":
        say(f"seed {entry['seed']}: {entry['folder']}")
    elif entry["kind"] == "resumed":
        say(f"goes on in epoch {entry['epoch']} after {entry['step']:,} steps")
    elif entry["kind"] == "epoch":
        train, val = entry["train"].get("loss", 0.0), entry["val"].get("loss", 0.0)
        star = " *" if entry["improved"] else ""
        say(
            f"epoch {entry['epoch']}: train loss {train:.4f}, val loss {val:.4f}, "
            f"{entry['monitor']} {entry['value']:.4f}{star}"
        )
    elif entry["kind"] == "warning":
        say(f"warning: {entry['message']}")
    elif entry["kind"] == "done":
        say(f"nothing left to do ({entry['reason']}); best epoch {entry['best_epoch']}")
    elif entry["kind"] == "end":
        say(f"ended: {entry['reason']}; best epoch {entry['best_epoch']}")


def _left_out(counts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what became of rows that are in no split, and of values that are no numbers."""
    statuses = counts.get("left_out", {})
    if statuses:
        yield "left out: " + ", ".join(f"{name} {number:,}" for name, number in statuses.items())
    for role, found in counts.get("nonfinite_as_zero", {}).items():
        if found["rows"]:
            yield (
                f"{role}: {found['values']:,} values in {found['rows']:,} rows were not finite "
                "and are 0"
            )
    for role, found in counts.get("standardized", {}).items():
        constant = f", {found['constant']:,} of them constant and 0" if found["constant"] else ""
        yield f"{role}: standardized, {found['columns']:,} columns{constant}"
    for role, share in counts.get("residual_text", {}).items():
        yield f"{role}: inpainting left {share:.1%} of the text area, mean over painted pictures"


def print_table(table: Mapping[str, Any]) -> None:
    """Print `table.json`: metrics in rows, majority and models in columns."""
    rows = table["rows"]
    lines = [
        (task, metric, *(_cell(row["results"].get(task, {}).get(metric)) for row in rows))
        for task, metric in table["columns"]
    ]
    names = ("task", "metric", *(row["name"] for row in rows))
    show.print_table(f"{table['title']}, split {table['split']}", names, lines)
    for row in rows:
        for flag in row["flags"]:
            typer.echo(f"{row['name']}, {flag['task']}: {flag['message']}")


def _cell(found: Mapping[str, Any] | None) -> str:
    if not found or found["mean"] is None:
        return "n/a"
    spread = "" if found["std"] is None else f" ± {found['std']:.4f}"
    return f"{found['mean']:.4f}{spread}"
