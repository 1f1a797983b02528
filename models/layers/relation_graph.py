"""Graphs of samples whose embeddings are alike.

``B`` nodes that ask for neighbours, ``M`` candidates, ``D`` width of the embeddings that edges are
made from, ``F`` width of the features that are averaged over neighbours.

Self-loops are never in the results here: whoever averages counts the node itself exactly once.
Nothing of a graph carries gradient, and cosines are always computed in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class EdgeRule(NamedTuple):
    """Which pairs are joined, and how strongly.

    Attributes:
        threshold: τ: pairs with cos > τ are joined (strictly), where ``neighbours`` is 0.
        neighbours: k: each node is joined to the k candidates with the greatest cosine instead.
        values: ``binary`` gives every edge the weight 1, ``cosine`` max(cos, 0).
    """

    threshold: float = 0.9
    neighbours: int = 0
    values: Literal["binary", "cosine"] = "binary"


class NeighbourSums(NamedTuple):
    """What B nodes get from their neighbours.

    Attributes:
        total: (B, F) Σ_j a_ij x_j.
        weight: (B,) Σ_j a_ij.
        degree: (B,) number of neighbours.
    """

    total: Tensor
    weight: Tensor
    degree: Tensor

    def mean_with_self(self, nodes: Tensor) -> Tensor:
        """Return D⁻¹ÃX (B, F): the mean over neighbours and the node itself, which weighs 1."""
        return (self.total + nodes) / (self.weight + 1)[:, None]


def unit_embeddings(embeddings: Tensor) -> Tensor:
    """Return (B, D) rows of norm 1 in float32 or wider, without gradient; zero rows stay zero."""
    values = embeddings.detach()
    values = values if values.dtype == torch.float64 else values.float()
    return torch.nn.functional.normalize(values, dim=-1)


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Return (B, M) cosines of unit rows, in [−1, 1] whatever the rounding."""
    with torch.autocast(left.device.type, enabled=False):
        return (left @ right.T).clamp(-1, 1)


