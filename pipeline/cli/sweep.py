"""`pipeline sweep`: search settings on the validation split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as opt
from .run_folders import DEFAULT_RUNS, Runs

if TYPE_CHECKING:
    from ..training.sweep.trials import Trial

Model = Annotated[str, typer.Argument(help="Name of the model, e.g. mm_orient.")]
Dataset = Annotated[str, typer.Option(help="Dataset in the store, e.g. memotion.")]
Grid = Annotated[
    list[str] | None,
    typer.Option("--grid", help="owner.key=a,b,c; several make every combination."),
]
Random = Annotated[
    list[str] | None,
    typer.Option(
        "--random",
        help="owner.key=loguniform(1e-6,1e-3), uniform(0,1), integers(1,8) or choice(a,b).",
    ),
]
Trials = Annotated[int | None, typer.Option(help="Random draws (at each point of the grid).")]
SweepSeed = Annotated[int, typer.Option(help="Seed of the random draws.")]
Seeds = Annotated[str, typer.Option(help="Comma-separated; each trial is trained with each.")]
Preset = Annotated[str | None, typer.Option(help="Preset that every trial starts from.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]
Stores = Annotated[
    list[Path] | None,
    typer.Option("--store", envvar=opt.STORE_VARIABLE, help="Feature store; may be repeated."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="owner.key=value, the same in every trial.")
]
# As for a run whose rows partly failed.
_SOME_FAILED, _ALL_FAILED = 4, 5


def sweep(
    model: Model,
    dataset: Dataset,
    grid: Grid = None,
    random: Random = None,
    trials: Trials = None,
    sweep_seed: SweepSeed = 0,
    assignments: Settings = None,
    preset: Preset = None,
    seeds: Seeds = "1111",
    store: Stores = None,
    runs: Runs = DEFAULT_RUNS,
    retry: Retry = False,
    json_output: opt.Json = False,
) -> None:
    """Train every trial on train, compare them on val; the test split stays closed.

    Running it again goes on where it stopped; trials whose data have changed since run again. What
    no trial could take is refused before anything is written.
    """
    from ..loading import missing_dependency
    from ..training.sweep.space import make_space
    from ..training.sweep.trials import Sweep, Sweeping
    from . import show
    from .train import read_seeds

    space = make_space(grid or [], random or [], trials, sweep_seed)
    base = tuple(assignments or ())
    wanted = Sweep(model, dataset, space, base, preset, read_seeds(seeds))
    try:
        from ..training.sweep.run import data_digests, trial_runner
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    stores = store or [opt.DEFAULT_STORE]
    run = trial_runner(wanted, stores, runs, lambda entry: None)
    digest_of = data_digests(wanted, stores, show.tell)
    with show.interruptible():
        found = Sweeping(wanted, runs, run, digest_of, _tell, _tell_stale, retry).finish()
    _print(found, wanted.folder(runs), json_output)
    failed = sum(trial.status == "failed" for trial in found)
    if failed:
        raise typer.Exit(_ALL_FAILED if failed == len(found) else _SOME_FAILED)


def _tell(trial: Trial, count: int) -> None:
    from ..training.sweep.table import value_text
    from . import show

    value = trial.error if trial.mean is None else value_text(trial)
    show.tell(f"{_name(trial, count)}: {trial.status} {value}")


def _tell_stale(trial: Trial, count: int) -> None:
    from . import show

    since = "the data have changed since" if trial.data else "its data are not on record"
    show.tell(f"{_name(trial, count)}: {trial.status} before, but {since}; it runs again")


def _name(trial: Trial, count: int) -> str:
    settings = " ".join(f"{name}={value}" for name, value in trial.settings.items())
    return f"trial {trial.number + 1} of {count}: {settings}"


def _print(trials: list[Trial], folder: Path, json_output: bool) -> None:
    from dataclasses import asdict

    from ..training.sweep.table import ranked, read_baselines, table
    from . import show

    baselines = read_baselines(folder, trials)
    if json_output:
        entries = [
            {**asdict(trial), "mean": trial.mean, "std": trial.std} for trial in ranked(trials)
        ]
        facts = {"sweep": str(folder), "split": "val", "baselines": baselines, "trials": entries}
        show.print_json(facts)
        return
    heads, rows = table(trials, baselines)
    show.print_table("trials, best on val first; the test split was not opened", heads, rows)
    typer.echo(f"written: {folder}/trials.json and table.md")
