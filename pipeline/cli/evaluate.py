"""`pipeline evaluate`: scores of a run beside the majority; the only command that reads test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from . import options as opt
from .run_folders import DEFAULT_RUNS, RunArgument, Runs, find_run

if TYPE_CHECKING:
    from ..evaluation.against import Comparison
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.thresholds import Criterion
    from ..evaluation.trained import TrainedRun

Against = Annotated[
    str | None, typer.Option(help="Another evaluated run: paired differences on the same samples.")
]
Split = Annotated[str, typer.Option(help="test or val.")]
Checkpoint = Annotated[str, typer.Option(help="best (on val) or last.")]
Tune = Annotated[
    str | None,
    typer.Option(
        "--tune-thresholds",
        help="Choose thresholds of binary decisions on val: for macro_f1, weighted_f1 or accuracy, "
        "or class_shares, so that decisions are as often as labels.",
    ),
]
Resamples = Annotated[int, typer.Option(min=1, max=100_000, help="Of the bootstrap.")]
Stores = Annotated[
    list[Path] | None,
    typer.Option("--store", help="Feature stores; those of the training by default."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; as in training by default.")]


def evaluate(
    run: RunArgument,
    split: Split = "test",
    against: Against = None,
    store: Stores = None,
    runs: Runs = DEFAULT_RUNS,
    checkpoint: Checkpoint = "best",
    tune: Tune = None,
    resamples: Resamples = 1000,
    device: Device = None,
    json_output: opt.Json = False,
) -> None:
    """Score a run on the test split, once per study; every reading of it is written down."""
    from ..loading import missing_dependency
    from . import show, show_evaluation

    folder = find_run(run, runs)
    other = find_run(against, runs) if against is not None else None
    try:
        from ..evaluation.against import check_evaluated, compare_runs
        from ..evaluation.evaluate import evaluate_run
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    trained = open_trained(folder, checkpoint, store, device)
    criterion = _criterion(tune)
    if other is not None and other != folder:
        # Before the test split is read for a comparison that cannot be made.
        check_evaluated(other, split)
    found = evaluate_run(trained, split, tune=criterion, resamples=resamples)
    compared: Comparison | None = None
    if other is not None:
        compared = compare_runs(
            folder,
            other,
            split,
            trained.family,
            resamples=resamples,
            groups_of=trained.groups,
        )
    if json_output:
        difference = compared.to_json() if compared else None
        show.print_json({**found.to_json(), "against": difference})
        return
    _print(found)
    if compared is not None:
        show_evaluation.print_comparison(compared)


def _print(found: Evaluation) -> None:
    from . import show_evaluation

    show_evaluation.print_evaluation(found)
    typer.echo(f"written: {found.run}/table-{found.split}.json, .md and seed-*/")


def open_trained(
    folder: Path, checkpoint: str, store: list[Path] | None, device: str | None
) -> TrainedRun:
    """Return the run in a folder.

    Raises:
        UsageError: There is no such checkpoint or device.
    """
    from ..evaluation.trained import Checkpoint as Which
    from ..evaluation.trained import TrainedRun
    from ..extractors._device import DeviceName
    from . import show

    which: Which = _one_of("checkpoint", checkpoint, get_args(Which))
    place: DeviceName | None = None
    if device is not None:
        place = _one_of("device", device, get_args(DeviceName))
    return TrainedRun(folder, which, tuple(store or ()), place, show.tell)


def _criterion(name: str | None) -> Criterion | None:
    from ..evaluation.thresholds import Criterion

    criterion: Criterion | None = None
    if name is not None:
        criterion = _one_of("criterion", name, get_args(Criterion))
    return criterion


def _one_of(kind: str, name: str, known: tuple[str, ...]) -> Any:
    """Return the name, which from here on is one of the known ones."""
    from ..errors import UsageError, unknown_name

    if name not in known:
        raise UsageError(unknown_name(kind, name, known))
    return name
