"""Sinusoidal positions of the Multimodal Transformer (MulT).

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, with
the table of the authors' code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_positions(indices: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return the embedding of time steps; the step of index t has position t + 1.

    With ``half = width // 2`` frequencies ``exp(-i ln(10000) / (half - 1))``: first all sines, then
    all cosines, and a zero column where ``width`` is odd.

    Args:
        indices: (...,) int64, ≥ 0, counted from the beginning of the sample.
        width: D, at least 2.
        dtype: Type of the result; angles are computed in float32, or float64 where that is wanted.

    Returns:
        (..., D), values in [-1, 1].
    """
    half = width // 2
    precise = torch.promote_types(dtype, torch.float32)
    steps = torch.arange(half, dtype=precise, device=indices.device)
    frequencies = torch.exp(steps * -(math.log(10000) / max(half - 1, 1)))
    angles = (indices + 1).to(precise)[..., None] * frequencies
    table = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return torch.nn.functional.pad(table, (0, width % 2)).to(dtype)


def embed_positions(values: Tensor, indices: Tensor, *, zero_steps_unplaced: bool) -> Tensor:
    """Return what positions add to a sequence.

    Args:
        values: (…, D): the sequence.
        indices: Time index of each step, broadcastable to (…,).
        zero_steps_unplaced: Whether a step whose first number is exactly 0 gets zeros: how MulT
            tells padding, since it isn't given lengths. Other steps keep their position.

    Returns:
        Broadcastable to (…, D), of the type of ``values``.
    """
    positions = sinusoidal_positions(indices, values.shape[-1], values.dtype)
    if not zero_steps_unplaced:
        return positions
    return torch.where(values[..., :1] == 0, 0, positions)
