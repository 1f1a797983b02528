"""Regions from the detectron2 zoo's cascade X152 in plain torch: COCO classes, vectors of 1024.

The whole command, without weights (random ones from a seed, so the vectors mean nothing)::

    pipeline run extract --dataset demo --features regions --set regions.backend=detectron2_zoo \
      --set regions.architecture=cascade_mask_rcnn_x152 --set regions.allow_untrained=true

With the default ``confidence_threshold`` of 0 there are nearly always ``num_boxes`` rows, and one
proposal can appear under several classes; the published threshold is 0.05. Not tested on a GPU.

``R`` regions, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config import digest
from ...errors import ConfigError
from ...media.images import DECODE_POLICY
from .._device import pick_device, seeded_module
from .._packages import require
from ._x152 import (
    Architecture,
    check_architecture,
    computing,
    padded_size,
    precision_identity,
    random_warning,
    stacked,
    weights_identity,
    weights_path,
)
from .backends import Prepared, Regions, refuse
from .checkpoints import load_zoo_file
from .coco import CLASSES

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from affectflow.models.vision.rcnn.cascade import Detections

    from . import Config

DEFAULTS = {"architecture": "cascade_mask_rcnn_x152", "weights": "cascade-mask-rcnn-x152-coco"}
KIND = "detectron2"
# The network's means, blue, green, red; a test compares them with its own.
MEAN = (103.53, 116.28, 123.675)

_DEFORMABLE = (False, True, True, True)
ARCHITECTURES = {
    "cascade_mask_rcnn_x152": Architecture(1024, 80, {}, {"deformable": _DEFORMABLE}),
    # Ours, for tests: the same code with few channels.
    "cascade_mask_rcnn_tiny": Architecture(
        64,
        11,
        {"pyramid": 32, "head": 32, "vector": 64, "mask": 32, "mask_convs": 2, "classes": 11},
        {
            "blocks": (1, 2, 2, 1),
            "groups": 4,
            "group_width": 4,
            "stem": 16,
            "output": 32,
            "deformable": _DEFORMABLE,
        },
    ),
}


class Backend:
    """The cascade with three box heads; its mask head is run only for ``masks``."""

    ROUTE = "detectron2_zoo"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.facts = check_architecture(config, ARCHITECTURES)
        if config.layer != "fc6":
            raise ConfigError(f"{config.architecture} has no layer {config.layer}, only fc6")
        refuse(config, "proposals_per_level")

    def width(self) -> int:
        """Return the size of a region vector."""
        return self.facts.width

    def identity(self) -> dict[str, Any]:
        """Return weights, architecture, preprocessing, selection, layer and precision."""
        require("torch", "torchvision")
        config, preprocess = self.config, self._preprocessing()
        return {
            "route": self.ROUTE,
            "weights": weights_identity(config, KIND),
            "untrained": config.allow_untrained,
            "architecture": self._architecture(),
            "classes": self._classes(),
            "preprocessing": preprocess,
            "preprocessing_digest": digest(preprocess),
            "selection": self._selection(),
            "layer": "last fully connected layer of the third box head",
            "pooled_at": config.pooled_at,
            "post_relu": config.post_relu,
            "precision": precision_identity(config),
        }

    def _architecture(self) -> dict[str, Any]:
        return {
            "name": self.config.architecture,
            "fpn_width": self.facts.sizes.get("pyramid", 256),
            "anchors": {"sizes": [32, 64, 128, 256, 512], "ratios": [0.5, 1, 2], "rounded": False},
            "norm_eps": 1e-5,
            "roi_align_aligned": True,
            "roi_align_sampling_ratio": 0,
            "deformable": list(self.facts.trunk["deformable"]),
            "stages": 3,
        }

    def _classes(self) -> dict[str, Any]:
        known = len(CLASSES) == self.facts.classes
        return {
            "count": self.facts.classes,
            "numbering": "0-based, no background",
            "names_digest": digest(list(CLASSES), 64) if known else None,
        }

    def _selection(self) -> dict[str, Any]:
        config = self.config
        return {
            "proposals": config.proposals,
            "proposals_per_level_before": config.proposals_before or config.proposals,
            "nms_iou": config.nms_iou,
            "nms_boxes": "final, per class",
            "confidence_threshold": config.confidence_threshold,
            "num_boxes": config.num_boxes,
            "score": "mean of the three stages' probabilities, of every pair of box and class",
        }

    def _preprocessing(self) -> dict[str, Any]:
        return {
            "channels": "BGR",
            "range": [0, 255],
            "mean": list(MEAN),
            "std": [1, 1, 1],
            "min_size": self.config.min_size,
            "max_size": self.config.max_size,
            "interpolation": "bilinear on bytes, antialiased (Pillow)",
            "order": "resize, subtract, pad",
            "stride": self.config.pad_to,
            "decode_policy": DECODE_POLICY,
        }

    def warnings(self) -> tuple[str, ...]:
        """Say when weights are random."""
        return random_warning(self.config)

    def open(self) -> None:
        """Build the network and load its weights."""
        from affectflow.models.vision.rcnn.cascade import CascadeRCNN

        config = self.config
        weights_identity(config, KIND)
        self._device = pick_device(config.device)
        network = seeded_module(config.seed, lambda: CascadeRCNN(self._sizes()))
        if not config.allow_untrained:
            load_zoo_file(network, weights_path(config))
        self._network = network.eval().to(self._device)

    def _sizes(self) -> Any:
        from affectflow.models.vision.rcnn.cascade import Sizes
        from affectflow.models.vision.rcnn.resnext import Trunk

        return Sizes(trunk=Trunk(**self.facts.trunk), **self.facts.sizes)

    def prepare(self, pixels: NDArray[np.uint8]) -> Prepared:
        """Return one image scaled, channels reversed, the mean subtracted."""
        from PIL import Image

        height, width = pixels.shape[:2]
        rows, columns = scaled_size(height, width, self.config.min_size, self.config.max_size)
        image = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR)
        values = np.asarray(image)[..., ::-1].astype(np.float32) - np.asarray(MEAN, np.float32)
        padded = padded_size(rows, columns, self.config.pad_to)
        return Prepared(np.ascontiguousarray(values.transpose(2, 0, 1)), height, width, padded)

    def bucket(self, prepared: Prepared) -> Hashable:
        """Return the padded size, so that padding does not depend on the other images."""
        return prepared.padded

    def find(self, batch: Sequence[Prepared]) -> list[Regions]:
        """Return the regions of each image of a batch."""
        images, sizes = stacked(batch, self._device)
        with computing(self._device, self.config.precision):
            found = self.detect(images, sizes)
            return [self._regions(*pair) for pair in zip(batch, found, strict=True)]

    def detect(self, images: torch.Tensor, sizes: list[tuple[int, int]]) -> list[Detections]:
        """Return the detections of a batch ``(B, 3, H, W)``, with vectors.

        Args:
            images: Padded.
            sizes: Height and width of each image without padding.
        """
        from affectflow.models.vision.rcnn.cascade import Selection
        from affectflow.models.vision.rcnn.proposals import Limits

        config = self.config
        before = config.proposals_before or config.proposals
        limits = Limits(before=before, after=config.proposals)
        rule = Selection(config.confidence_threshold, config.nms_iou, config.num_boxes)
        found: list[Detections] = self._network(
            images, sizes, limits, rule, config.pooled_at, config.masks
        )
        return found

    def _regions(self, image: Prepared, found: Detections) -> Regions:
        from affectflow.models.vision.rcnn.boxes import clip

        _, rows, columns = image.pixels.shape
        scale = found.boxes.new_tensor([image.width / columns, image.height / rows] * 2)
        boxes = clip(found.boxes * scale, (image.height, image.width))
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        assert found.linear is not None
        vectors = found.linear.relu() if self.config.post_relu else found.linear
        masks = None if found.masks is None else found.masks[solid].float().cpu().numpy()
        return Regions(
            vectors[solid].float().cpu().numpy(),
            boxes[solid].cpu().numpy(),
            found.scores[solid].cpu().numpy(),
            found.classes[solid].cpu().numpy().astype(np.int16),
            masks,
        )


def scaled_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Return the size an image is scaled to, half pixels rounded up; at least one each way.

    The short side becomes ``min_size`` unless the long one would pass ``max_size``.
    """
    scale = min_size / min(height, width)
    # One side is exact: it is not multiplied and divided by itself.
    rows = min_size if height < width else scale * height
    columns = scale * width if height < width else min_size
    if max(rows, columns) > max_size:
        shrink = max_size / max(rows, columns)
        rows, columns = rows * shrink, columns * shrink
    return max(1, int(rows + 0.5)), max(1, int(columns + 0.5))
