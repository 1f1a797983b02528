"""`pipeline train`: networks that are trained on data of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as opt

app = typer.Typer(help="Train a network.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def train() -> None:
    """Train a network."""


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
    from ..errors import ConfigError
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
