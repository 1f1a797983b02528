"""The graph layer against its formula and against PyTorch Geometric."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from affectflow.models.layers.relation_graph import EdgeRule, NeighbourSums, batch_graph
from affectflow.models.layers.sage import SageLayer, edge_index, geometric_means, unit_rows


def graph(rows: int = 9, width: int = 5) -> tuple[Tensor, Tensor]:
    nodes = torch.randn(rows, width, generator=torch.Generator().manual_seed(3))
    return nodes, batch_graph(nodes, EdgeRule(0.3))[1]


def means_of(nodes: Tensor, edges: Tensor) -> Tensor:
    weights = edges.to(nodes.dtype)
    return NeighbourSums(weights @ nodes, weights.sum(1), edges.sum(1)).mean_with_self(nodes)


def test_layer_is_its_formula() -> None:
    torch.manual_seed(0)
    layer = SageLayer(5, 4)
    nodes, edges = graph()
    out = layer(nodes, means_of(nodes, edges))
    joined = torch.cat([layer.lin_r.weight.T, layer.lin_l.weight.T])
    for row in range(9):
        around = [j for j in range(9) if edges[row, j] or j == row]
        mean = torch.stack([nodes[j] for j in around]).mean(0)
        expected = torch.cat([nodes[row], mean]) @ joined + layer.lin_l.bias
        torch.testing.assert_close(out[row], expected / expected.norm())
    torch.testing.assert_close(out.norm(dim=1), torch.ones(9))
    assert sum(p.numel() for p in layer.parameters()) == 2 * 5 * 4 + 4


def test_an_isolated_node_is_its_self_loop() -> None:
    layer = SageLayer(5, 4)
    nodes, _ = graph()
    alone = means_of(nodes, torch.zeros(9, 9, dtype=torch.bool))
    torch.testing.assert_close(alone, nodes)
    torch.testing.assert_close(layer(nodes, alone)[2], layer(nodes[2:3], nodes[2:3])[0])


def test_geometric_gives_the_same() -> None:
    pytest.importorskip("torch_geometric", exc_type=ImportError)
    torch.manual_seed(0)
    layer = SageLayer(5, 4)
    nodes, edges = graph()
    torch.testing.assert_close(geometric_means(nodes, edge_index(edges)), means_of(nodes, edges))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import SAGEConv
    theirs = SAGEConv(5, 4, aggr="mean", normalize=True)
    theirs.load_state_dict(layer.state_dict())
    ours = layer(nodes, means_of(nodes, edges))
    torch.testing.assert_close(ours, theirs(nodes, edge_index(edges)))


def test_edge_list_has_every_loop_once() -> None:
    joined = torch.tensor([[True, True], [False, False]])
    pairs = {tuple(pair) for pair in edge_index(joined).T.tolist()}
    assert pairs == {(0, 0), (1, 0), (1, 1)}
    assert edge_index(joined).shape == (2, 3)


def test_rows_of_zeros_keep_finite_gradients() -> None:
    values = torch.zeros(2, 3)
    values[1] = torch.tensor([3.0, 0.0, 4.0])
    values.requires_grad_(True)
    out = unit_rows(values)
    assert out.tolist() == [[0.0, 0.0, 0.0], [pytest.approx(0.6), 0.0, pytest.approx(0.8)]]
    out.sum().backward()
    assert values.grad.isfinite().all()
    assert values.grad[0].abs().max() <= 1


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    layer = SageLayer(5, 4).double()
    nodes, edges = graph()
    nodes = nodes.double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: layer(x, means_of(x, edges)), nodes)
