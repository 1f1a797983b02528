"""Region features: a fixed number of boxes per image with a vector, score and class each.

Features: ``regions`` (R, D), ``regions.boxes`` (R, 4) xyxy in original pixels, ``regions.scores``
(R,) descending, ``regions.classes`` (R,) with -1 for padding, ``regions.num_valid`` (1,),
``regions.size`` (2,) width and height of the image, and with ``masks`` ``regions.masks``
(R, 28, 28), the probability that a point of the box belongs to the object. Rows from ``num_valid``
on are zero.

The networks are behind `backends.Backend`: `torchvision` (Mask R-CNN of torchvision),
`detectron2_zoo` and `vmb` (the two networks that are called X152, in plain torch), `detectron2`
(the first of the two run by an installed detectron2).

``R`` regions, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ...config import StageConfig
from ...records import FeatureSpec, Row
from ...stage import BaseStage, Resources
from .._device import DeviceName, resources_for
from .._inputs import ImageSource, read_image, stages_read
from .backends import Prepared, Regions, backend_names, defaults_of, make_backend

if TYPE_CHECKING:
    from ...records import Value


# Height and width of a stored mask.
MASK = (28, 28)


class Config(StageConfig):
    """Which network, which image, which regions.

    Attributes:
        backend: Module of the network, see `backends`.
        architecture: Network of that backend; its main one by default.
        weights: Name in the catalogue of weights; those of the main network by default.
        file: A file with weights of your own; ``weights`` is then only a label.
        num_boxes: R, rows per image; fewer proposals are padded with zeros.
        proposals: Boxes the proposal network passes on.
        proposals_before: Best boxes of a pyramid level that it looks at (X152 networks); as many
            as ``proposals`` by default.
        proposals_per_level: Boxes of a level it passes on (`vmb`); as many by default.
        nms_iou: Overlap above which the less certain of two proposals is dropped in a class.
        confidence_threshold: Class scores up to this do not count.
        layer: Fully connected layer of the box head the vector is taken from.
        post_relu: Take it after its ReLU.
        pooled_at: Boxes that the vectors of a cascade are pooled at: what the last ``stage`` was
            given, or the ``final`` boxes, which takes one more pass.
        masks: Store the masks of a cascade too, as probabilities in float16.
        min_size, max_size: Pixels of the short side, and limit of the long one.
        pad_to: Heights and widths are padded to a multiple of this; larger ones give fewer
            sizes, so fuller batches, and slightly other values near the borders.
        precision: Type of convolutions and linear layers (X152 networks); boxes are float32.
        dtype: Stored type of the vectors; float16 rounds to 1 part in 2048.
        allow_untrained: Use random weights from ``seed`` instead of reading any.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "device", "file"})

    backend: str = "torchvision"
    architecture: str = ""
    weights: str = ""
    file: str | None = None
    image_source: ImageSource = "inpainted"
    num_boxes: int = Field(default=100, ge=1, le=1000)
    proposals: int = Field(default=1000, ge=1, le=10_000)
    proposals_before: int | None = Field(default=None, ge=1, le=100_000)
    proposals_per_level: int | None = Field(default=None, ge=1, le=100_000)
    nms_iou: float = Field(default=0.5, gt=0, le=1)
    confidence_threshold: float = Field(default=0.0, ge=0, lt=1)
    layer: Literal["fc6", "fc7"] = "fc6"
    post_relu: bool = True
    pooled_at: Literal["stage", "final"] = "stage"
    masks: bool = False
    min_size: int = Field(default=800, ge=16, le=4096)
    max_size: int = Field(default=1333, ge=16, le=8192)
    pad_to: int = Field(default=32, ge=32, le=1024, multiple_of=32)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    dtype: Literal["float16", "float32"] = "float16"
    allow_untrained: bool = False
    seed: int = Field(default=0, ge=0)
    device: DeviceName = "auto"
    batch_size: int = Field(default=4, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _main_network(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {name: value for name, value in values.items() if value != ""}
        backend = given.get("backend", "torchvision")
        return {**defaults_of(backend), **given} if backend in backend_names() else values

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.max_size < self.min_size:
            raise ValueError("max_size must not be below min_size")
        return self


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile.

    ``paper``: 100 regions of the papers' X-152, Visual Genome, at 800 pixels. ``offline``: 36
    regions of a light network with random weights at 224 pixels.
    """
    if name == "paper":
        sizes = {"num_boxes": 100, "proposals": 1000, "min_size": 800, "max_size": 1333}
        return {"backend": "vmb", **sizes}
    return {
        "architecture": "maskrcnn_resnet18_fpn",
        "allow_untrained": True,
        "num_boxes": 36,
        "proposals": 96,
        "min_size": 224,
        "max_size": 448,
        "batch_size": 8,
    }


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests."""
    return {
        "architecture": "maskrcnn_tiny",
        "allow_untrained": True,
        "seed": 1,
        "num_boxes": 10,
        "proposals": 40,
        "min_size": 64,
        "max_size": 128,
        "device": "cpu",
    }


class Extractor(BaseStage[Config, Prepared]):
    """Image to regions."""

    NAME = "regions"
    VERSION = 1
    LIBRARIES = ("torch", "torchvision", "pillow")
    CITATION = "He et al. 2017, Mask R-CNN"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._backend = make_backend(config)

    def reads(self) -> tuple[str, ...]:
        """Return the stage that paints over text, unless the original is asked for."""
        return stages_read(image=self.config.image_source)

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the features."""
        rows, width = self.config.num_boxes, self._backend.width()
        specs = (
            FeatureSpec("regions", "image", (rows, width), self.config.dtype, compression="zstd"),
            FeatureSpec(
                "regions.boxes", "image", (rows, 4), "float32", columns=("x1", "y1", "x2", "y2")
            ),
            FeatureSpec("regions.scores", "image", (rows,), "float32"),
            FeatureSpec("regions.classes", "image", (rows,), "int16", compression="zstd"),
            FeatureSpec("regions.num_valid", "image", (1,), "int32", compression="zstd"),
            FeatureSpec(
                "regions.size", "image", (2,), "int32", compression="zstd", columns=("w", "h")
            ),
        )
        masks = FeatureSpec("regions.masks", "image", (rows, *MASK), "float16", compression="zstd")
        return (*specs, masks) if self.config.masks else specs

    def identity(self) -> Mapping[str, Any]:
        """Return the backend's provenance."""
        return self._backend.identity()

    def warnings(self) -> tuple[str, ...]:
        """Return the backend's warnings."""
        return self._backend.warnings()

    def resources(self) -> Resources:
        """Return about what a network takes at 800 pixels."""
        return resources_for(self.config.device, memory_gb=3.0)

    def open(self) -> None:
        """Build the network."""
        self._backend.open()

    def load(self, row: Row) -> Prepared:
        """Return the row's image as the network reads it."""
        return self._backend.prepare(read_image(row, self.config.image_source))

    def bucket(self, item: Prepared) -> Hashable:
        """Return the padded size."""
        return self._backend.bucket(item)

    def compute(self, items: Sequence[Prepared]) -> Sequence[Mapping[str, Value]]:
        """Return the features of a batch."""
        found = self._backend.find(items)
        return [self._features(*pair) for pair in zip(items, found, strict=True)]

    def _features(self, item: Prepared, found: Regions) -> dict[str, Value]:
        rows, valid = self.config.num_boxes, len(found.scores)
        vectors = np.zeros((rows, self._backend.width()), dtype=self.config.dtype)
        boxes = np.zeros((rows, 4), dtype=np.float32)
        scores = np.zeros(rows, dtype=np.float32)
        classes = np.full(rows, -1, dtype=np.int16)
        vectors[:valid] = found.features
        boxes[:valid] = found.boxes
        scores[:valid] = found.scores
        classes[:valid] = found.classes
        values: dict[str, Value] = {
            "regions": vectors,
            "regions.boxes": boxes,
            "regions.scores": scores,
            "regions.classes": classes,
            "regions.num_valid": np.asarray([valid], dtype=np.int32),
            "regions.size": np.asarray([item.width, item.height], dtype=np.int32),
        }
        if found.masks is not None:
            masks = np.zeros((rows, *MASK), dtype=np.float16)
            masks[:valid] = found.masks
            values["regions.masks"] = masks
        return values
