"""The training loop: discriminator and generator by turns, then the average, now and then a look.

A step depends on the seed and its number alone, so that a training that was stopped goes on as if
it had not been.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from affectflow.models.vision.deepfillv2_losses import (
    GeneratorLoss,
    false_loss,
    fooling_loss,
    real_loss,
)

from ...extractors._device import pick_device
from ..deepfillv2 import to_network
from . import validation
from .crops import Crops, find_pictures
from .state import TrainingConfig, TrainingState

if TYPE_CHECKING:
    from torch import Tensor

LOG_FILE = "log.jsonl"
_SHOWN = 8

Report = Callable[[dict[str, Any]], None]


def train(images: Path, out: Path, config: TrainingConfig, report: Report) -> dict[str, Any]:
    """Train, or go on training, and return the last validation.

    Args:
        images: Folder of pictures.
        out: Folder for state, weights (``generator.safetensors``), log and sample grids.
        config: What to do.
        report: Told every validation.

    Raises:
        DatasetError: There are too few pictures.
        ConfigError: The folder holds a training with other settings.
    """
    device = pick_device(config.device)
    pictures = find_pictures(images, config.held_out)
    crops = Crops(pictures.training, config.side, config.masks, config.seed)
    held_out = Crops(pictures.held_out, config.side, config.masks, config.seed)
    state = TrainingState(config, device)
    state.resume(out)
    journal = _Journal(out, held_out.fixed(config.validation_crops), report)
    last: dict[str, Any] = {}
    if state.step == 0 or state.step >= config.steps:
        last = journal.validate(state)
    while state.step < config.steps:
        pixels, masks = crops.batch(state.step, config.batch_size)
        image = to_network(pixels, state.generator.options).to(device)
        losses = update(state, image, masks.to(device))
        if state.step % config.validate_every == 0 or state.step == config.steps:
            last = journal.validate(state, losses)
            state.save(out)
    return last


def update(state: TrainingState, image: Tensor, mask: Tensor) -> dict[str, float]:
    """Take one step of both networks and return the losses.

    The discriminator sees the completed picture: known pixels are real in both.

    Args:
        state: Changed in place.
        image: ``(B, 3, S, S)`` in the generator's range.
        mask: ``(B, 1, S, S)``, 1 in holes.
    """
    config = state.config
    filled = state.generator(image, mask)
    completed = filled.final * mask + image * (1 - mask)
    both = torch.cat((image, completed.detach()))
    real, false = state.discriminator(both, torch.cat((mask, mask))).chunk(2)
    discriminator_loss = 0.5 * (real_loss(real) + false_loss(false))
    state.discriminator_optimiser.zero_grad()
    discriminator_loss.backward()
    state.discriminator_optimiser.step()

    # Its own gradients are not wanted in this half.
    state.discriminator.requires_grad_(False)
    loss = GeneratorLoss(
        config.l1 * (image - filled.coarse).abs().mean(),
        config.l1 * (image - filled.final).abs().mean(),
        config.adversarial * fooling_loss(state.discriminator(completed, mask)),
    )
    state.generator_optimiser.zero_grad()
    loss.total.backward()
    state.generator_optimiser.step()
    state.discriminator.requires_grad_(True)
    state.average()
    state.step += 1
    return {
        "discriminator": discriminator_loss.item(),
        "coarse": loss.coarse.item(),
        "final": loss.final.item(),
        "adversarial": loss.adversarial.item(),
    }


class _Journal:
    """Validations: a line of JSON each, a grid of samples, and TensorBoard where it is."""

    def __init__(self, out: Path, crops: tuple[Tensor, Tensor], report: Report) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._report = out, report
        self._pictures, self._masks = crops
        self._baselines = validation.of_baselines(*crops)
        self._board = _tensorboard(out)

    def validate(
        self, state: TrainingState, losses: dict[str, float] | None = None
    ) -> dict[str, Any]:
        """Fill the held-out crops with the averaged generator, write and return the distances."""
        filled = validation.fill(state.averaged, self._pictures, self._masks)
        found = validation.distances(filled, self._pictures, self._masks)
        entry = {"step": state.step, **found, "baselines": self._baselines, "losses": losses or {}}
        with (self._out / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        samples = slice(0, _SHOWN)
        grid = validation.grid(self._pictures[samples], self._masks[samples], filled[samples])
        self._show(state.step, grid, found)
        self._report(entry)
        return entry

    def _show(self, step: int, grid: Any, found: dict[str, float]) -> None:
        from PIL import Image

        Image.fromarray(grid).save(self._out / "samples.png")
        if self._board is not None:
            self._board.add_image("samples", grid, step, dataformats="HWC")
            for name, value in found.items():
                self._board.add_scalar(f"held_out/{name}", value, step)
            self._board.flush()


def _tensorboard(out: Path) -> Any:
    """Return a writer of TensorBoard's files, None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
