"""`pipeline report`: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as opt

Out = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="File to write; the run's own folder by default."),
]


def report(
    run: opt.Run = None,
    store: opt.Store = opt.DEFAULT_STORE,
    out: Out = None,
) -> None:
    """Write one self-contained HTML page about a run and print its path."""
    from ..report.page import PAGE_NAME, write_report

    session, record = opt.latest_session(store, run)
    target = out or session.layout.runs / record["run"] / PAGE_NAME
    typer.echo(str(write_report(session, record, target.absolute())))
