"""Temporal convolution without padding, over sequences of different lengths.

A sequence of L steps has L − kernel + 1 windows. One that is shorter than the kernel is continued
with zeros to a single window; one of length 0 has none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def num_windows(lengths: Tensor, kernel: int) -> Tensor:
    """Return how many windows sequences of these lengths have, (B,) int64."""
    return torch.where(lengths > 0, (lengths - kernel + 1).clamp(min=1), 0)


def convolve_padded(values: Tensor, convolution: nn.Conv1d | None) -> Tensor:
    """Return all windows of (B, L, D), those over padding too; at least one.

    Args:
        values: (B, L, D), zeros at padding.
        convolution: With D input channels; None leaves the values as they are.

    Returns:
        (B, max(L − kernel, 0) + 1, output channels); (B, max(L, 1), D) without a convolution.
    """
    kernel = convolution.kernel_size[0] if convolution is not None else 1
    values = functional.pad(values, (0, 0, 0, max(kernel - values.shape[1], 0)))
    if convolution is None:
        return values
    return convolution(values.transpose(1, 2)).transpose(1, 2)


def convolve_packed(
    values: Tensor, lengths: list[int], convolution: nn.Conv1d | None
) -> tuple[Tensor, list[int]]:
    """Return the windows of each sequence, one sequence behind the other, and their numbers.

    Args:
        values: (N, D), sequence after sequence.
        lengths: Of the B sequences; their sum is N.
        convolution: With D input channels; None leaves the values as they are.

    Returns:
        (windows of all, output channels), and the number of windows of each sequence.
    """
    if convolution is None:
        return values, lengths
    kernel = convolution.kernel_size[0]
    if kernel == 1:
        return functional.linear(values, convolution.weight[..., 0]), lengths
    if any(0 < length < kernel for length in lengths):
        values, lengths = _continued(values, lengths, kernel)
    kept = [max(length - kernel + 1, 0) for length in lengths]
    if not any(kept):
        return values.new_zeros(0, convolution.out_channels), kept
    # One convolution over all; windows that reach into the next sequence are dropped.
    windows = convolution(values.t()[None])[0].t()
    return windows.index_select(0, _first_steps(lengths, kept, values.device)), kept


def _continued(values: Tensor, lengths: list[int], kernel: int) -> tuple[Tensor, list[int]]:
    """Continue sequences that are shorter than the kernel, but not empty, with zeros."""
    longer = [max(length, kernel) if length else 0 for length in lengths]
    result = values.new_zeros(sum(longer), values.shape[1])
    return result.index_copy(0, _first_steps(longer, lengths, values.device), values), longer


def _first_steps(lengths: list[int], kept: list[int], device: torch.device) -> Tensor:
    """Return where the first ``kept`` steps of each sequence stand among all steps."""
    counts, firsts = torch.tensor(lengths), torch.tensor(kept)
    starts = counts.cumsum(0) - counts
    within = torch.arange(int(firsts.sum())) - (firsts.cumsum(0) - firsts).repeat_interleave(firsts)
    return (starts.repeat_interleave(firsts) + within).to(device)
