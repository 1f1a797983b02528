"""What is run on pooled boxes: box heads, predictors and the mask head.

``N`` boxes, ``C`` channels, ``D`` width of a region vector, ``K`` classes without background.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .resnext import ConvNorm

GROUPS = 32
BOX_SIDE = 7
MASK_SIDE = 14


class ConvBoxHead(nn.Module):
    """3x3 convolutions with group norm, then one fully connected layer.

    Args:
        width: Channels of the pyramid.
        channels: Channels of the convolutions.
        num_convs: Number of convolutions.
        vector: D.
    """

    def __init__(self, width: int, channels: int, num_convs: int, vector: int) -> None:
        super().__init__()
        self.num_convs = num_convs
        for index in range(num_convs):
            pair = (width if index == 0 else channels, channels)
            self.add_module(f"conv{index + 1}", ConvNorm(pair, 3, nn.GroupNorm(GROUPS, channels)))
        self.fc1 = nn.Linear(channels * BOX_SIDE**2, vector)

    def linear(self, pooled: Tensor) -> Tensor:
        """Return vectors ``(N, D)`` before the last ReLU for boxes ``(N, C, 7, 7)``."""
        for index in range(self.num_convs):
            pooled = functional.relu_(self.get_submodule(f"conv{index + 1}")(pooled))
        vectors: Tensor = self.fc1(pooled.flatten(1))
        return vectors

    def forward(self, pooled: Tensor) -> Tensor:
        """Return vectors ``(N, D)`` for boxes ``(N, C, 7, 7)``."""
        return functional.relu_(self.linear(pooled))


class TwoLayerBoxHead(nn.Module):
    """Two fully connected layers.

    Args:
        width: Channels of the pyramid.
        vector: D.
    """

    def __init__(self, width: int, vector: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(width * BOX_SIDE**2, vector)
        self.fc7 = nn.Linear(vector, vector)

    def forward(self, pooled: Tensor) -> dict[str, Tensor]:
        """Return ``fc6`` and ``fc7`` ``(N, D)``; with the suffix ``_linear`` before their ReLU."""
        first = self.fc6(pooled.flatten(1))
        active = functional.relu(first)
        second = self.fc7(active)
        return {
            "fc6_linear": first,
            "fc6": active,
            "fc7_linear": second,
            "fc7": functional.relu(second),
        }


class Predictor(nn.Module):
    """Class logits and box deltas of region vectors.

    Args:
        vector: D.
        num_logits: K + 1.
        num_boxes: Boxes decoded per region: 1, or one per class.
    """

    def __init__(self, vector: int, num_logits: int, num_boxes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(vector, num_logits)
        self.bbox_pred = nn.Linear(vector, 4 * num_boxes)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(N, K + 1)`` and deltas ``(N, 4 num_boxes)``, float32."""
        return self.cls_score(vectors).float(), self.bbox_pred(vectors).float()


class MaskHead(nn.Module):
    """3x3 convolutions with group norm, doubled resolution, one logit per class and pixel.

    Args:
        width: Channels of the pyramid.
        channels: Channels of the convolutions.
        num_convs: Number of convolutions.
        num_classes: K.
    """

    def __init__(self, width: int, channels: int, num_convs: int, num_classes: int) -> None:
        super().__init__()
        self.num_convs = num_convs
        for index in range(num_convs):
            pair = (width if index == 0 else channels, channels)
            conv = ConvNorm(pair, 3, nn.GroupNorm(GROUPS, channels))
            self.add_module(f"mask_fcn{index + 1}", conv)
        self.deconv = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.predictor = nn.Conv2d(channels, num_classes, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits ``(N, K, 28, 28)`` for boxes ``(N, C, 14, 14)``."""
        for index in range(self.num_convs):
            pooled = functional.relu_(self.get_submodule(f"mask_fcn{index + 1}")(pooled))
        logits: Tensor = self.predictor(functional.relu_(self.deconv(pooled)))
        return logits.float()
