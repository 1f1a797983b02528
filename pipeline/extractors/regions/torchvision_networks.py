"""Mask R-CNN networks of torchvision, and two small ones of the same classes.

The mask head is built where published weights have one; it is never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Architecture:
    """Facts about a network that are known without building it.

    Attributes:
        width: D, size of a region vector.
        layers: Names of the fully connected layers a vector can be taken from.
        depth: Name of the ResNet.
        levels: ResNet stages (1 to 4) that feed the feature pyramid.
        pyramid: Channels of the feature pyramid.
        classes: Outputs of the classifier, background (0) included.
        norm_eps: Added to the variance by the trunk's batch norm.
    """

    width: int = 1024
    layers: tuple[str, ...] = ("fc6", "fc7")
    depth: str = "resnet50"
    levels: tuple[int, ...] = (1, 2, 3, 4)
    pyramid: int = 256
    classes: int = 91
    # The first published weights were trained with batch norm frozen at eps 0.
    norm_eps: float = 0.0

    @property
    def anchor_sizes(self) -> tuple[int, ...]:
        """Sides of the anchors; one more level is pooled from the last."""
        return tuple(2 ** (4 + level) for level in (*self.levels, self.levels[-1] + 1))


# Heights over widths of the anchors.
RATIOS = (0.5, 1.0, 2.0)

ARCHITECTURES = {
    "maskrcnn_resnet50_fpn_v2": Architecture(layers=("fc6",), norm_eps=1e-5),
    "maskrcnn_resnet50_fpn": Architecture(),
    # Ours, for runs without weights: a shallow body, no level at stride 4, about ten images of 224
    # pixels a second on one core.
    "maskrcnn_resnet18_fpn": Architecture(depth="resnet18", levels=(2, 3, 4)),
    "maskrcnn_tiny": Architecture(width=32, depth="resnet18", levels=(3, 4), pyramid=16, classes=7),
}


def build(name: str, proposals: int) -> Any:
    """Return a network of the given architecture with weights from the current random state.

    Args:
        name: Key of `ARCHITECTURES`.
        proposals: Boxes the proposal network passes on.
    """
    limits = {"rpn_pre_nms_top_n_test": proposals, "rpn_post_nms_top_n_test": proposals}
    if name == "maskrcnn_resnet50_fpn_v2":
        from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **limits)
    return _resnet_fpn(ARCHITECTURES[name], limits)


def _resnet_fpn(wanted: Architecture, limits: dict[str, int]) -> Any:
    from torchvision.models import resnet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNN
    from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

    def norm(channels: int) -> nn.Module:
        return FrozenBatchNorm2d(channels, eps=wanted.norm_eps)

    body = getattr(resnet, wanted.depth)(weights=None, norm_layer=norm)
    stages = {f"layer{level}": str(place) for place, level in enumerate(wanted.levels)}
    first = body.inplanes // 8
    channels = [first * 2 ** (level - 1) for level in wanted.levels]
    backbone = BackboneWithFPN(body, stages, channels, wanted.pyramid)
    sizes = tuple((size,) for size in wanted.anchor_sizes)
    network = MaskRCNN(
        backbone,
        num_classes=wanted.classes,
        rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign(list(stages.values()), output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(wanted.pyramid * 49, wanted.width),
        **limits,
    )
    network.roi_heads.box_predictor = FastRCNNPredictor(wanted.width, wanted.classes)
    return network


def head_layers(head: Any, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the box head's fully connected layers for pooled boxes ``(N, channels, 7, 7)``.

    Returns:
        ``fc6`` and, where there is one, ``fc7``: after ReLU ``(N, D)``; with the suffix ``_linear``
        before it. The last one feeds the classifier.
    """
    from torch.nn import functional

    if hasattr(head, "fc6"):
        fc6 = head.fc6(pooled.flatten(1))
        fc7 = head.fc7(functional.relu(fc6))
        linear = {"fc6": fc6, "fc7": fc7}
    else:
        # A sequence of convolutions, one fully connected layer and its ReLU.
        for part in list(head)[:-1]:
            pooled = part(pooled)
        linear = {"fc6": pooled}
    active = {name: functional.relu(values) for name, values in linear.items()}
    return active | {f"{name}_linear": values for name, values in linear.items()}
