"""Contextual attention as it is usually written: filters made of patches, one L x L matrix.

Family B's rules, one picture at a time; the yardstick for time and memory of ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from affectflow.models.vision.contextual_attention import ContextualAttention


class PlainAttention(ContextualAttention):
    """The same results by convolutions over everything at once."""

    def forward(
        self, features: Tensor, mask: Tensor | None = None, background: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what `ContextualAttention` returns."""
        blocked = self.blocked(features, mask)
        items = zip(features, blocked, strict=True)
        return torch.cat([_attend(one[None], hole) for one, hole in items]), blocked.all(dim=1)


def _attend(features: Tensor, blocked: Tensor) -> Tensor:
    half = features[:, :, ::2, ::2]
    channels, (rows, columns) = features.shape[1], half.shape[-2:]
    count = rows * columns
    filters = functional.unfold(half, 3, padding=1)[0].t().reshape(count, channels, 3, 3)
    norms = filters.flatten(1).norm(dim=1).clamp(min=1e-4)
    scores = functional.conv2d(half, filters / norms[:, None, None, None], padding=1)
    diagonal = torch.eye(3).reshape(1, 1, 3, 3)
    scores = scores.view(1, 1, count, count)
    scores = functional.conv2d(scores, diagonal, padding=1)
    scores = scores.view(1, rows, columns, rows, columns).permute(0, 2, 1, 4, 3)
    scores = functional.conv2d(scores.reshape(1, 1, count, count), diagonal, padding=1)
    scores = scores.view(1, columns, rows, columns, rows).permute(0, 2, 1, 4, 3)
    known = (~blocked).float()[None, :, None, None]
    weights = (10 * scores.reshape(1, count, rows, columns) * known).softmax(dim=1) * known
    pasted = functional.unfold(features, 4, stride=2, padding=1)[0].t()
    pasted = pasted.reshape(count, channels, 4, 4)
    return functional.conv_transpose2d(weights, pasted, stride=2, padding=1) / 4
