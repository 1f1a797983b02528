"""`pipeline verify`: whether the store holds what its commit records say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import options as opt

if TYPE_CHECKING:
    from ..store.verify import Report

UNSOUND = 3
_SHOWN_LEFTOVERS = 5

All = Annotated[bool, typer.Option("--all", help="Everything in the store, whichever run made it.")]
Repair = Annotated[
    bool,
    typer.Option("--repair", help="Remove the commits at fault; the next run computes them again."),
]


def verify(
    store: opt.Store = opt.DEFAULT_STORE,
    run: opt.Run = None,
    everything: All = False,
    repair_damage: Repair = False,
    json_output: opt.Json = False,
) -> None:
    """Check every byte, key and count of the latest run; exit 0 when sound, 3 otherwise."""
    from ..engine.session import latest_run
    from ..errors import UsageError
    from ..store.api import open_store
    from ..store.verify import repair, verify_all, verify_run
    from . import show

    if everything and run is not None:
        raise UsageError("got both --all and --run", "pass one of them")
    layout = open_store(store).layout
    report = verify_all(layout) if everything else verify_run(layout, latest_run(layout, run))
    if repair_damage:
        repair(layout, report)
    if json_output:
        show.print_json(report.to_json())
    else:
        _print(report)
    raise typer.Exit(0 if report.sound else UNSOUND)


def _print(report: Report) -> None:
    from . import show

    for problem in report.problems:
        shard = "" if problem.shard is None else f" shard {problem.shard}"
        typer.echo(f"problem: {problem.where}{shard}: {problem.what}")
    for line in report.incomplete:
        typer.echo(f"incomplete: {line}")
    if report.leftovers:
        names = report.leftovers[:_SHOWN_LEFTOVERS]
        more = "" if len(names) == len(report.leftovers) else ", …"
        typer.echo(f"harmless leftovers: {len(report.leftovers)}: {', '.join(names)}{more}")
    for path in report.repaired:
        typer.echo(f"removed: {path}")
    size = show.size_text(report.bytes)
    checked = f"{report.outputs:,} outputs, {report.parts:,} shards, {report.rows:,} rows, {size}"
    typer.echo(f"{'sound' if report.sound else f'{len(report.problems):,} problems'}: {checked}")
    if report.problems:
        hint = "run extract again" if report.repaired else "`pipeline verify --repair`, then run"
        typer.echo(f"what to do: {hint}")
