"""Stage `inpaint`: text quads become a mask, the mask is painted over, the result is checked.

Pixels outside the mask are bit-identical to the original. The text detector looks at the result
again: ``residual`` is the area of text it still finds, as a share of the area before.

``H`` height, ``W`` width in pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from ..compute_threads import limit_opencv
from ..config import StageConfig
from ..inpainting.inpainter import (
    InpainterConfig,
    inpainter_bucket,
    inpainter_identity,
    inpainter_libraries,
    inpainter_memory_gb,
    inpainter_warnings,
    open_inpainter,
)
from ..inpainting.masks import composite, cover, text_mask
from ..media.images import DECODE_POLICY, encode_png, load_original
from ..records import OutputSpec, Row, TableSpec
from ..stage import BaseStage, Resources, library_version
from ..text_detection.detection import (
    LIBRARIES,
    DetectorConfig,
    detector_identity,
    open_detector,
)
from ..text_detection.quads import union_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..inpainting.inpainter import Inpainter
    from ..records import Value
    from ..text_detection.detection import Detector

SCHEMA = pa.schema(
    [
        ("image", pa.binary()),
        ("mask", pa.binary()),
        ("cover", pa.float32()),
        ("outcome", pa.string()),
        ("text_area_before", pa.float32()),
        ("text_area_after", pa.float32()),
        ("residual", pa.float32()),
        ("backend", pa.string()),
        ("weights_sha256", pa.string()),
        ("untrained", pa.bool_()),
        ("without_background", pa.bool_()),
    ]
)

PAINTED = "painted"
NO_TEXT = "no_text"
MASK_TOO_LARGE = "mask_too_large"
NOT_PAINTED = "not_painted"

TEXT_FREE = frozenset({PAINTED, NO_TEXT})
"""Outcomes after which the stored picture holds no text that the detector had found."""


class Config(InpainterConfig, StageConfig):
    """How text is masked, painted over and checked.

    Attributes:
        dilate_frac: Margin of the mask as a share of the text height.
        min_dilate_px: Smallest margin in pixels.
        max_cover: Share of the picture (0 to 1) above which it is left as it is.
        residual: Run the detector on the result.
        passes: 2 paints again over text still found in the first result.
        detector: Must be that of `text_regions`, or the two areas do not compare.
    """

    dilate_frac: float = Field(default=0.12, ge=0, le=2)
    min_dilate_px: int = Field(default=3, ge=0, le=100)
    max_cover: float = Field(default=0.6, gt=0, le=1)
    residual: bool = True
    passes: int = Field(default=1, ge=1, le=2)
    detector: DetectorConfig = DetectorConfig()
    batch_size: int = Field(default=8, ge=1)

    def result_parameters(self) -> dict[str, Any]:
        """Return the fields that affect values; where a weights file lies is none of them."""
        values = super().result_parameters()
        values["deepfillv2"].pop("file")
        return values

    def runtime_parameters(self) -> dict[str, Any]:
        """Return the fields that do not affect values."""
        return super().runtime_parameters() | {"file": self.deepfillv2.file}

    @property
    def detects(self) -> bool:
        """Whether the detector is needed."""
        return self.backend != "none" and (self.residual or self.passes > 1)


@dataclass(slots=True)
class Painting:
    """One picture on its way through the stage.

    Attributes:
        image: The original, ``(H, W, 3)`` uint8 RGB.
        quads: Text found in it, ``(4, 2)`` float32 each.
        mask: ``(H, W)`` uint8, 255 where it is painted.
        outcome: `PAINTED` and so on.
        filled: The result, None before it is painted.
        left_over: Text found in the result, None when nobody looked.
    """

    image: NDArray[np.uint8]
    quads: list[NDArray[np.float32]]
    mask: NDArray[np.uint8]
    outcome: str
    filled: NDArray[np.uint8] | None = None
    left_over: list[NDArray[np.float32]] | None = None

    def area(self, quads: Sequence[NDArray[np.float32]]) -> int:
        """Return how many pixels the quads cover together."""
        return union_area(quads, *self.mask.shape)


class Stage(BaseStage[Config, Painting]):
    """Paints over text."""

    NAME: ClassVar[str] = "inpaint"
    VERSION: ClassVar[int] = 2
    READS: ClassVar[tuple[str, ...]] = ("text_regions",)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._inpainter: Inpainter | None = None
        self._detector: Detector | None = None
        self._filled_by: dict[str, Any] = {}

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the table of painted pictures."""
        return (TableSpec(self.NAME, SCHEMA),)

    def identity(self) -> Mapping[str, Any]:
        """Return the digests of the inpainter's weights and of the detector's model."""
        facts = {"decode_policy": DECODE_POLICY, "inpainter": inpainter_identity(self.config)}
        if self.config.detects:
            facts["detector"] = detector_identity(self.config.detector)
        return facts

    def libraries(self) -> dict[str, str]:
        """Return the versions of what mask, fill and check use."""
        names = {"opencv-python-headless", "pillow", *inpainter_libraries(self.config)}
        if self.config.detects:
            names |= set(LIBRARIES[self.config.detector.backend])
        return {name: library_version(name) for name in sorted(names)}

    def resources(self) -> Resources:
        """Return the memory of detector, inpainter and a batch of pictures."""
        network = self.config.backend == "deepfillv2"
        gpu = 1 if network and self.config.device == "cuda" else 0
        return Resources(gpu=gpu, memory_gb=0.8 + inpainter_memory_gb(self.config))

    def warnings(self) -> tuple[str, ...]:
        """Say where fillings are noise."""
        return inpainter_warnings(self.config)

    def bucket(self, item: Painting) -> Hashable:
        """Return the size at which the inpainter works, None where sizes do not matter."""
        return inpainter_bucket(self.config, *item.mask.shape)

    def open(self) -> None:
        """Load the inpainter and, where the result is checked, the detector."""
        self._inpainter = open_inpainter(self.config)
        self._filled_by = filled_by(self.config)
        limit_opencv()
        if self.config.detects:
            # The text itself is never read here.
            quiet = self.config.detector.model_copy(update={"recognise": False})
            self._detector = open_detector(quiet)

    def load(self, row: Row) -> Painting:
        """Return the picture with its mask."""
        found = row.read("text_regions")["quads"]
        image = load_original(row)
        height, width = image.shape[:2]
        quads = [np.asarray(quad, dtype=np.float32).reshape(4, 2) for quad in found]
        mask = self._mask(quads, height, width)
        return Painting(image, quads, mask, self._outcome(quads, mask))

    def _mask(
        self, quads: Sequence[NDArray[np.float32]], height: int, width: int
    ) -> NDArray[np.uint8]:
        margin = (self.config.dilate_frac, self.config.min_dilate_px)
        return text_mask(quads, height, width, *margin)

    def _outcome(self, quads: Sequence[NDArray[np.float32]], mask: NDArray[np.uint8]) -> str:
        if not quads:
            return NO_TEXT
        if self.config.backend == "none":
            return NOT_PAINTED
        # A hole without a border has nothing to be filled from.
        return MASK_TOO_LARGE if _too_large(mask, self.config.max_cover) else PAINTED

    def compute(self, items: Sequence[Painting]) -> Sequence[Mapping[str, Value]]:
        """Return picture, mask and measures of each sample."""
        if self._inpainter is None:
            self.open()
        self._paint([item for item in items if item.outcome == PAINTED])
        if self.config.passes > 1:
            self._paint([item for item in items if item.left_over and self._grow(item)])
        return [{self.NAME: self._columns(item)} for item in items]

    def _paint(self, items: Sequence[Painting]) -> None:
        """Fill from the original; look for text in the result."""
        if not items or self._inpainter is None:
            return
        pictures = self._inpainter.fill([i.image for i in items], [i.mask for i in items])
        for item, picture in zip(items, pictures, strict=True):
            item.filled = composite(item.image, picture, item.mask)
            if self._detector is not None:
                item.left_over = [found[0] for found in self._detector.detect(item.filled)]

    def _grow(self, item: Painting) -> bool:
        """Add what is left over to the mask; tell whether that changes it and is allowed."""
        more = item.mask | self._mask(item.left_over or [], *item.mask.shape)
        if _too_large(more, self.config.max_cover) or np.array_equal(more, item.mask):
            return False
        item.mask = more
        return True

    def _columns(self, item: Painting) -> dict[str, Any]:
        columns = dict.fromkeys(SCHEMA.names) | self._filled_by
        columns |= {"outcome": item.outcome, "cover": cover(item.mask)}
        if item.outcome == NO_TEXT:
            return columns
        before = item.area(item.quads)
        columns["text_area_before"] = before
        if item.outcome != PAINTED or item.filled is None:
            # The picture stays: the same detector would find the same text.
            return columns | {"text_area_after": before, "residual": 1.0}
        columns |= {"image": encode_png(item.filled), "mask": encode_png(item.mask)}
        alone = getattr(self._inpainter, "without_background", None)
        columns["without_background"] = alone(item.mask) if alone else None
        if self.config.residual and item.left_over is not None:
            after = item.area(item.left_over)
            columns |= {"text_area_after": after, "residual": after / before}
        return columns


def filled_by(config: InpainterConfig) -> dict[str, Any]:
    """Return what every row says of the inpainter: backend, digest of weights, whether random."""
    weights = inpainter_identity(config).get("weights", {})
    files = list(weights.get("files", {}).values())
    return {
        "backend": config.backend,
        "weights_sha256": files[0] if files else None,
        "untrained": bool(weights.get("untrained", False)),
    }


def _too_large(mask: NDArray[np.uint8], max_cover: float) -> bool:
    return cover(mask) > max_cover or not np.any(mask == 0)


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile: the papers' DeepFillv2, or OpenCV without weights."""
    return {"backend": "deepfillv2"} if name == "paper" else {}
