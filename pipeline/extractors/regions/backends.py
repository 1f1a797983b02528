"""The seam between the extractor and the networks that find regions.

A backend is a module `regions/<name>_backend.py` with a class `Backend(config)` and `DEFAULTS`, the
names of its main network and of that network's weights. It prepares one
image at a time (in threads), finds the regions of a batch, and says what affects its values. The
extractor pads, checks and stores; it knows no network.

``R`` regions, ``D`` width, ``H`` height, ``W`` width of the image.
"""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from . import Config

_SUFFIX = "_backend"


@dataclass(frozen=True, slots=True)
class Prepared:
    """One image as the network reads it.

    Attributes:
        pixels: ``(3, h, w)`` float32, scaled and normalised, not padded.
        height, width: H and W of the original image.
        padded: Height and width after padding; images of one batch share it.
    """

    pixels: NDArray[np.float32]
    height: int
    width: int
    padded: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Regions:
    """What was found in one image, most confident first.

    Attributes:
        features: ``(n, D)`` float32, n at most the configured number of boxes.
        boxes: ``(n, 4)`` float32 xyxy in original pixels, inside the image.
        scores: ``(n,)`` float32, descending.
        classes: ``(n,)`` int16, 0-based without background.
        masks: ``(n, 28, 28)`` probabilities inside each box, where they were asked for.
    """

    features: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int16]
    masks: NDArray[np.float32] | None = None


class Backend(Protocol):
    """A network that finds regions."""

    def width(self) -> int:
        """Return D, without importing anything heavy."""

    def identity(self) -> dict[str, Any]:
        """Return everything that affects values: weights, architecture, preprocessing, rule."""

    def warnings(self) -> tuple[str, ...]:
        """Return what the user must be told."""

    def open(self) -> None:
        """Build the network and load its weights."""

    def prepare(self, pixels: NDArray[np.uint8]) -> Prepared:
        """Return one image ``(H, W, 3)`` uint8 RGB as the network reads it; runs in threads."""

    def bucket(self, prepared: Prepared) -> Hashable:
        """Return what images of one batch must share."""

    def find(self, batch: Sequence[Prepared]) -> list[Regions]:
        """Return the regions of each image; an image's result does not depend on the others."""


def backend_names() -> list[str]:
    """Return the names of the backends there are; nothing is imported."""
    found = Path(__file__).parent.glob(f"*{_SUFFIX}.py")
    return sorted(path.stem.removesuffix(_SUFFIX) for path in found)


def defaults_of(name: str) -> dict[str, str]:
    """Return ``architecture`` and ``weights`` of a backend's main network."""
    module = importlib.import_module(f".{name}{_SUFFIX}", __package__)
    return dict(module.DEFAULTS)


def refuse(config: Config, *names: str) -> None:
    """Refuse settings that a backend does not have.

    Raises:
        ConfigError: One of them is not what it is by default.
    """
    for name in names:
        default = type(config).model_fields[name].default
        if getattr(config, name) != default:
            raise ConfigError(f"the backend {config.backend} has no {name}", f"leave {name} out")


def make_backend(config: Config) -> Backend:
    """Return the configured backend.

    Raises:
        ConfigError: The name is unknown, or the backend refuses the configuration.
    """
    if config.backend not in backend_names():
        raise ConfigError(unknown_name("backend", config.backend, backend_names()))
    module = importlib.import_module(f".{config.backend}{_SUFFIX}", __package__)
    backend: Backend = module.Backend(config)
    return backend
