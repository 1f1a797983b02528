"""Stage `text_regions`: where there is text in a picture, as quads in original pixels.

``H`` height, ``W`` width in pixels. Quads are kept, not masks, so that masks can be rebuilt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from ..config import StageConfig
from ..media.images import DECODE_POLICY, load_original
from ..records import OutputSpec, Row, TableSpec
from ..stage import BaseStage, Resources, library_version
from ..text_detection.detection import (
    LIBRARIES,
    DetectorConfig,
    detector_identity,
    open_detector,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..records import Value
    from ..text_detection.detection import Detector

    Pixels = NDArray[np.uint8]

SCHEMA = pa.schema(
    [
        ("quads", pa.list_(pa.list_(pa.float32()))),
        ("scores", pa.list_(pa.float32())),
        ("texts", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


class Config(DetectorConfig, StageConfig):
    """Configuration of the detector; see `DetectorConfig`."""

    batch_size: int = Field(default=8, ge=1)


class Stage(BaseStage[Config, "Pixels"]):
    """Runs a text detector over every picture."""

    NAME: ClassVar[str] = "text_regions"
    VERSION: ClassVar[int] = 1

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._detector: Detector | None = None

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the table of quads."""
        return (TableSpec(self.NAME, SCHEMA),)

    def identity(self) -> Mapping[str, Any]:
        """Return the digest of the detector's model and the decoding policy."""
        return {"decode_policy": DECODE_POLICY, **detector_identity(self.config)}

    def libraries(self) -> dict[str, str]:
        """Return the versions of what the chosen backend uses."""
        return {name: library_version(name) for name in LIBRARIES[self.config.backend]}

    def resources(self) -> Resources:
        """Return the memory of the network and one picture."""
        return Resources(memory_gb=0.6)

    def open(self) -> None:
        """Load the detector."""
        self._detector = open_detector(self.config)

    def load(self, row: Row) -> Pixels:
        """Return the sample's picture ``(H, W, 3)`` uint8 RGB."""
        return load_original(row)

    def compute(self, items: Sequence[Pixels]) -> Sequence[Mapping[str, Value]]:
        """Return the quads of each picture."""
        return [{self.NAME: self._columns(image)} for image in items]

    def _columns(self, image: Pixels) -> dict[str, Any]:
        if self._detector is None:
            self.open()
        assert self._detector is not None
        found = self._detector.detect(image)
        texts = [text for _, _, text in found] if self.config.recognise else []
        return {
            "quads": [quad.reshape(-1).tolist() for quad, _, _ in found],
            "scores": [score for _, score, _ in found],
            "texts": texts,
            "width": image.shape[1],
            "height": image.shape[0],
        }


def profile(name: str) -> dict[str, Any]:
    """Return the configuration that a profile asks for; the detector is the same in both."""
    return {}
