"""`pipeline status`, `retry` and `quarantine list`: what the latest run left, and mending it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from . import options as opt

quarantine_app = typer.Typer(
    help="Rows that failed, with their cause.", no_args_is_help=True, rich_markup_mode=None
)

Only = Annotated[str | None, typer.Option(help="A class of failure, e.g. decode_error.")]


def status(
    store: opt.Store = opt.DEFAULT_STORE, run: opt.Run = None, json_output: opt.Json = False
) -> None:
    """Show what the store holds for a run, from commit records alone."""
    from ..engine.session import summarise
    from . import show

    session, record = opt.latest_session(store, run)
    summary = summarise(session, None, record["run"], 0.0)
    counts = session.plan.counts()
    total: Counter[str] = sum(counts.values(), Counter())
    if json_output:
        cells = {name: dict(count) for name, count in counts.items()}
        value = {**summary.to_json(), "cells": cells, "state": record["state"]}
        show.print_json(value)
        return
    show.print_summary(summary)
    states = ", ".join(f"{count:,} {state}" for state, count in total.items())
    typer.echo(f"run {record['run']} ({record['state']}); shards now: {states}")


def retry(
    only: Only = None,
    store: opt.Store = opt.DEFAULT_STORE,
    run: opt.Run = None,
    cluster: opt.Cluster = "local",
    workers: opt.Workers = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Compute failed rows again, and nothing else."""
    from ..engine.retry import check_unchanged, count_rows, rows_to_retry
    from ..engine.session import OVER_BUDGET, execute
    from . import show

    session, record = opt.latest_session(store, run, assignments)
    check_unchanged(session, show.tell)
    wanted = rows_to_retry(session, only)
    if not wanted:
        what = f" of class '{only}'" if only else ""
        show.tell(f"run {record['run']} has no failed row{what}; nothing to do")
        missing = len(session.plan.todo())
        if missing:
            show.tell(f"{missing:,} shards are not computed: pipeline run extract")
            raise typer.Exit(OVER_BUDGET)
        return
    show.tell(f"trying {count_rows(wanted):,} samples again in {len(wanted):,} shards")
    cells = len(session.plan.cells)
    with show.interruptible(), show.progress_bar(cells, quiet=json_output) as watcher:
        summary = execute(
            session, cluster=cluster, workers=workers, watcher=watcher, only_keys=wanted
        )
    if json_output:
        show.print_json(summary.to_json())
    else:
        show.print_summary(summary)
    raise typer.Exit(summary.exit_code)


@quarantine_app.command("list")
def quarantine_list(
    only: Only = None,
    store: opt.Store = opt.DEFAULT_STORE,
    run: opt.Run = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to print; 0 for all.")] = 50,
    json_output: opt.Json = False,
) -> None:
    """List failed rows: where, which, why, and what to do."""
    from ..engine.session import failed_rows
    from . import show

    session, _ = opt.latest_session(store, run)
    rows = [row for row in failed_rows(session) if only is None or row["class"] == only]
    if json_output:
        show.print_json(rows)
        return
    shown = rows[:limit] if limit else rows
    names = ("node", "key", "class", "message", "hint")
    cells = ([row[name] for name in names] for row in shown)
    samples = len({row["key"] for row in rows})
    show.print_table(f"{len(rows):,} failed rows of {samples:,} samples", names, cells)
    if len(shown) < len(rows):
        typer.echo(f"{len(rows) - len(shown):,} more; --limit 0 shows all")
