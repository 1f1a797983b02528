"""Regions from the X-152 of vqa-maskrcnn-benchmark in plain torch: Visual Genome, fc6 of 2048.

The network and the rule of the mmf feature files: the ``num_boxes`` most confident *proposals*,
whatever their confidence. The whole command, without weights (random ones from a seed, so the
vectors mean nothing)::

    pipeline run extract --dataset demo --features regions --set regions.backend=vmb \
      --set regions.architecture=faster_rcnn_x152 --set regions.allow_untrained=true

Three things differ from the original on purpose: images of every mode are decoded to RGB first,
stored boxes are moved inside the picture (vectors are taken before that), and images of a batch
share their padded size, so that no image depends on its neighbours. Not tested on a GPU.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config import digest
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
    versions,
    weights_identity,
    weights_path,
)
from .backends import Prepared, Regions, refuse
from .benchmark_rule import original_scale, scaled, top_regions
from .checkpoints import load_benchmark_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from affectflow.models.vision.rcnn.faster import Proposed

    from . import Config

DEFAULTS = {"architecture": "faster_rcnn_x152", "weights": "vqa-maskrcnn-benchmark-x152"}
KIND = "maskrcnn_benchmark"
# The network's means, blue, green, red; a test compares them with its own.
MEAN = (102.9801, 115.9465, 122.7717)

ARCHITECTURES = {
    "faster_rcnn_x152": Architecture(2048, 1600, {}, {"norm_eps": 0.0}),
    "faster_rcnn_x101": Architecture(2048, 1600, {}, {"blocks": (3, 4, 23, 3), "norm_eps": 0.0}),
    # Ours, for tests: the same code with few channels.
    "faster_rcnn_tiny": Architecture(
        96,
        40,
        {"pyramid": 48, "vector": 96, "logits": 41},
        {
            "blocks": (1, 2, 2, 1),
            "groups": 4,
            "group_width": 4,
            "stem": 16,
            "output": 32,
            "norm_eps": 0.0,
        },
    ),
}


class Backend:
    """Proposals with fc6 or fc7, chosen by the rule of the mmf extractor."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.facts = check_architecture(config, ARCHITECTURES)
        refuse(config, "pooled_at", "masks")

    def width(self) -> int:
        """Return the size of a region vector."""
        return self.facts.width

    def identity(self) -> dict[str, Any]:
        """Return weights, architecture, preprocessing, selection, layer and precision."""
        require("torch", "torchvision", "cv2")
        config, preprocess = self.config, self._preprocessing()
        return {
            "route": "vmb",
            "weights": weights_identity(config, KIND),
            "untrained": config.allow_untrained,
            "architecture": self._architecture(),
            "classes": {
                "count": self.facts.classes,
                "numbering": "0-based, no background; order of the weights' Visual Genome list",
                # The list comes with the weights and is not published with a digest.
                "names_digest": None,
            },
            "preprocessing": preprocess,
            "preprocessing_digest": digest(preprocess),
            "selection": self._selection(),
            "layer": config.layer,
            "pooled_at": "proposals",
            "post_relu": config.post_relu,
            "precision": precision_identity(config),
            "libraries": versions("opencv-python-headless"),
        }

    def _architecture(self) -> dict[str, Any]:
        return {
            "name": self.config.architecture,
            "fpn_width": self.facts.sizes.get("pyramid", 512),
            "anchors": {"sizes": [32, 64, 128, 256, 512], "ratios": [0.5, 1, 2], "rounded": True},
            "boxes": "count pixels: widths are one more than the difference of the sides",
            "norm_eps": 0.0,
            "roi_align_aligned": False,
            "roi_align_sampling_ratio": 2,
            "image_size": "padded",
        }

    def _selection(self) -> dict[str, Any]:
        config = self.config
        return {
            "proposals": config.proposals,
            "proposals_per_level_before": config.proposals_before or config.proposals,
            "proposals_per_level_after": config.proposals_per_level or config.proposals,
            "nms_iou": config.nms_iou,
            "nms_boxes": "proposals in original pixels, per class",
            "confidence_threshold": config.confidence_threshold,
            "num_boxes": config.num_boxes,
            "score": "highest class score among classes survived",
            "stored_boxes": "clipped to the image",
        }

    def _preprocessing(self) -> dict[str, Any]:
        return {
            "channels": "BGR",
            "range": [0, 255],
            "mean": list(MEAN),
            "std": [1, 1, 1],
            "min_size": self.config.min_size,
            "max_size": self.config.max_size,
            "interpolation": "bilinear on float32 by a factor, not antialiased (OpenCV)",
            "order": "subtract, resize, pad",
            "stride": self.config.pad_to,
            "decode_policy": DECODE_POLICY,
        }

    def warnings(self) -> tuple[str, ...]:
        """Say when weights are random."""
        return random_warning(self.config)

    def open(self) -> None:
        """Build the network and load its weights."""
        from affectflow.models.vision.rcnn.faster import FasterRCNN, Sizes
        from affectflow.models.vision.rcnn.resnext import Trunk

        config = self.config
        weights_identity(config, KIND)
        self._device = pick_device(config.device)
        sizes = Sizes(trunk=Trunk(**self.facts.trunk), **self.facts.sizes)
        network = seeded_module(config.seed, lambda: FasterRCNN(sizes))
        if not config.allow_untrained:
            load_benchmark_file(network, weights_path(config))
        self._network = network.eval().to(self._device)

    def prepare(self, pixels: NDArray[np.uint8]) -> Prepared:
        """Return one image, the mean subtracted, channels reversed, scaled."""
        height, width = pixels.shape[:2]
        values = scaled(pixels, self.config.min_size, self.config.max_size)
        padded = padded_size(values.shape[1], values.shape[2], self.config.pad_to)
        return Prepared(values, height, width, padded)

    def bucket(self, prepared: Prepared) -> Hashable:
        """Return the padded size, which limits the boxes too."""
        return prepared.padded

    def find(self, batch: Sequence[Prepared]) -> list[Regions]:
        """Return the regions of each image of a batch."""
        from affectflow.models.vision.rcnn.proposals import Limits

        config = self.config
        limits = Limits(
            before=config.proposals_before or config.proposals,
            level=config.proposals_per_level or config.proposals,
            after=config.proposals,
        )
        layer = config.layer if config.post_relu else f"{config.layer}_linear"
        images, _ = stacked(batch, self._device)
        with computing(self._device, config.precision):
            found = self._network(images, limits, layer)
            return [self._regions(*pair) for pair in zip(batch, found, strict=True)]

    def _regions(self, image: Prepared, found: Proposed) -> Regions:
        from affectflow.models.vision.rcnn.boxes import clip

        config = self.config
        limits = (config.min_size, config.max_size)
        boxes = found.boxes / original_scale(image.height, image.width, *limits)
        kept, confidence = top_regions(
            found.scores, boxes, config.num_boxes, config.nms_iou, config.confidence_threshold
        )
        inside = clip(boxes[kept], (image.height, image.width))
        return Regions(
            found.vectors[kept].cpu().numpy(),
            inside.cpu().numpy(),
            confidence.cpu().numpy(),
            found.scores[kept, 1:].argmax(dim=-1).cpu().numpy().astype(np.int16),
        )
