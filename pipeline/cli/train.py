"""`pipeline train`: networks that are trained on data of your own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import ConfigError, UsageError, unknown_name
from ..training.catalogue import model_names, summary
from . import options as opt

if TYPE_CHECKING:
    from ..training.experiment import Outcome


class _Networks(TyperGroup):
    """The networks as subcommands; an unknown one is answered with the nearest names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise UsageError(unknown_name("model", args[0], self.commands))
        return super().resolve_command(ctx, args)


app = typer.Typer(
    help="Train a fusion model on cached features, or the inpainting network on pictures.",
    no_args_is_help=True,
    rich_markup_mode=None,
    cls=_Networks,
)


@app.callback()
def train() -> None:
    """Train a fusion model on cached features, or the inpainting network on pictures."""


Seeds = Annotated[str, typer.Option(help="Comma-separated; one training each.")]
Runs = Annotated[Path, typer.Option(envvar="AFFECTFLOW_RUNS", help="Folder of trained runs.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Preset = Annotated[
    str | None, typer.Option(help="A training preset or one of the model's own configurations.")
]
Stores = Annotated[
    list[Path] | None,
    typer.Option("--store", envvar=opt.STORE_VARIABLE, help="Feature store; may be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="owner.key=value; owners: model, data, loader, optimizer, loss, trainer.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Say so if there is nothing to go on from; without it that is a new run."
    ),
]
DEFAULT_RUNS = Path("affectflow-runs")
_LARGEST_SEED = 2**32 - 1


def train_model(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Dataset in the store, e.g. memotion.")],
    store: Stores = None,
    preset: Preset = None,
    seeds: Seeds = "1111",
    runs: Runs = DEFAULT_RUNS,
    device: Device = None,
    assignments: Settings = None,
    resume: Resume = False,
    json_output: opt.Json = False,
) -> None:
    """Train on the train split, select on val; running it again goes on from where it stopped.

    Start it under `torchrun` to use several processes.
    """
    from ..config import parse_overrides
    from ..loading import missing_dependency
    from . import show, show_training

    overrides = parse_overrides(assignments or [])
    if device is not None:
        overrides.setdefault("trainer", {})["device"] = device
    chosen = read_seeds(seeds)
    model = context.info_name or ""
    try:
        from ..training.experiment import train as run
        from ..training.settings import resolve
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    settings = resolve(model, dataset, store or [opt.DEFAULT_STORE], preset, overrides)
    main = os.environ.get("RANK", "0") == "0"
    with show.interruptible(), show_training.display(quiet=json_output or not main) as watch:
        outcome = run(settings, chosen, runs, watch, must_exist=resume)
    if main:
        _print(outcome, json_output)


for _name in model_names():
    app.command(_name, help=summary(_name))(train_model)


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of ``1111,1112``.

    Raises:
        ConfigError: One is no whole number from 0, too large, or occurs twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    seeds = tuple(int(word) for word in words if word.isdecimal())
    wrong = len(seeds) != len(words) or len(set(seeds)) != len(seeds)
    if not seeds or wrong or max(seeds) > _LARGEST_SEED:
        expected = f"different whole numbers up to {_LARGEST_SEED} like 1111,1112"
        raise ConfigError(f"--seeds got '{text}', expected {expected}")
    return seeds


def _print(outcome: Outcome, json_output: bool) -> None:
    from . import show, show_training

    if json_output:
        facts = {"run": str(outcome.folder), "seeds": outcome.seeds, "table": outcome.table}
        show.print_json(facts)
        return
    show_training.print_table(outcome.table)
    typer.echo(f"run: {outcome.folder}")


@app.command("deepfillv2")
def train_deepfillv2(
    images: Annotated[Path, typer.Option(help="Folder of pictures without text.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, log and samples.")] = Path(
        "deepfillv2"
    ),
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="deepfillv2.key=value, e.g. deepfillv2.steps=20000."),
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Train the inpainting network; running it again with the same folder goes on.

    Use the result with --set inpaint.model=deepfillv2 --set inpaint.deepfillv2.file=OUT/….
    """
    from ..config import parse, parse_overrides
    from ..loading import missing_dependency

    overrides = parse_overrides(assignments or [])
    if other := sorted(set(overrides) - {"deepfillv2"}):
        raise ConfigError(f"--set {other[0]}.…: expected deepfillv2.key=value")
    if not images.is_dir():
        raise ConfigError(f"--images '{images}' is no folder")
    try:
        from ..inpainting.training.loop import train as run
        from ..inpainting.training.state import TrainingConfig
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    config = parse(TrainingConfig, overrides.get("deepfillv2", {}), "--set deepfillv2")
    last = run(images, out, config, (lambda entry: None) if json_output else _tell)
    if json_output:
        from .show import print_json

        print_json(last)


def _tell(entry: dict[str, Any]) -> None:
    from .show import tell

    mean, telea = (entry["baselines"][name] for name in ("mean", "telea"))
    tell(
        f"step {entry['step']}: held-out L1 {entry['l1']:.4f}, {entry['psnr']:.2f} dB (mean colour "
        f"{mean['l1']:.4f}, {mean['psnr']:.2f} dB; Telea {telea['l1']:.4f}, {telea['psnr']:.2f} dB)"
    )
