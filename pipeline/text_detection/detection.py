"""What a text detector is, how one is configured and which of its boxes are kept."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, model_validator

from ..config import Config
from . import quads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Found = tuple[NDArray[np.float32], float, str]

Backend = Literal["rapidocr", "tesseract", "heuristic"]

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "rapidocr": ("rapidocr", "onnxruntime", "opencv-python-headless"),
    "tesseract": ("opencv-python-headless",),
    "heuristic": ("opencv-python-headless",),
}


class DetectorConfig(Config):
    """Which detector, and what it accepts.

    Attributes:
        backend: ``rapidocr`` (PP-OCR in onnxruntime), ``tesseract`` (system program) or
            ``heuristic`` (OpenCV only).
        recognise: Also read the text; several times slower.
        min_score: Score (0 to 1) below which a box is dropped.
        max_box_frac: Share of the picture (0 to 1) above which a single box is dropped.
        max_side: Long side in pixels to which larger pictures are shrunk for detection.
        min_side: Long side in pixels to which smaller pictures are enlarged for detection.
        language: Language data of tesseract, for example ``eng`` or ``eng+hin``.
    """

    backend: Backend = "rapidocr"
    recognise: bool = False
    min_score: float = Field(default=0.5, ge=0, le=1)
    max_box_frac: float = Field(default=0.6, gt=0, le=1)
    max_side: int = Field(default=736, ge=32, le=4096)
    min_side: int = Field(default=320, ge=32, le=4096)
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
            image: ``(H, W, 3)`` uint8 RGB; quads are in its pixels.
        """
        ...