def allowed_pairs(left: Tensor, right: Tensor, families: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return (B, M) bool: pairs that may be joined.

    Args:
        left: (B, D) unit rows; a zero row, which is a missing embedding, joins nothing.
        right: (M, D) likewise.
        families: (B,) and (M,) int64: pairs of the same family are not joined.
    """
    allowed = left.any(-1)[:, None] & right.any(-1)[None, :]
    if families is not None:
        allowed = allowed & (families[0][:, None] != families[1][None, :])
    return allowed


def edge_weights(cosine: Tensor, joined: Tensor, rule: EdgeRule) -> Tensor:
    """Return a (B, M): 0 where not joined, else what ``rule.values`` says."""
    if rule.values == "binary":
        return joined.to(cosine.dtype)
    return cosine.clamp(min=0) * joined


def batch_graph(
    embeddings: Tensor, rule: EdgeRule, families: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the graph of a batch: weights (B, B) and edges (B, B) bool; see `joined_pairs`."""
    cosine, joined = joined_pairs(embeddings, rule, families)
    return edge_weights(cosine, joined, rule), joined


def joined_pairs(
    embeddings: Tensor, rule: EdgeRule, families: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return how alike the samples of a batch are, and which are joined.

    Args:
        embeddings: (B, D), of any norm.
        rule: Which pairs are joined. The k nearest are made symmetric by union.
        families: (B,) int64: samples of one family are not joined.

    Returns:
        Cosines (B, B) and edges (B, B) bool, both symmetric; no sample is joined to itself.
    """
    unit = unit_embeddings(embeddings)
    cosine = cosines(unit, unit)
    # Symmetric to the last bit, so that no edge can point one way only.
    cosine = torch.triu(cosine) + torch.triu(cosine, diagonal=1).T
    allowed = allowed_pairs(unit, unit, None if families is None else (families, families))
    allowed = allowed & ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    if rule.neighbours:
        found, where = nearest(cosine.masked_fill(~allowed, -torch.inf), rule.neighbours)
        joined = torch.zeros_like(allowed).scatter(1, where, found > -torch.inf)
        joined = joined | joined.T
    else:
        joined = allowed & (cosine > rule.threshold)
    return cosine, joined


@torch.no_grad()
def strongest(cosine: Tensor, joined: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the neighbours of each sample with the greatest cosine, the greatest first.

    Args:
        cosine: (B, B), as `joined_pairs` returns them.
        joined: (B, B) bool likewise.
        count: How many at most.

    Returns:
        Positions (B, k) int64, -1 where there is none, and their cosines (B, k), 0 there; k is
        ``count``, or B where that is less.
    """
    found, where = nearest(cosine.masked_fill(~joined, -torch.inf), count)
    missing = found == -torch.inf
    return where.masked_fill(missing, -1), found.masked_fill(missing, 0)


def nearest(cosine: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return the greatest of each row and their columns, both (B, min(k, M))."""
    found, where = cosine.topk(min(neighbours, cosine.shape[1]), dim=1)
    return found, where


def blocks(num: int, size: int) -> Iterator[slice]:
    """Yield slices that cover ``num`` entries, ``size`` at a time."""
    for start in range(0, num, size):
        yield slice(start, min(start + size, num))


def neighbour_sums(
    embeddings: Tensor,
    candidates: Tensor,
    features: Tensor,
    rule: EdgeRule,
    families: tuple[Tensor, Tensor] | None = None,
    chunk: int = 1024,
) -> NeighbourSums:
    """Sum the features of each node's neighbours among M candidates, a chunk of them at a time.

    Memory grows with B·(chunk + k) and with what is given, never with B·M.

    Args:
        embeddings: (B, D) of the nodes, of any norm.
        candidates: (M, D) embeddings of the candidates.
        features: (M, F) features of the candidates; a zero row, which is a missing feature, is no
            neighbour of anything.
        rule: Which pairs are joined; the k nearest stay directed here.
        families: (B,) and (M,) int64: pairs of the same family are not joined.
        chunk: Candidates looked at together.
    """
    unit = unit_embeddings(embeddings)
    if rule.neighbours:
        return _nearest_sums(unit, candidates, features, rule, families, chunk)
    total = features.new_zeros(len(unit), features.shape[1])
    weight = features.new_zeros(len(unit))
    degree = features.new_zeros(len(unit))
    for part in blocks(len(candidates), chunk):
        cosine, allowed = _part(unit, candidates, features, families, part)
        joined = allowed & (cosine > rule.threshold)
        values = edge_weights(cosine, joined, rule).to(features.dtype)
        total = total + values @ features[part]
        weight = weight + values.sum(1)
        degree = degree + joined.sum(1)
    return NeighbourSums(total, weight, degree)


def _part(
    unit: Tensor,
    candidates: Tensor,
    features: Tensor,
    families: tuple[Tensor, Tensor] | None,
    part: slice,
) -> tuple[Tensor, Tensor]:
    """Return cosines and allowed pairs of all nodes with one chunk of candidates."""
    others = unit_embeddings(candidates[part])
    pair = None if families is None else (families[0], families[1][part])
    allowed = allowed_pairs(unit, others, pair) & features[part].any(-1)[None, :]
    return cosines(unit, others), allowed


def _nearest_sums(
    unit: Tensor,
    candidates: Tensor,
    features: Tensor,
    rule: EdgeRule,
    families: tuple[Tensor, Tensor] | None,
    chunk: int,
) -> NeighbourSums:
    """Keep the k nearest found so far of each node while the chunks go by."""
    best = unit.new_full((len(unit), 0), -torch.inf)
    where = torch.zeros((len(unit), 0), dtype=torch.int64, device=unit.device)
    for part in blocks(len(candidates), chunk):
        cosine, allowed = _part(unit, candidates, features, families, part)
        found, columns = nearest(cosine.masked_fill(~allowed, -torch.inf), rule.neighbours)
        best = torch.cat([best, found], dim=1)
        where = torch.cat([where, columns + part.start], dim=1)
        best, order = nearest(best, rule.neighbours)
        where = where.gather(1, order)
    joined = best > -torch.inf
    values = edge_weights(best.masked_fill(~joined, 0), joined, rule).to(features.dtype)
    # One rank of neighbour at a time: (B, F), never (B, k, F).
    total = features.new_zeros(len(unit), features.shape[1])
    for rank in range(values.shape[1]):
        total = total + values[:, rank, None] * features[where[:, rank]]
    return NeighbourSums(total, values.sum(1), joined.sum(1).to(features.dtype))
