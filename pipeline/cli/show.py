"""Printing: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

_SECONDS_BETWEEN_LINES = 15.0

if TYPE_CHECKING:
    from ..engine.execute import Progress, Watcher
    from ..engine.session import Summary


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers are set to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = bool(found) and all(isinstance(row[index], int | float) for row in found)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in found:
        table.add_row(*(Text(cell_text(item)) for item in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def cell_text(value: Any) -> str:
    """Return a value as it stands in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def size_text(num_bytes: int) -> str:
    """Return a size with its unit."""
    size = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def tell(message: str) -> None:
    """Print one line of what is going on to standard error."""
    typer.echo(message, err=True)


INTERRUPTED = 130


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C into one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        tell("stopped; running the same command again goes on from here")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress_bar(total: int, quiet: bool) -> Iterator[Watcher]:
    """Give a watcher that shows finished cells on standard error: a bar, or lines in a log."""
    if not quiet and not sys.stderr.isatty():
        yield _line_watcher(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("shards", total=total)

        def watch(progress: Progress, label: str) -> None:
            bar.update(task, completed=progress.finished, description=label)

        yield watch  # type: ignore[misc]


def _line_watcher(total: int) -> Watcher:
    last = time.monotonic()

    def watch(progress: Progress, label: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES or "lost" in label:
            last = time.monotonic()
            tell(f"{progress.finished:,} of {total:,} shards, last {label}")

    return watch


def print_summary(summary: Summary) -> None:
    """Print what a run ended with."""
    for warning in summary.warnings:
        tell(f"warning: {warning}")
    rows = [
        (
            item.name,
            item.node,
            item.ok,
            item.absent,
            item.failed,
            size_text(item.bytes),
            item.fingerprint,
        )
        for item in summary.outputs
    ]
    names = ("output", "node", "ok", "absent", "failed", "size", "fingerprint")
    print_table(f"{summary.dataset}: {summary.samples:,} samples", names, rows)
    cells = ", ".join(f"{count:,} {name}" for name, count in summary.cells.items() if count)
    typer.echo(f"shards: {cells or 'none'} · {summary.seconds:.1f} s")
    for label, cause in summary.failed_cells.items():
        typer.echo(f"shard failed: {label}: {cause}")
    if summary.failed_samples:
        classes = ", ".join(f"{name} {count:,}" for name, count in summary.classes.items())
        share = f"{100 * summary.failed_share:.1f} %"
        typer.echo(f"samples with a failed row: {summary.failed_samples:,} ({share}): {classes}")
        typer.echo("details: pipeline quarantine list · again: pipeline retry")
    if summary.empty:
        typer.echo(f"no row at all was written for: {', '.join(summary.empty)}")
