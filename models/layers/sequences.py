"""Sequences of a batch laid out in memory, and attention between them.

Two layouts of the same B sequences of D numbers per step:

* ``PaddedSteps``: (B, L, D), the reference: one dense attention over all B samples.
* ``PackedSteps``: (N, D), sample after sample: no step of padding is computed. Attention runs in
  blocks of samples of similar length, which alone are padded to the longest of the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_OVERHEAD = 1500
"""Scores (query-key pairs) whose computation takes as long as one more attention call, measured on
a CPU; decides where a block of samples ends."""


class Attention(Protocol):
    """Multi-head attention between two sequences whose layout it knows."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, heads: int, drop: float
    ) -> Tensor:
        """Return the context, laid out as ``query``: heads side by side in the last axis.

        A query that sees no key at all, for example of a missing modality, gets zeros.
        """


@dataclass(frozen=True, slots=True)
class PaddedSteps:
    """B sequences as (B, L, D).

    Attributes:
        lengths: (B,) int64: steps that count; the others are padding.
        seen: (B,) int64: steps that attention sees: ``lengths``, or L where it sees padding too.
        longest: L.
    """

    lengths: Tensor
    seen: Tensor
    longest: int

    @property
    def indices(self) -> Tensor:
        """(L,) int64: time index of each step."""
        return torch.arange(self.longest, device=self.lengths.device)

    def last(self, values: Tensor) -> Tensor:
        """Return the last step that counts of each sample, (B, D); zeros where there is none."""
        if not self.longest:
            return values.new_zeros(len(self.lengths), values.shape[-1])
        where = (self.lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, values.shape[-1])
        chosen = values.gather(1, where)[:, 0]
        return torch.where(self.lengths[:, None] > 0, chosen, 0)


@dataclass(frozen=True, slots=True)
class PackedSteps:
    """B sequences as (N, D), one behind the other.

    Attributes:
        lengths: Of each of the B samples; N is their sum.
        blocks: The B samples cut into blocks for attention, see `blocks_of_similar_length`.
        pad: (P,) int64: the step that stands at each place of all blocks when each is padded to
            its longest sample; at padding any step stands.
        unpad: (N,) int64: place of each step there.
    """

    lengths: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]
    pad: Tensor
    unpad: Tensor

    @classmethod
    def plan(
        cls,
        lengths: Sequence[int],
        blocks: tuple[tuple[int, ...], ...],
        device: torch.device,
    ) -> PackedSteps:
        """Return the layout of sequences of these lengths."""
        counts = torch.tensor(lengths, dtype=torch.int64)
        starts = counts.cumsum(0) - counts
        pad, unpad = [], torch.empty(int(counts.sum()), dtype=torch.int64)
        place = 0
        for block in blocks:
            longest = max(lengths[row] for row in block)
            for row in block:
                start, length = int(starts[row]), lengths[row]
                steps = torch.arange(longest)
                pad.append(torch.where(steps < length, start + steps, 0))
                unpad[start : start + length] = place + steps[:length]
                place += longest
        where = torch.cat(pad) if pad else counts[:0]
        return cls(tuple(lengths), blocks, where.to(device), unpad.to(device))

    @property
    def indices(self) -> Tensor:
        """(N,) int64: time index of each step in its own sample."""
        steps = [torch.arange(length) for length in self.lengths]
        joined = torch.cat(steps) if steps else torch.zeros(0, dtype=torch.int64)
        return joined.to(self.pad.device)

    def last(self, values: Tensor) -> Tensor:
        """Return the last step of each sample, (B, D); zeros where there is none."""
        counts = torch.tensor(self.lengths, dtype=torch.int64)
        present = counts > 0
        where = (counts.cumsum(0) - 1)[present].to(values.device)
        result = values.new_zeros(len(counts), values.shape[-1])
        return result.index_copy(0, present.nonzero()[:, 0].to(values.device), values[where])


Steps = PaddedSteps | PackedSteps


def visible_keys(query: Tensor, key: Tensor, shape: tuple[int, int], future: bool) -> Tensor:
    """Return which keys each query sees: those of its sample, and not too far in its future.

    With ``future`` query i sees keys j ≤ i + |L_k − L_q|, as in MulT.

    Args:
        query: (B,) int64: L_q.
        key: (B,) int64: L_k.
        shape: (Q, K) of the padded block, at least as long.
        future: Whether the future is hidden.

    Returns:
        (B, Q, K) bool; queries that are padding see as if they were steps.
    """
    keys = torch.arange(shape[1], device=key.device)
    limit = key[:, None] - 1
    if future:
        queries = torch.arange(shape[0], device=key.device)
        limit = torch.minimum(limit, queries + (key - query).abs()[:, None])
    return (keys <= limit[..., None]).expand(-1, shape[0], -1)


class PaddedAttention:
    """Attention between two padded layouts: one call, one dense mask; the definition.

    Args:
        query, key: The layouts.
        future: See `visible_keys`.
    """

    def __init__(self, query: PaddedSteps, key: PaddedSteps, *, future: bool) -> None:
        visible = visible_keys(query.seen, key.seen, (query.longest, key.longest), future)
        self.seeing = visible.any(-1)[..., None]
        self.visible = (visible | ~self.seeing)[:, None]

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, heads: int, drop: float
    ) -> Tensor:
        """See `Attention`; all (B, L, D)."""
        if not self.visible.numel():
            return torch.zeros_like(query)
        q, k, v = (_split(part, heads) for part in (query, key, value))
        context = functional.scaled_dot_product_attention(q, k, v, self.visible, drop)
        return torch.where(self.seeing, context.transpose(1, 2).flatten(2), 0)


