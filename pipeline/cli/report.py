"""`pipeline report`: one HTML page about an extraction or a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError, unknown_name
from . import options as opt
from .run_folders import DEFAULT_RUNS, Runs, find_run

Training = Annotated[
    str | None,
    typer.Argument(help="A training run, or nothing for the latest extraction in --store."),
]
Out = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="File to write; the run's own folder by default."),
]
PerClass = Annotated[
    int, typer.Option(min=0, max=50, help="Samples per class with attention; 0 for none.")
]
Task = Annotated[str | None, typer.Option(help="Task whose classes those samples are of.")]


def report(
    training: Training = None,
    run: opt.Run = None,
    store: opt.Store = opt.DEFAULT_STORE,
    runs: Runs = DEFAULT_RUNS,
    out: Out = None,
    samples_per_class: PerClass = 2,
    task: Task = None,
) -> None:
    """Write one self-contained HTML page about a run and print its path."""
    if training is not None:
        # Only a store that was asked for is read in place of the training's own.
        named = store if store != opt.DEFAULT_STORE else None
        typer.echo(
            str(_training_page(find_run(training, runs), named, out, samples_per_class, task))
        )
        return
    from ..report.page import PAGE_NAME, write_report

    session, record = opt.latest_session(store, run)
    target = out or session.layout.runs / record["run"] / PAGE_NAME
    typer.echo(str(write_report(session, record, target.absolute())))


def _training_page(
    folder: Path, store: Path | None, out: Path | None, per_class: int, task: str | None
) -> Path:
    from ..loading import missing_dependency
    from ..report.training.page import PAGE_NAME, Looks, write_training_report
    from ..report.training.record import read_run

    run = read_run(folder)
    if task is not None and task not in run.tasks:
        raise UsageError(unknown_name("task", task, run.tasks))
    looks = Looks()
    if per_class:
        try:
            from ..evaluation.trained import TrainedRun
            from ..report.training.looks import look
            from . import show
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
        stores = (store,) if store is not None else ()
        looks = look(TrainedRun(folder, stores=stores, tell=show.tell), per_class, task)
    return write_training_report(run, looks, (out or folder / PAGE_NAME).absolute())
