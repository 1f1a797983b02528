"""CMRL: graphs of samples, joined where one modality is alike, with features of either.

```
graph  nodes X    edges A from
ii     image      image similarity
tt     text       text similarity
it     image      text similarity       Z = unit_rows( [X ; D⁻¹ÃX] W + b ) per graph, W its own
ti     text       image similarity
```

``B`` samples, ``M`` candidates of a bank, ``D`` width of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..batch import FusionBatch
from ..layers.relation_graph import (
    EdgeRule,
    NeighbourSums,
    edge_weights,
    joined_pairs,
    neighbour_sums,
    strongest,
)
from ..layers.sage import SageLayer, edge_index, geometric_means
from .config import CmrlConfig

ROLE_OF = {"i": "e_img", "t": "e_txt"}
MAX_SHOWN = 5
"""Neighbours of a sample that are named for reports."""


class Related(NamedTuple):
    """What the graphs make of a batch.

    Attributes:
        features: [Z_ii ; Z_tt ; Z_it ; Z_ti] (B, 4D).
        notes: Diagnostics.
        neighbours, similarities: By graph, see `FusionOutput`; empty while training and where
            neighbours are not those of the batch.
    """

    features: Tensor
    notes: dict[str, Tensor]
    neighbours: dict[str, Tensor]
    similarities: dict[str, Tensor]


class Candidates(NamedTuple):
    """Samples that a node may take as neighbours beside itself.

    Attributes:
        embeddings: By modality letter ``i`` and ``t``, (M, D).
        families: (M,) int64 where the nodes' families are comparable with them, else None.
    """

    embeddings: Mapping[str, Tensor]
    families: Tensor | None

    def to(self, device: torch.device) -> Candidates:
        """Return the same on another device."""
        families = None if self.families is None else self.families.to(device)
        return Candidates({k: v.to(device) for k, v in self.embeddings.items()}, families)


def embeddings_of(batch: FusionBatch) -> dict[str, Tensor]:
    """Return (B, D) by modality letter; zero rows where a sample lacks the modality."""
    found = {}
    for letter, role in ROLE_OF.items():
        feature = batch.features[role]
        found[letter] = feature.values * feature.present[:, None]
    return found


def no_candidates(embeddings: Mapping[str, Tensor]) -> Candidates:
    """Return the empty set: every node has only its self-loop."""
    return Candidates({key: values[:0] for key, values in embeddings.items()}, None)


def candidates_from(batches: Iterable[FusionBatch], *, same_split: bool) -> Candidates:
    """Collect the embeddings of many batches.

    Args:
        batches: Only the roles ``e_img`` and ``e_txt`` are read.
        same_split: Whether the nodes are among these samples, so that families are comparable
            and keep a node from being its own neighbour.
    """
    parts: dict[str, list[Tensor]] = {key: [] for key in ROLE_OF}
    families = []
    for batch in batches:
        for key, values in embeddings_of(batch).items():
            parts[key].append(values)
        families.append(batch.families)
    embeddings = {key: torch.cat(values) for key, values in parts.items()}
    return Candidates(embeddings, torch.cat(families) if same_split else None)


class CrossModalRelations(nn.Module):
    """The graphs of a batch and one layer for each.

    Args:
        config: See `CmrlConfig`.
        widths: D by modality letter.
    """

    def __init__(self, config: CmrlConfig, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict(
            {key: SageLayer(widths[key[0]], config.dim or widths[key[0]]) for key in config.graphs}
        )
        self.out = sum(config.dim or widths[key[0]] for key in config.graphs)

    def rule(self, key: str) -> EdgeRule:
        """Return what joins two samples in a graph."""
        neighbours = self.config.k if self.config.edges == "topk" else 0
        return EdgeRule(getattr(self.config.thresholds, key), neighbours, self.config.edge_values)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        families: Tensor | None = None,
        candidates: Candidates | None = None,
    ) -> Related:
        """Return features, diagnostics and, in evaluation, who the neighbours are.

        Args:
            embeddings: (B, D) by modality letter; a zero row is a missing embedding.
            families: (B,) int64, or None where no pair is to be kept apart.
            candidates: Where neighbours come from; None: the batch itself.
        """
        if not self.config.graphs:
            nothing = next(iter(embeddings.values())).new_zeros(len(embeddings["i"]), 0)
            return Related(nothing, {}, {}, {})
        outputs: list[Tensor] = []
        notes: dict[str, Tensor] = {}
        edges: dict[str, Tensor] = {}
        shown: dict[str, tuple[Tensor, Tensor]] = {}
        # Embeddings differ by little where it matters: whether a cosine passes the threshold.
        with torch.autocast(embeddings["i"].device.type, enabled=False):
            embeddings = {key: values.to(self.dtype) for key, values in embeddings.items()}
            for key in self.config.graphs:
                if candidates is None:
                    output, cosine, edges[key] = self._from_batch(key, embeddings, families)
                    if not self.training:
                        shown[key] = strongest(cosine, edges[key], MAX_SHOWN)
                    notes |= graph_diagnostics(key, edges[key].sum(1), len(edges[key]) - 1)
                else:
                    output, count = self._from_candidates(key, embeddings, families, candidates)
                    size = len(next(iter(candidates.embeddings.values())))
                    notes |= graph_diagnostics(key, count, size)
                outputs.append(output)
        if "ii" in edges and "tt" in edges:
            notes["graph/jaccard"] = overlap(edges["ii"], edges["tt"])
        neighbours = {key: found for key, (found, _) in shown.items()}
        similarities = {key: found for key, (_, found) in shown.items()}
        return Related(torch.cat(outputs, dim=1), notes, neighbours, similarities)

    @property
    def dtype(self) -> torch.dtype:
        """The layers' own precision."""
        return next(self.parameters()).dtype

    def _from_batch(
        self, key: str, embeddings: Mapping[str, Tensor], families: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return Z (B, D), cosines (B, B) and edges (B, B) bool of one graph."""
        nodes, layer, rule = embeddings[key[0]], self.layers[key], self.rule(key)
        cosine, edges = joined_pairs(embeddings[key[1]], rule, families)
        weights = edge_weights(cosine, edges, rule)
        # A sample without the nodes' modality has nothing to give to its neighbours.
        has_feature = nodes.detach().any(-1)
        weights, edges = weights.to(nodes.dtype) * has_feature, edges & has_feature
        if self.config.layer == "geometric":
            means = geometric_means(nodes, edge_index(edges))
        else:
            sums = NeighbourSums(weights @ nodes, weights.sum(1), edges.sum(1))
            means = sums.mean_with_self(nodes)
        return layer(nodes, means), cosine, edges

    def _from_candidates(
        self,
        key: str,
        embeddings: Mapping[str, Tensor],
        families: Tensor | None,
        candidates: Candidates,
    ) -> tuple[Tensor, Tensor]:
        nodes, layer = embeddings[key[0]], self.layers[key]
        pair = None
        if candidates.families is not None and families is not None:
            pair = (families, candidates.families)
        sums = neighbour_sums(
            embeddings[key[1]],
            candidates.embeddings[key[1]].to(nodes.dtype),
            candidates.embeddings[key[0]].to(nodes.dtype),
            self.rule(key),
            pair,
            self.config.chunk,
        )
        return layer(nodes, sums.mean_with_self(nodes)), sums.degree


@torch.no_grad()
def graph_diagnostics(key: str, degrees: Tensor, others: int) -> dict[str, Tensor]:
    """Return density, mean degree and the share of isolated nodes, self-loops not counted.

    Args:
        key: Which graph.
        degrees: (B,) neighbours of each node.
        others: How many neighbours a node could have.
    """
    degrees = degrees.float()
    return {
        f"graph/{key}/density": degrees.mean() / max(others, 1),
        f"graph/{key}/mean_degree": degrees.mean(),
        f"graph/{key}/isolated": (degrees == 0).float().mean(),
    }


@torch.no_grad()
def overlap(left: Tensor, right: Tensor) -> Tensor:
    """Return the Jaccard overlap of two sets of edges (B, B) bool; 0 where both are empty."""
    union = (left | right).sum()
    return (left & right).sum() / union.clamp(min=1)


class RelationBank(nn.Module):
    """A fixed set of training embeddings, one per family, saved with the model.

    It takes in what training shows until it is full and never changes after that.

    Args:
        size: Embeddings it holds at most.
        widths: D by modality letter.
    """

    image: Tensor
    text: Tensor
    families: Tensor
    count: Tensor

    def __init__(self, size: int, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.register_buffer("image", torch.zeros(size, widths["i"]))
        self.register_buffer("text", torch.zeros(size, widths["t"]))
        self.register_buffer("families", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """Return how many embeddings it holds now."""
        return int(self.count)

    @torch.no_grad()
    def absorb(self, embeddings: Mapping[str, Tensor], families: Tensor) -> None:
        """Take in the first sample of each family that it does not have, while there is room.

        Raises:
            ValueError: The batch does not say which family its samples are of.
        """
        start, size = len(self), len(self.families)
        if start == size:
            return
        if len(families) != len(embeddings["i"]):
            raise ValueError("cmrl.scope=bank needs batches with families, one number per sample")
        known = set(self.families[:start].tolist())
        rows: list[int] = []
        for row, family in enumerate(families.tolist()):
            if family not in known and start + len(rows) < size:
                known.add(family)
                rows.append(row)
        end = start + len(rows)
        self.image[start:end] = embeddings["i"][rows].to(self.image.dtype)
        self.text[start:end] = embeddings["t"][rows].to(self.text.dtype)
        self.families[start:end] = families[rows]
        self.count.fill_(end)

    def candidates(self, *, with_families: bool) -> Candidates:
        """Return what it holds; families only compare with those of training samples."""
        held = slice(len(self))
        families = self.families[held] if with_families else None
        return Candidates({"i": self.image[held], "t": self.text[held]}, families)
