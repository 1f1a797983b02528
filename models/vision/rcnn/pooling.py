"""Boxes to fixed grids, each from the pyramid level that suits its size (He et al. 2017).

``N`` boxes of all images, ``C`` channels, ``S`` side of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from .boxes import levels
from .pyramid import STRIDES

LOW, HIGH = 2, 5


@dataclass(frozen=True, slots=True)
class Pooling:
    """How boxes are sampled.

    Attributes:
        aligned: Whether pixel centres lie at half coordinates.
        samples: Points per bin and axis; 0 takes as many as the bin has pixels.
        extent: Added to widths and heights when the level is chosen, see `boxes`.
        eps: Added to the relative size when the level is chosen.
    """

    aligned: bool = True
    samples: int = 0
    extent: float = 0.0
    eps: float = 1e-8

    def __call__(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
        """Return ``(N, C, S, S)`` float32, images one after the other.

        Args:
            maps: p2 to p5, and further ones that are not used.
            boxes: One ``(n, 4)`` per image, in pixels of the network's input.
            side: S.
        """
        flat = torch.cat(list(boxes))
        image = torch.cat([one.new_full((len(one), 1), n) for n, one in enumerate(boxes)])
        rows = torch.cat([image, flat], dim=1)  # (N, 5)
        chosen = levels(flat, LOW, HIGH, self.extent, self.eps)
        pooled = flat.new_zeros((len(flat), maps[0].shape[1], side, side))
        for level in range(LOW, HIGH + 1):
            (places,) = (chosen == level).nonzero(as_tuple=True)
            scale = 1.0 / STRIDES[level - LOW]
            # Box coordinates do not fit 16 bits, so that pooling is in float32.
            values = maps[level - LOW].float()
            pooled[places] = roi_align(
                values, rows[places], side, scale, self.samples, self.aligned
            )
        return pooled
