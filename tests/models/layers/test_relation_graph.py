"""Graphs of samples against loops, in one piece and in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from affectflow.models.layers.relation_graph import (
    EdgeRule,
    batch_graph,
    joined_pairs,
    neighbour_sums,
    strongest,
    unit_embeddings,
)


def embeddings(rows: int, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def cosine(left: Tensor, right: Tensor) -> float:
    norms = float(left.norm()) * float(right.norm())
    return float(left @ right) / norms if norms else -math.inf


def test_threshold_is_strict_and_symmetric() -> None:
    values = embeddings(9)
    weights, edges = batch_graph(values, EdgeRule(0.2))
    assert torch.equal(edges, edges.T)
    assert not edges.diagonal().any()
    for i in range(9):
        for j in range(9):
            expected = i != j and cosine(values[i], values[j]) > 0.2
            assert bool(edges[i, j]) == expected
    assert torch.equal(weights, edges.float())
    exact = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert not batch_graph(exact, EdgeRule(1.0))[1].any()
    assert not batch_graph(exact, EdgeRule(0.0))[1][0, 2]


def test_identical_rows_never_pass_a_threshold_of_one() -> None:
    values = embeddings(1, 512).repeat(40, 1) * torch.linspace(0.1, 9, 40)[:, None]
    assert not batch_graph(values, EdgeRule(1.0))[1].any()


def test_a_zero_row_has_no_edge_even_below_zero() -> None:
    values = embeddings(5)
    values[2] = 0
    edges = batch_graph(values, EdgeRule(-1.0))[1]
    assert not edges[2].any()
    assert not edges[:, 2].any()
    assert int(edges.sum()) == 4 * 3


def test_the_strongest_neighbours_come_first_and_never_the_sample_itself() -> None:
    values = embeddings(9)
    cosines, edges = joined_pairs(values, EdgeRule(0.2))
    where, found = strongest(cosines, edges, 2)
    assert where.dtype == torch.int64
    for i in range(9):
        joined = [j for j in range(9) if j != i and cosine(values[i], values[j]) > 0.2]
        expected = sorted(joined, key=lambda j: -cosine(values[i], values[j]))[:2]
        assert where[i].tolist() == expected + [-1] * (2 - len(expected))
        angles = [cosine(values[i], values[j]) for j in expected]
        assert found[i].tolist() == pytest.approx(angles + [0] * (2 - len(expected)), abs=1e-6)
    assert strongest(cosines[:3, :3], edges[:3, :3], 5)[0].shape == (3, 3)


def test_nearest_are_joined_by_union() -> None:
    values = embeddings(8)
    _, edges = batch_graph(values, EdgeRule(neighbours=2))
    for i in range(8):
        ranked = sorted(
            (j for j in range(8) if j != i), key=lambda j: -cosine(values[i], values[j])
        )
        assert all(edges[i, j] for j in ranked[:2])
        for j in range(8):
            others = sorted(
                (k for k in range(8) if k != j), key=lambda k: -cosine(values[j], values[k])
            )
            assert bool(edges[i, j]) == (i != j and (j in ranked[:2] or i in others[:2]))
    assert batch_graph(values, EdgeRule(neighbours=50))[1].sum() == 8 * 7


def test_cosine_weights_are_never_negative() -> None:
    values = embeddings(9)
    weights, edges = batch_graph(values, EdgeRule(-1.0, values="cosine"))
    assert edges.sum() == 9 * 8
    for i in range(9):
        for j in range(9):
            expected = max(cosine(values[i], values[j]), 0) if i != j else 0
            assert float(weights[i, j]) == pytest.approx(expected, abs=1e-6)


def test_families_are_kept_apart() -> None:
    families = torch.tensor([0, 0, 1, 2, 2])
    edges = batch_graph(embeddings(5), EdgeRule(-1.0), families)[1]
    assert torch.equal(edges, families[:, None] != families[None, :])


@pytest.mark.parametrize("values", ["binary", "cosine"])
@pytest.mark.parametrize("neighbours", [0, 1, 3, 40])
@pytest.mark.parametrize("chunk", [1, 4, 13, 100])
def test_chunks_change_nothing(values: str, neighbours: int, chunk: int) -> None:
    rule = EdgeRule(0.1, neighbours, values)
    queries, candidates, features = embeddings(7, seed=1), embeddings(13), embeddings(13, 3, 2)
    features[4] = 0
    families = (torch.arange(7), torch.arange(13))
    found = neighbour_sums(queries, candidates, features, rule, families, chunk)
    for i in range(7):
        allowed = [j for j in range(13) if j not in (i, 4)]
        score = {j: cosine(queries[i], candidates[j]) for j in allowed}
        ranked = sorted(allowed, key=lambda j: -score[j])[: neighbours or None]
        chosen = ranked if neighbours else [j for j in allowed if score[j] > 0.1]
        weight = {j: 1.0 if values == "binary" else max(score[j], 0.0) for j in chosen}
        total = sum((weight[j] * features[j] for j in chosen), torch.zeros(3))
        torch.testing.assert_close(found.total[i], total, rtol=1e-5, atol=1e-5)
        assert float(found.weight[i]) == pytest.approx(sum(weight.values()), abs=1e-5)
        assert float(found.degree[i]) == len(chosen)


def test_no_candidates_leave_the_node_itself() -> None:
    nodes = embeddings(3)
    for rule in (EdgeRule(0.5), EdgeRule(neighbours=4)):
        sums = neighbour_sums(nodes, nodes[:0], nodes[:0], rule)
        torch.testing.assert_close(sums.mean_with_self(nodes), nodes)
        assert not sums.degree.any()


def test_edges_carry_no_gradient() -> None:
    values = embeddings(4).requires_grad_(True)
    assert not unit_embeddings(values).requires_grad
    assert not batch_graph(values, EdgeRule(0.0, values="cosine"))[0].requires_grad


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the greatest tensor made has."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple) else (result,):
            if isinstance(value, Tensor):
                self.largest = max(self.largest, value.numel())
        return result


@contextmanager
def largest_tensor() -> Iterator[LargestTensor]:
    with LargestTensor() as mode:
        yield mode


@pytest.mark.parametrize("rule", [EdgeRule(0.3), EdgeRule(neighbours=10)], ids=["tau", "k"])
def test_memory_does_not_grow_with_pairs(rule: EdgeRule) -> None:
    found = []
    for rows in (2_000, 8_000):
        values = embeddings(rows, 8)
        with largest_tensor() as mode:
            neighbour_sums(values[:32], values, values, rule, chunk=256)
        found.append(mode.largest)
    assert found[0] == found[1] == 32 * 256
