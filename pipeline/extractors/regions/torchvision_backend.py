"""Regions from a torchvision Mask R-CNN: proposals, box head, the selection rule.

``B`` batch, ``N`` proposals of an image, ``C`` foreground classes, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...config import digest
from ...errors import ConfigError
from ...media.images import DECODE_POLICY
from ...weights import entry, identity_of, identity_of_folder, locate_file
from ...weights.checkpoint import load_strictly, read_state_dict
from .._device import inference, pick_device, seeded_identity, seeded_module, untrained_warning
from .._packages import require
from ._x152 import precision_identity
from .backends import Prepared, Regions, refuse
from .coco import CATEGORIES
from .selection import select
from .torchvision_networks import ARCHITECTURES, RATIOS, build, head_layers

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from . import Config

DEFAULTS = {
    "architecture": "maskrcnn_resnet50_fpn_v2",
    "weights": "maskrcnn-resnet50-fpn-v2-coco",
}
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Backend:
    """A torchvision Mask R-CNN without its mask head."""

    def __init__(self, config: Config) -> None:
        if config.architecture not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise ConfigError(f"architecture = '{config.architecture}'; known: {known}")
        self.config = config
        self.facts = ARCHITECTURES[config.architecture]
        if config.layer not in self.facts.layers:
            layers = " or ".join(self.facts.layers)
            raise ConfigError(f"{config.architecture} has no layer {config.layer}, only {layers}")
        refuse(config, "precision", "pooled_at", "masks")
        refuse(config, "proposals_before", "proposals_per_level")

    def width(self) -> int:
        """Return the size of a region vector."""
        return self.facts.width

    def identity(self) -> dict[str, Any]:
        """Return weights, architecture, preprocessing, selection and layer."""
        require("torch", "torchvision")
        config, preprocess = self.config, self._preprocessing()
        return {
            "route": "torchvision",
            "weights": self._weights(),
            "untrained": config.allow_untrained,
            "architecture": self._architecture(),
            "classes": self._classes(),
            "preprocessing": preprocess,
            "preprocessing_digest": digest(preprocess),
            "selection": {
                "proposals": config.proposals,
                "nms_iou": config.nms_iou,
                "nms_boxes": "proposals",
                "confidence_threshold": config.confidence_threshold,
                "num_boxes": config.num_boxes,
                "score": "highest class score among classes survived",
            },
            "layer": config.layer,
            "pooled_at": "proposals",
            "post_relu": config.post_relu,
            "precision": precision_identity(config),
        }

    def _architecture(self) -> dict[str, Any]:
        return {
            "name": self.config.architecture,
            "fpn_width": self.facts.pyramid,
            "levels": list(self.facts.levels),
            "anchors": {
                "sizes": list(self.facts.anchor_sizes),
                "ratios": list(RATIOS),
                "rounded": True,
            },
            "norm_eps": self.facts.norm_eps,
            "roi_align_aligned": False,
            "roi_align_sampling_ratio": 2,
        }

    def _classes(self) -> dict[str, Any]:
        known = len(CATEGORIES) == self.facts.classes - 1
        return {
            "count": self.facts.classes - 1,
            "numbering": "0-based, no background",
            "names_digest": digest(list(CATEGORIES), 64) if known else None,
        }

    def _preprocessing(self) -> dict[str, Any]:
        return {
            "channels": "RGB",
            "range": [0, 1],
            "mean": list(MEAN),
            "std": list(STD),
            "min_size": self.config.min_size,
            "max_size": self.config.max_size,
            "interpolation": "bilinear",
            "stride": self.config.pad_to,
            "decode_policy": DECODE_POLICY,
        }

    def _weights(self) -> dict[str, Any]:
        config = self.config
        if config.allow_untrained:
            return seeded_identity(config.seed, config.architecture)
        if config.file is not None:
            return identity_of_folder(config.weights, [Path(config.file)])
        known = entry(config.weights)
        architecture = known.options.get("architecture")
        if known.kind != "torchvision" or architecture != config.architecture:
            raise ConfigError(
                f"weights '{known.name}' are for {architecture}, not for {config.architecture}"
            )
        return identity_of(known)

    def warnings(self) -> tuple[str, ...]:
        """Say what these regions are not."""
        config = self.config
        if config.allow_untrained:
            return (untrained_warning("regions", config.architecture, config.seed),)
        return (
            f"regions: {config.architecture} on COCO gives vectors of {self.facts.width}; the "
            "papers' ResNeXt-152 on Visual Genome gives others, of 2048",
        )

    def open(self) -> None:
        """Build the network and load its weights."""
        config = self.config
        identity = self._weights()
        self._device = pick_device(config.device)
        seed = config.seed if identity.get("untrained") else 0
        network: Any = seeded_module(seed, lambda: build(config.architecture, config.proposals))
        if not config.allow_untrained:
            path = Path(config.file) if config.file else locate_file(config.weights)
            load_strictly(network, read_state_dict(path), path.name)
        self._network = network.float().eval().to(self._device)

    def prepare(self, pixels: NDArray[np.uint8]) -> Prepared:
        """Return one image scaled and normalised.

        The short side becomes ``min_size`` unless the long one would pass ``max_size``.
        """
        import torch
        from torch.nn import functional

        height, width = pixels.shape[:2]
        size = scaled_size(height, width, self.config.min_size, self.config.max_size)
        # A decoded image may be read-only, which `from_numpy` warns about; this copies.
        image = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255
        scaled = functional.interpolate(image, size=size, mode="bilinear", align_corners=False)[0]
        normal = (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        stride = self.config.pad_to
        padded = (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
        return Prepared(normal.contiguous().numpy(), height, width, padded)

    def bucket(self, prepared: Prepared) -> Hashable:
        """Return the padded size, so that padding does not depend on the other images."""
        return prepared.padded

    def find(self, batch: Sequence[Prepared]) -> list[Regions]:
        """Return the regions of each image; one at a time, so that no image changes another's."""
        return [self._find(one) for one in batch]

    def _find(self, one: Prepared) -> Regions:
        import torch
        from torchvision.models.detection.image_list import ImageList

        images = torch.zeros((1, 3, *one.padded))
        _, height, width = one.pixels.shape
        images[0, :, :height, :width] = torch.from_numpy(one.pixels)
        sizes = [(height, width)]
        with inference():
            images = images.to(self._device)
            features = self._network.backbone(images)
            proposals, _ = self._network.rpn(ImageList(images, sizes), features)
            layers, scores = self.box_head(features, proposals, sizes)
            return self._select(one, proposals[0], layers, scores)

    def box_head(
        self, features: Any, boxes: list[torch.Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors ``(N, D)`` and foreground probabilities ``(N, C)`` of given boxes.

        Args:
            features: Pyramid levels by name.
            boxes: One ``(N, 4)`` per image, in pixels of the scaled images.
            sizes: Height and width of the scaled images.
        """
        heads = self._network.roi_heads
        layers = head_layers(heads.box_head, heads.box_roi_pool(features, boxes, sizes))
        logits, _ = heads.box_predictor(layers["fc7" if "fc7" in layers else "fc6"])
        name = self.config.layer if self.config.post_relu else f"{self.config.layer}_linear"
        return layers[name], logits.softmax(dim=-1)[:, 1:]

    def _select(
        self,
        image: Prepared,
        proposals: torch.Tensor,
        vectors: torch.Tensor,
        scores: torch.Tensor,
    ) -> Regions:
        config = self.config
        boxes = original_boxes(proposals, image)
        kept, confidence = select(
            scores, boxes, config.num_boxes, config.nms_iou, config.confidence_threshold
        )
        classes = scores[kept].argmax(dim=-1)
        return Regions(
            vectors[kept].float().cpu().numpy(),
            boxes[kept].float().cpu().numpy(),
            confidence.float().cpu().numpy(),
            classes.cpu().numpy().astype(np.int16),
        )


def scaled_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Return the size an image is scaled to; at least one pixel each way."""
    factor = min(min_size / min(height, width), max_size / max(height, width))
    return max(1, int(height * factor)), max(1, int(width * factor))


def original_boxes(boxes: torch.Tensor, image: Prepared) -> torch.Tensor:
    """Return boxes ``(N, 4)`` of a scaled image in original pixels, inside the image."""
    import torch

    _, height, width = image.pixels.shape
    x, y = image.width / width, image.height / height
    limits = boxes.new_tensor([image.width, image.height, image.width, image.height])
    return torch.minimum(boxes * boxes.new_tensor([x, y, x, y]), limits).clamp(min=0)