class BlockAttention:
    """Attention between two packed layouts with the same blocks: one small call per block.

    Args:
        query, key: The layouts.
        future: See `visible_keys`.
        dtype: Of queries and keys.
    """

    def __init__(
        self, query: PackedSteps, key: PackedSteps, *, future: bool, dtype: torch.dtype
    ) -> None:
        self.query, self.key = query, key
        self.masks = [self._mask(block, future, dtype) for block in query.blocks]

    def _mask(self, block: tuple[int, ...], future: bool, dtype: torch.dtype) -> _BlockMask:
        device = self.query.pad.device
        queries = [self.query.lengths[row] for row in block]
        keys = [self.key.lengths[row] for row in block]
        shape = (max(queries), max(keys))
        present = None
        if min(keys) == 0 < min(shape):
            present = torch.tensor([length > 0 for length in keys], device=device)
            present = present[:, None, None, None]
            # Something must be seen for the softmax to be a number; its result is not used.
            keys = [max(length, 1) for length in keys]
        if not min(shape) or (not future and min(keys) == shape[1]):
            return _BlockMask(len(block), shape, None, present)
        lengths = torch.tensor([queries, keys], device=device)
        visible = visible_keys(lengths[0], lengths[1], shape, future)
        logits = torch.zeros(visible.shape, dtype=dtype, device=device)
        logits.masked_fill_(~visible, -torch.inf)
        return _BlockMask(len(block), shape, logits[:, None], present)

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, heads: int, drop: float
    ) -> Tensor:
        """See `Attention`; all (N, D)."""
        if not len(query) or not len(key):
            return torch.zeros_like(query)
        query = query.index_select(0, self.query.pad)
        key, value = (part.index_select(0, self.key.pad) for part in (key, value))
        contexts = []
        at_query = at_key = 0
        for mask in self.masks:
            num_queries, num_keys = (mask.samples * length for length in mask.shape)
            contexts.append(
                mask.attend(
                    query[at_query : at_query + num_queries],
                    key[at_key : at_key + num_keys],
                    value[at_key : at_key + num_keys],
                    heads,
                    drop,
                )
            )
            at_query, at_key = at_query + num_queries, at_key + num_keys
        return torch.cat(contexts).index_select(0, self.query.unpad)


@dataclass(frozen=True, slots=True)
class _BlockMask:
    samples: int
    shape: tuple[int, int]
    logits: Tensor | None
    present: Tensor | None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int, drop: float) -> Tensor:
        if not len(key):
            return torch.zeros_like(query)
        q = _split(query.unflatten(0, (self.samples, self.shape[0])), heads)
        k = _split(key.unflatten(0, (self.samples, self.shape[1])), heads)
        v = _split(value.unflatten(0, (self.samples, self.shape[1])), heads)
        context = functional.scaled_dot_product_attention(q, k, v, self.logits, drop)
        if self.present is not None:
            context = torch.where(self.present, context, 0)
        return context.transpose(1, 2).reshape(query.shape)


def attention_between(query: Steps, key: Steps, *, future: bool, like: Tensor) -> Attention:
    """Return the attention from one sequence into another, or into itself.

    Args:
        query: Layout of the queries.
        key: Layout of keys and values, of the same kind.
        future: See `visible_keys`.
        like: A tensor on the device and, but for autocast, of the type that attention will see.
    """
    if isinstance(query, PaddedSteps) and isinstance(key, PaddedSteps):
        return PaddedAttention(query, key, future=future)
    assert isinstance(query, PackedSteps)
    assert isinstance(key, PackedSteps)
    kind = like.device.type
    cast = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if cast else like.dtype
    return BlockAttention(query, key, future=future, dtype=dtype)


def blocks_of_similar_length(lengths: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Cut samples into blocks such that padding inside a block costs less than one more block.

    Args:
        lengths: Of each modality, of each of the B samples.

    Returns:
        Blocks of rows; every row is in exactly one.
    """
    if not lengths:
        return ()
    totals = [sum(sample) for sample in zip(*lengths, strict=True)]
    order = sorted(range(len(totals)), key=totals.__getitem__)
    blocks: list[list[int]] = []
    for row in order:
        if blocks:
            joined = [*blocks[-1], row]
            apart = _scores(blocks[-1], lengths) + _scores([row], lengths)
            pairs = len(lengths) ** 2
            if _scores(joined, lengths) <= apart + BLOCK_OVERHEAD * pairs:
                blocks[-1] = joined
                continue
        blocks.append([row])
    return tuple(map(tuple, blocks))


def _scores(rows: Sequence[int], lengths: Sequence[Sequence[int]]) -> int:
    """Return how many query-key pairs a block of these rows holds over all pairs of modalities."""
    return len(rows) * sum(max(one[row] for row in rows) for one in lengths) ** 2


def _split(values: Tensor, heads: int) -> Tensor:
    """Return (B, L, D) as (B, heads, L, D / heads)."""
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)
