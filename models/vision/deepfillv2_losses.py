"""Losses of DeepFillv2's families: adversarial, distance to the picture, distance of features.

``B`` batch, ``H, W`` size of the picture in pixels. Masks are 1 in holes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Adversary = Literal["hinge", "least_squares", "cross_entropy", "wasserstein"]

# Convolutions of VGG-16 up to conv3_3, by their place among its layers.
_VGG = ((3, 64), (64, 64), None, (64, 128), (128, 128), None, (128, 256), (256, 256), (256, 256))
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def real_loss(scores: Tensor, kind: Adversary = "hinge") -> Tensor:
    """Return the discriminator's loss on real pictures, a scalar.

    The original families take half the sum of `real_loss` and `false_loss`, mmediting the sum.
    """
    if kind == "hinge":
        return functional.relu(1 - scores).mean()
    if kind == "least_squares":
        return (scores - 1).square().mean()
    if kind == "wasserstein":
        return -scores.mean()
    return functional.softplus(-scores).mean()


def false_loss(scores: Tensor, kind: Adversary = "hinge") -> Tensor:
    """Return the discriminator's loss on filled pictures, a scalar."""
    if kind == "hinge":
        return functional.relu(1 + scores).mean()
    if kind == "least_squares":
        return scores.square().mean()
    if kind == "wasserstein":
        return scores.mean()
    return functional.softplus(scores).mean()


def fooling_loss(scores: Tensor, kind: Adversary = "hinge") -> Tensor:
    """Return the generator's loss for the scores of what it filled, a scalar."""
    if kind in {"hinge", "wasserstein"}:
        return -scores.mean()
    return real_loss(scores, kind)


def weighted_l1(
    output: Tensor, picture: Tensor, weight: Tensor, per_sample: bool = False
) -> Tensor:
    """Return the mean distance where ``weight`` is 1, a scalar; 0 where it is 0 everywhere.

    Args:
        output: ``(B, 3, H, W)``.
        picture: Likewise.
        weight: ``(B, 1, H, W)``: the mask for holes, its complement for the rest.
        per_sample: Average within each sample first, so that small holes count as much as large.
    """
    weight = weight.expand_as(output)
    distances = (output - picture).abs() * weight
    if per_sample:
        return (distances.sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + 1e-12)).mean()
    return distances.sum() / (weight.sum() + 1e-12)


@dataclass(frozen=True, slots=True)
class GeneratorLoss:
    """Weighted terms of the generator's loss, scalars.

    Attributes:
        coarse: Distance of the first stage's output to the picture.
        final: Of the second stage's output.
        adversarial: `fooling_loss` of the completed picture.
    """

    coarse: Tensor
    final: Tensor
    adversarial: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the terms."""
        return self.coarse + self.final + self.adversarial


class PerceptualFeatures(nn.Module):
    """VGG-16 up to conv3_3, before its activation; family C compares pictures by it.

    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks", 2015. ``layers`` has the layer
    numbers of torchvision's ``vgg16().features``.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for sizes in _VGG:
            if sizes is None:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(*sizes, 3, padding=1), nn.ReLU()]
        # conv3_3 is compared before its activation.
        self.layers = nn.Sequential(*layers[:-1])
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, picture: Tensor) -> Tensor:
        """Return features ``(B, 256, 56, 56)`` of RGB pictures in 0 to 1, ``(B, 3, H, W)``."""
        normal = (picture - self.mean) / self.std
        scaled = functional.interpolate(normal, (224, 224), mode="bilinear", align_corners=False)
        features: Tensor = self.layers(scaled)
        return features
