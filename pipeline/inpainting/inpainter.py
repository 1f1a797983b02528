"""What an inpainter is and how one is configured.

A backend lives in a file of this folder, its name: a class ``Inpainter(config)`` with ``fill``, a
function ``identity(config)`` with the digests of its weights, and ``LIBRARIES``. A backend with
weights also has ``warnings(config)``, ``size_bucket(config, height, width)`` and ``MEMORY_GB``.
"""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, model_validator

from ..config import Config
from ..loading import missing_dependency
from .deepfillv2 import DeepFillConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class InpainterConfig(Config):
    """How holes are filled.

    Attributes:
        backend: ``opencv``, ``deepfillv2`` (a trained network), ``mean`` (mean colour of the hole's
            border) or ``none`` (text stays). Can also be given as ``model``.
        method: Of ``opencv``: ``telea`` (fast marching, 2004) or ``navier_stokes`` (2001).
        radius: Of ``opencv``: neighbourhood of a point in pixels.
        fill_side: Long side in pixels above which the fill is computed on a shrunk picture;
            pixels outside the mask always come from the original. 0: never shrink.
        deepfillv2: Of ``deepfillv2``: weights and attention.
        device: Of ``deepfillv2``: where the network runs.
    """

    backend: Literal["opencv", "deepfillv2", "mean", "none"] = "opencv"
    method: Literal["telea", "navier_stokes"] = "telea"
    radius: float = Field(default=5.0, gt=0, le=100)
    fill_side: int = Field(default=512, ge=0, le=8192)
    deepfillv2: DeepFillConfig = DeepFillConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _model_is_the_backend(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "model" not in values:
            return values
        rest = {key: value for key, value in values.items() if key != "model"}
        named = values["model"]
        if rest.setdefault("backend", named) != named:
            raise ValueError(f"model = {named!r} contradicts backend = {rest['backend']!r}")
        return rest


class Inpainter(Protocol):
    """Fills the holes of pictures."""

    def fill(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled pictures; only their masked pixels are used.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each, of any sizes.
            masks: ``(H, W)`` uint8 each, 255 where the picture is to be painted, nowhere all 255.
        """
        ...


def open_inpainter(config: InpainterConfig) -> Inpainter:
    """Return the configured inpainter with its weights loaded.

    Raises:
        MissingDependency: Its package is not installed.
        WeightsError: Its weights are not there.
    """
    try:
        inpainter: Inpainter = _backend(config).Inpainter(config)
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    return inpainter


def inpainter_identity(config: InpainterConfig) -> dict[str, Any]:
    """Return the facts beside the configuration that affect the fill, as JSON."""
    facts: dict[str, Any] = _backend(config).identity(config)
    return facts


def inpainter_libraries(config: InpainterConfig) -> tuple[str, ...]:
    """Return the distributions whose version can change the fill."""
    libraries: tuple[str, ...] = _backend(config).LIBRARIES
    return libraries


def inpainter_warnings(config: InpainterConfig) -> tuple[str, ...]:
    """Return what the user must be told, for example that weights are random."""
    found = getattr(_backend(config), "warnings", None)
    return found(config) if found else ()


def inpainter_bucket(config: InpainterConfig, height: int, width: int) -> Hashable:
    """Return what pictures must share to be filled together."""
    found = getattr(_backend(config), "size_bucket", None)
    return found(config, height, width) if found else None


def inpainter_memory_gb(config: InpainterConfig) -> float:
    """Return the memory of the opened inpainter, beyond the pictures."""
    return float(getattr(_backend(config), "MEMORY_GB", 0.0))


def _backend(config: InpainterConfig) -> ModuleType:
    return importlib.import_module(f"{__package__}.{config.backend}")
