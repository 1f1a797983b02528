"""What a text detector is, how one is configured and which of its boxes are kept.

A backend lives in a file of this folder: a class ``Detector(config, threads)`` with ``detect``, and
a function ``identity(config)`` with the digests of its model files.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, model_validator

from ..compute_threads import compute_threads, limit_opencv
from ..config import Config
from ..loading import missing_dependency
from . import quads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Found = tuple[NDArray[np.float32], float, str]

_MODULES = {"rapidocr": "rapidocr_backend", "tesseract": "tesseract_backend"}

# Distributions that affect what a backend finds; decoding is Pillow's in every case.
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "rapidocr": ("rapidocr", "onnxruntime", "opencv-python-headless", "pillow"),
    "tesseract": ("opencv-python-headless", "pillow"),
    "heuristic": ("opencv-python-headless", "pillow"),
}


class DetectorConfig(Config):
    """Which detector, and what it accepts.

    A detector of this kind answers a picture without any text, now and then, with one box around
    its main figure; ``max_box_frac`` and ``max_height_frac`` keep those out.

    Attributes:
        backend: ``rapidocr`` (PP-OCR in onnxruntime), ``tesseract`` (system program) or
            ``heuristic`` (OpenCV only).
        recognise: Also read the text; several times slower.
        min_score: Score (0 to 1) below which a box is dropped.
        max_box_frac: Share of the picture's area (0 to 1) above which a box is dropped.
        max_height_frac: Text height as a share of the picture's shorter side (0 to 1) above which
            a box is dropped.
        max_side: Long side in pixels to which larger pictures are shrunk for detection.
        min_side: Long side in pixels to which smaller pictures are enlarged for detection.
        language: Language data of tesseract, for example ``eng`` or ``eng+hin``.
    """

    backend: Literal["rapidocr", "tesseract", "heuristic"] = "rapidocr"
    recognise: bool = False
    min_score: float = Field(default=0.5, ge=0, le=1)
    max_box_frac: float = Field(default=0.4, gt=0, le=1)
    max_height_frac: float = Field(default=0.5, gt=0, le=1)
    max_side: int = Field(default=512, ge=32, le=4096)
    min_side: int = Field(default=256, ge=32, le=4096)
    language: str = Field(default="eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$")

    @model_validator(mode="after")
    def _ordered(self) -> DetectorConfig:
        if self.min_side > self.max_side:
            raise ValueError(f"min_side {self.min_side} is above max_side {self.max_side}")
        return self


class Detector(Protocol):
    """Finds text in one picture."""

    def detect(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return quad ``(4, 2)`` float32, score (0 to 1) and text ("" when not read).

        Args:
            image: ``(H, W, 3)`` uint8 RGB; quads are in its pixels, clockwise from upper left.
        """
        ...


class SelectiveDetector:
    """A detector that keeps only what its configuration accepts."""

    def __init__(self, detector: Detector, config: DetectorConfig) -> None:
        self._detector, self._config = detector, config

    def detect(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return what `Detector.detect` found and `accepted` keeps."""
        height, width = image.shape[:2]
        found = self._detector.detect(image)
        return [item for item in found if accepted(item[0], item[1], height, width, self._config)]


def accepted(
    quad: NDArray[np.float32], score: float, height: int, width: int, config: DetectorConfig
) -> bool:
    """Return whether a box is likely enough and small enough to be text."""
    return (
        score >= config.min_score
        and quads.area(quad) <= config.max_box_frac * height * width
        and quads.text_height(quad) <= config.max_height_frac * min(height, width)
    )


def open_detector(config: DetectorConfig) -> Detector:
    """Return the configured detector with its model loaded.

    Raises:
        MissingDependency: Its package is not installed.
        InvalidInput: Its program or its model is not there.
    """
    module = _backend(config)
    try:
        limit_opencv()
        return SelectiveDetector(module.Detector(config, compute_threads()), config)
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error


def detector_identity(config: DetectorConfig) -> dict[str, Any]:
    """Return the facts beside the configuration that affect what is found, as JSON."""
    facts: dict[str, Any] = _backend(config).identity(config)
    return facts


def _backend(config: DetectorConfig) -> ModuleType:
    name = _MODULES.get(config.backend, config.backend)
    return importlib.import_module(f"{__package__}.{name}")
