"""`pipeline predict`: what a trained model says of new data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as opt
from .run_folders import DEFAULT_RUNS, RunArgument, Runs, find_run

if TYPE_CHECKING:
    from ..evaluation.predict import Said

Dataset = Annotated[
    str | None, typer.Option(help="Dataset in the store; that of the training by default.")
]
Split = Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")]
Out = Annotated[Path, typer.Option(dir_okay=False, help="Parquet file to write.")]
Submission = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Write Memotion label strings, one line per sample, too."),
]
Version = Annotated[
    int, typer.Option(min=1, max=3, help="Version of the Memotion strings: 1, 2 or 3.")
]
Stores = Annotated[
    list[Path] | None,
    typer.Option("--store", envvar=opt.STORE_VARIABLE, help="Feature store; may be repeated."),
]
Seed = Annotated[str | None, typer.Option(help="Which seed's model; the best on val by default.")]
Checkpoint = Annotated[str, typer.Option(help="best (on val) or last.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; as in training by default.")]


Tuned = Annotated[
    bool,
    typer.Option("--tuned", help="Decide by the thresholds of evaluate --tune-thresholds."),
]


def predict(
    run: RunArgument,
    store: Stores = None,
    dataset: Dataset = None,
    split: Split = None,
    out: Out = Path("predictions.parquet"),
    submission: Submission = None,
    version: Version = 1,
    seed: Seed = None,
    runs: Runs = DEFAULT_RUNS,
    tuned: Tuned = False,
    checkpoint: Checkpoint = "best",
    device: Device = None,
    json_output: opt.Json = False,
) -> None:
    """Predict every sample of a dataset; labels are neither needed nor read."""
    from ..loading import missing_dependency
    from . import show
    from .evaluate import open_trained

    folder = find_run(run, runs)
    try:
        from ..evaluation.predict import predict as apply
        from ..evaluation.predictions import write_predictions
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    trained = open_trained(folder, checkpoint, None, device)
    if submission is not None:
        from ..evaluation.memotion_submission import check_tasks

        check_tasks([str(task["name"]) for task in trained.record["tasks"]])
    stores = store or []
    said = apply(trained, stores, dataset, split or (), seed, tuned=tuned)
    for warning in said.warnings:
        show.tell(f"warning: {warning}")
    target = out.absolute()
    write_predictions(target, said.predictions, run=folder.name, seed=said.seed)
    lines = _submit(said, submission, version) if submission is not None else None
    facts = {
        "run": folder.name,
        "seed": said.seed,
        "samples": len(said.predictions),
        "without_feature": said.missing,
        "batch_policy": said.batch_policy,
        "out": str(target),
        "submission": None if lines is None else {"file": str(submission), "lines": lines},
    }
    if json_output:
        show.print_json(facts)
        return
    typer.echo(f"{len(said.predictions):,} samples, seed {said.seed}, {said.batch_policy}")
    for role, number in said.missing.items():
        if number:
            typer.echo(f"without {role}: {number:,} samples, predicted from the rest")
    typer.echo(f"written: {target}")
    if lines is not None:
        typer.echo(f"written: {submission} ({lines:,} label strings of Memotion {version})")


def _submit(said: Said, path: Path, version: int) -> int:
    """Write label strings in the order of the samples."""
    from ..evaluation.memotion_submission import reconciled, rows_of, write_submission
    from ..training.metrics.memotion import EMOTIONS

    known = {name for e in EMOTIONS for name in (e, f"{e}_scale")} | {"sentiment"}
    decisions = said.predictions.decisions.items()
    rows = rows_of({name: values.tolist() for name, values in decisions if name in known})
    return write_submission(path.absolute(), [reconciled(row) for row in rows], version)
