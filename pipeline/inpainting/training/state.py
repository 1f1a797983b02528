"""What a training consists of: networks, averages, optimisers; saved whole and resumed."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from affectflow.models.vision.deepfillv2 import MULTIPLE, PRESETS, Generator
from affectflow.models.vision.deepfillv2_discriminators import Discriminator

from ...config import Config
from ...errors import ConfigError, WeightsError
from ...weights.checkpoint import load_torch_file
from .crops import MaskKind

STATE_FILE = "state.pt"
WEIGHTS_FILE = "generator.safetensors"


class TrainingConfig(Config):
    """How DeepFillv2 is trained; the defaults are the published ones where there are any.

    Attributes:
        steps: Updates of the generator in all.
        batch_size: Crops per step.
        side: Side of a crop in pixels, a multiple of 8.
        width: Features of the first layer; 24 is the published network.
        masks: ``free_form`` (published), ``text_like`` bands (ours), or ``both`` by turns, the
            default because captions are bands.
        learning_rate: Of both networks (Adam, betas 0.5 and 0.999).
        l1: Weight of the distances to the picture, of each stage.
        adversarial: Weight of fooling the discriminator; lower it where fillings turn grey.
        average: Share of the averaged generator kept at each step, 0 to 1.
        held_out: Share of the pictures that is never trained on.
        validate_every: Steps between validations.
        validation_crops: Number of held-out crops.
        seed: Of weights, crops and holes.
        device: Where it runs.
    """

    steps: int = Field(default=100_000, ge=1)
    batch_size: int = Field(default=16, ge=1, le=1024)
    side: int = Field(default=256, ge=32, le=1024, multiple_of=MULTIPLE)
    width: int = Field(default=24, ge=2, le=192, multiple_of=2)
    masks: MaskKind = "both"
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    l1: float = Field(default=1.0, gt=0)
    adversarial: float = Field(default=1.0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    validate_every: int = Field(default=500, ge=1)
    validation_crops: int = Field(default=32, ge=1, le=1024)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    # What may differ when a training goes on.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {"steps", "validate_every", "validation_crops", "device"}
    )


class TrainingState:
    """Both networks, the averaged generator, both optimisers, and the steps done."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.generator = Generator(replace(PRESETS["own"], width=config.width)).to(device)
            self.discriminator = Discriminator().to(device)
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.generator_optimiser = _adam(self.generator, config)
        self.discriminator_optimiser = _adam(self.discriminator, config)
        self.config, self.step = config, 0

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged generator towards the present one; less slowly at the beginning."""
        kept = min(self.config.average, (1 + self.step) / (10 + self.step))
        new = dict(self.generator.named_parameters())
        for name, value in self.averaged.named_parameters():
            value.lerp_(new[name].detach(), 1 - kept)

    def save(self, folder: Path) -> None:
        """Write everything, and the averaged generator as weights of its own."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"step": self.step, "config": self.config.model_dump(mode="json")}
        _write(folder / STATE_FILE, lambda path: torch.save(state, path))
        tensors = {key: value.cpu() for key, value in self.averaged.state_dict().items()}
        _write(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path))

    def resume(self, folder: Path) -> None:
        """Go on from what `save` wrote, where there is something.

        Raises:
            WeightsError: The file is damaged.
            ConfigError: The training was begun with other settings.
        """
        path = folder / STATE_FILE
        if not path.exists():
            return
        hint = "pass another --out, or remove it to start again"
        try:
            state = load_torch_file(path)
            self._same_settings(state["config"])
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.step = int(state["step"])
        except WeightsError as error:
            raise WeightsError(f"'{path}' cannot be resumed from: {error.message}", hint) from None
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise WeightsError(f"'{path}' cannot be resumed from: {cause}", hint) from None

    def _same_settings(self, begun: dict[str, Any]) -> None:
        now = self.config.model_dump(mode="json")
        for key, value in now.items():
            if key not in self.config.FREE and begun.get(key) != value:
                message = f"the training was begun with {key} = {begun.get(key)}, not {value}"
                raise ConfigError(message, "pass the same settings, or another --out")

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "averaged": self.averaged,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }


def _adam(network: torch.nn.Module, config: TrainingConfig) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.5, 0.999))


def _write(path: Path, write: Any) -> None:
    temporary = path.with_name(path.name + ".writing")
    write(temporary)
    os.replace(temporary, path)
