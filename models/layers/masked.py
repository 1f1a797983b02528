"""Softmax, mean and entropy over the valid entries of a sequence.

``B`` samples, ``L`` entries, ``D`` width. Whatever stands behind a sample's end changes nothing,
and a sample without any entry gives zeros with finite gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import FeatureBatch


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax along the last axis over the entries where ``mask`` is True.

    Args:
        scores: (..., L) floating point.
        mask: (..., L) bool.

    Returns:
        (..., L) float32 or wider: exactly 0 where masked, sums to 1 where any entry is valid, and
        all 0 where none is.
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    lowest = torch.finfo(scores.dtype).min
    weights = torch.softmax(scores.masked_fill(~mask, lowest), dim=-1)
    return weights * mask


def masked_mean(feature: FeatureBatch) -> Tensor:
    """Return the mean of each sample's valid entries.

    Args:
        feature: (B, L, D) in any layout; a vector (B, D) is its own mean.

    Returns:
        (B, D); zeros for a sample without entries.
    """
    if feature.layout == "fixed" and feature.values.dim() == 2:
        return feature.values * feature.present[:, None]
    count = feature.lengths.clamp(min=1)[:, None]
    if feature.layout == "packed":
        owner = torch.repeat_interleave(
            torch.arange(len(feature), device=feature.lengths.device), feature.lengths
        )
        sums = feature.values.new_zeros(len(feature), feature.values.shape[-1])
        return sums.index_add(0, owner, feature.values) / count.to(feature.values.dtype)
    weights = feature.mask.to(feature.values.dtype)
    return torch.einsum("bl,bld->bd", weights, feature.values) / count.to(weights.dtype)


def normalised_entropy(weights: Tensor, mask: Tensor) -> Tensor:
    """Return H(α) / log n of attention weights: 1 for uniform, 0 for all weight on one entry.

    Args:
        weights: (..., L), summing to 1 over the n valid entries.
        mask: (..., L) bool.

    Returns:
        One value per row with n ≥ 2, flattened; possibly none.
    """
    count = mask.sum(-1)
    entropy = -torch.special.xlogy(weights, weights).sum(-1)
    chosen = count > 1
    return entropy[chosen] / count[chosen].to(weights.dtype).log()
