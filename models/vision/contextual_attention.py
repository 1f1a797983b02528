"""Contextual attention: patches of the hole are rebuilt from patches of the background.

J. Yu et al., "Generative Image Inpainting with Contextual Attention", 2018. Published
implementations differ in half a dozen rules; each is a switch of `AttentionRules`. All of them
apply here to every sample by its own mask.

``B`` batch, ``C`` channels, ``h, w`` size of the feature map, ``H = h/2``, ``W = w/2``, ``L = H*W``
positions of the half-resolution grid. A patch is a background position, a query a position that is
rebuilt. Positions are numbered row by row, and column by column inside the second fusion; ``Q`` are
the queries computed at a time, so that no more than ``(B, Q, L)`` scores exist at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

IndexRule = Literal["floor", "align_corners"]
MaskRule = Literal["any_pixel", "image_floor", "image_align_corners", "two_step_align_corners"]

# Side of a mask pixel's cell: one position of the half-resolution grid is 8 x 8 image pixels.
STRIDE = 8


@dataclass(frozen=True, slots=True)
class AttentionRules:
    """Where implementations differ; the defaults are what we hold to be right.

    Attributes:
        index: Which rows and columns of the features the half-resolution grid takes.
        mask_index: Which mask pixels decide that a position is a hole. ``any_pixel`` looks at all
            64 of them; the others at one, so that thin strokes can be missed.
        norm: Norm of a patch: ``clamp`` is ``max(|w|, 1e-4)``, ``inside`` is
            ``sqrt(sum(w^2 + 1e-4))``.
        mask_mode: ``exclude`` leaves hole patches out of the softmax; ``multiply`` sets their score
            to 0 and removes them afterwards, so that weights sum to less than 1.
        overlap: Pasted patches overlap: divide by their true ``count`` or by 4 (``quarter``), which
            darkens the rim.
        fuse: Add the scores of diagonal neighbours, along rows and along columns.
        scale: Factor of the softmax.
    """

    index: IndexRule = "floor"
    mask_index: MaskRule = "any_pixel"
    norm: Literal["clamp", "inside"] = "clamp"
    mask_mode: Literal["exclude", "multiply"] = "exclude"
    overlap: Literal["count", "quarter"] = "count"
    fuse: bool = True
    scale: float = 10.0


class ContextualAttention(nn.Module):
    """Rebuilds a feature map from its own background patches.

    Args:
        rules: Which implementation to follow.
        chunk_bytes: Size of one block of scores; bounds memory, changes no value.
        max_positions: ``L`` above which the input is refused before anything is allocated.
    """

    def __init__(
        self,
        rules: AttentionRules | None = None,
        chunk_bytes: int = 64 * 2**20,
        max_positions: int = 65_536,
    ) -> None:
        super().__init__()
        self.rules = rules or AttentionRules()
        self.chunk_bytes = chunk_bytes
        self.max_positions = max_positions

    def forward(
        self, features: Tensor, mask: Tensor | None = None, background: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the rebuilt features and which samples had no background patch at all.

        Args:
            features: ``(B, C, h, w)`` float, ``h`` and ``w`` even.
            mask: ``(B, 1, 4h, 4w)``, non-zero in holes; None for no hole.
            background: Where patches come from, as ``features``; None for ``features``.

        Returns:
            ``(B, C, h, w)``, zero for a sample without background patches, and ``(B,)`` bool.

        Raises:
            ValueError: A size does not fit, or ``L`` passes ``max_positions``.
        """
        source = features if background is None else background
        self._check(features, source, mask)
        height, width = features.shape[-2:]
        match = _Matching(features, source, self.blocked(features, mask), self.rules)
        pasted = functional.unfold(source, 4, stride=2, padding=1)
        # (B, L, 16C), columns first like the weights below.
        pasted = pasted.transpose(1, 2)[:, match.by_column]
        parts = [match.attend(first, last) @ pasted for first, last in self._chunks(match)]
        rebuilt = torch.cat(parts, dim=1)[:, match.by_row].transpose(1, 2)
        summed = functional.fold(rebuilt, (height, width), 4, stride=2, padding=1)
        return summed / self._overlaps(features), match.all_blocked

    def blocked(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``(B, L)`` bool: patches whose 3 x 3 neighbourhood touches a hole."""
        batch, _, height, width = features.shape
        rows, columns = height // 2, width // 2
        if mask is None:
            return features.new_zeros((batch, rows * columns), dtype=torch.bool)
        holes = (mask != 0).to(features.dtype)
        if self.rules.mask_index == "any_pixel":
            small = functional.max_pool2d(holes, STRIDE)
        else:
            across = mask_positions(self.rules.mask_index, rows).to(mask.device)
            along = mask_positions(self.rules.mask_index, columns).to(mask.device)
            small = holes[:, :, across][:, :, :, along]
        return functional.max_pool2d(small, 3, stride=1, padding=1).flatten(1) > 0

    def probabilities(
        self,
        features: Tensor,
        mask: Tensor | None,
        query: int,
        background: Tensor | None = None,
    ) -> Tensor:
        """Return the softmax of one query over the patches, ``(B, L)``, both numbered by row.

        These are the values before the weights of hole patches are removed.
        """
        source = features if background is None else background
        match = _Matching(features, source, self.blocked(features, mask), self.rules)
        place = int(match.by_row[query])
        return match.softmax(place, place + 1)[:, 0][:, match.by_row]

    def _check(self, features: Tensor, background: Tensor, mask: Tensor | None) -> None:
        batch, _, height, width = features.shape
        if height % 2 or width % 2 or features.shape != background.shape:
            got = f"{tuple(features.shape)} and {tuple(background.shape)}"
            raise ValueError(f"feature maps are {got}, expected equal shapes of even size")
        expected = (batch, 1, 4 * height, 4 * width)
        if mask is not None and tuple(mask.shape) != expected:
            raise ValueError(f"mask is {tuple(mask.shape)}, expected {expected}")
        positions = height * width // 4
        if positions > self.max_positions:
            raise ValueError(
                f"attention over {positions} positions passes the limit of {self.max_positions}: "
                f"{4 * height} x {4 * width} pixels are too large"
            )

    def _chunks(self, match: _Matching) -> Iterator[tuple[int, int]]:
        row_bytes = match.batch * match.positions * match.element_bytes
        # Two more rows than asked for are needed on each side, and more by the first fusion.
        step = max(1, min(match.positions, self.chunk_bytes // max(1, row_bytes)))
        for first in range(0, match.positions, step):
            yield first, min(first + step, match.positions)

    def _overlaps(self, features: Tensor) -> Tensor | float:
        if self.rules.overlap == "quarter":
            return 4.0
        size = features.shape[-2:]
        ones = features.new_ones((1, 16, size[0] * size[1] // 4))
        return functional.fold(ones, tuple(size), 4, stride=2, padding=1)


class _Matching:
    """Scores of queries against patches, for any range of queries.

    Attributes:
        by_column: ``(L,)`` row-wise number of each position in column-wise order.
        by_row: ``(L,)`` its inverse.
        all_blocked: ``(B,)`` bool, samples without a background patch.
    """

    def __init__(
        self, features: Tensor, background: Tensor, blocked: Tensor, rules: AttentionRules
    ) -> None:
        self.rules = rules
        queries, patches = halve(features, rules.index), halve(background, rules.index)
        rows, columns = queries.shape[-2:]
        self.batch, self.positions = queries.shape[0], rows * columns
        self.element_bytes = queries.element_size()
        numbers = torch.arange(self.positions, device=queries.device)
        self.by_column = numbers.view(rows, columns).t().reshape(-1)
        self.by_row = torch.argsort(self.by_column)
        # (B, L + 2, 9C): a query of zeros at either end stands for "no neighbour there".
        self._queries = functional.pad(_patches(queries), (0, 0, 1, 1))
        found = _patches(patches)
        self._filters = (found / _norms(found, rules)).transpose(1, 2)
        self.all_blocked = blocked.all(dim=1)
        self._blocked = blocked[:, None, self.by_column]

    def attend(self, first: int, last: int) -> Tensor:
        """Return the weights of a range of queries, ``(B, Q, L)``, both numbered by column."""
        weights = self.softmax(first, last)
        if self.rules.mask_mode == "exclude":
            return weights * ~self.all_blocked[:, None, None]
        return weights * ~self._blocked

    def softmax(self, first: int, last: int) -> Tensor:
        """Return the softmax of a range of queries, ``(B, Q, L)``, both numbered by column."""
        scores = self.scores(first, last)
        if self.rules.mask_mode == "multiply":
            return (self.rules.scale * (scores * ~self._blocked)).softmax(dim=-1)
        # With nothing left the softmax would be NaN; `attend` sets those samples to zero.
        excluded = self._blocked & ~self.all_blocked[:, None, None]
        return (self.rules.scale * scores.masked_fill(excluded, -torch.inf)).softmax(dim=-1)

    def scores(self, first: int, last: int) -> Tensor:
        """Return the fused scores of a range of queries, ``(B, Q, L)``, numbered by column."""
        if not self.rules.fuse:
            queries = self._queries[:, self.by_column[first:last] + 1]
            return (queries @ self._filters)[:, :, self.by_column]
        low, high = max(first - 1, 0), min(last + 1, self.positions)
        once = self._fused_by_row(self.by_column[low:high])[:, :, self.by_column]
        twice = once[:, first - low : last - low].clone()
        with_before = int(first == 0)
        twice[:, with_before:, 1:] += once[:, : last - 1 - low, :-1]
        after = once[:, first + 1 - low : last + 1 - low, 1:]
        twice[:, : after.shape[1], :-1] += after
        return twice

    def _fused_by_row(self, numbers: Tensor) -> Tensor:
        """Return the scores of queries with those of their neighbours in the row added."""
        wanted = torch.stack((numbers, numbers + 1, numbers + 2))
        rows, places = torch.unique(wanted, return_inverse=True)
        scores = self._queries[:, rows] @ self._filters
        before, here, after = places
        fused = scores[:, here]
        fused[:, :, 1:] += scores[:, before][:, :, :-1]
        fused[:, :, :-1] += scores[:, after][:, :, 1:]
        return fused


def halve(features: Tensor, rule: IndexRule) -> Tensor:
    """Return every second row and column of ``(B, C, h, w)`` by the given rule."""
    if rule == "floor":
        return features[:, :, ::2, ::2]
    height, width = features.shape[-2:]
    rows = _align_corners(height, height // 2).to(features.device)
    columns = _align_corners(width, width // 2).to(features.device)
    return features[:, :, rows][:, :, :, columns]


def mask_positions(rule: MaskRule, count: int) -> Tensor:
    """Return which of ``8 * count`` mask rows the ``count`` rows of the grid look at, ``(H,)``."""
    size = STRIDE * count
    if rule == "image_floor":
        return torch.arange(0, size, STRIDE)
    if rule == "image_align_corners":
        return _align_corners(size, count)
    if rule == "two_step_align_corners":
        return _align_corners(size, 2 * count)[_align_corners(2 * count, count)]
    raise ValueError(f"mask rule '{rule}' looks at more than one pixel")


def _align_corners(size: int, count: int) -> Tensor:
    """Return TensorFlow's positions when shrinking to ``count`` with corners aligned.

    In float32 on the CPU as the original: a tie can fall one lower than by exact arithmetic.
    """
    places = torch.linspace(0, size - 1, count, dtype=torch.float32)
    return (places + 0.5).floor().long()


def _patches(features: Tensor) -> Tensor:
    """Return the 3 x 3 neighbourhoods, zero outside, ``(B, L, 9C)``."""
    return functional.unfold(features, 3, padding=1).transpose(1, 2)


def _norms(patches: Tensor, rules: AttentionRules) -> Tensor:
    squares = patches.square().sum(dim=2, keepdim=True)
    if rules.norm == "inside":
        return (squares + patches.shape[2] * 1e-4).sqrt()
    # Clamped inside the root: the gradient of a root at zero is infinite.
    return squares.clamp(min=1e-8).sqrt()
