"""A mean-aggregating GraphSAGE layer, given each node's neighbourhood mean.

``B`` nodes, ``F`` width of their features, ``O`` width of the layer's output.
Hamilton, Ying, Leskovec: Inductive Representation Learning on Large Graphs (2017), with the order
of concatenation and the normalisation that Spektral's ``GraphSageConv`` has.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

SMALLEST_NORM = 1e-6


def unit_rows(values: Tensor) -> Tensor:
    """Divide each row by its Euclidean norm; rows shorter than 1e-6 are left as they are.

    The limit keeps the gradient of an all-zero row finite and of ordinary size.
    """
    norms = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return values / torch.where(norms > SMALLEST_NORM, norms, torch.ones_like(norms))


class SageLayer(nn.Module):
    """Z = unit_rows( [X ; D⁻¹ÃX] W + b ), without activation.

    The two halves of W are kept apart under the names that PyTorch Geometric gives them: ``lin_r``
    is applied to the node itself, ``lin_l``, which holds b, to the mean over its neighbours and
    itself.

    Args:
        width: F.
        out: O.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(width, out)
        self.lin_r = nn.Linear(width, out, bias=False)

    def forward(self, nodes: Tensor, means: Tensor) -> Tensor:
        """Map nodes (B, F) and the means over their neighbourhoods (B, F) to (B, O)."""
        return unit_rows(self.lin_l(means) + self.lin_r(nodes))


def geometric_means(nodes: Tensor, edges: Tensor) -> Tensor:
    """Return D⁻¹ÃX (B, F) from a list of edges, by PyTorch Geometric's convolution.

    Only its pure-PyTorch path is used: no compiled extension is needed.

    Args:
        nodes: (B, F).
        edges: (2, E) int64, source above target, self-loops among them; see `edge_index`.

    Raises:
        ImportError: PyTorch Geometric is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Its import scripts a module, which recent versions of torch warn about.
            warnings.simplefilter("ignore")
            from torch_geometric.nn import SimpleConv
    except ImportError as error:
        raise ImportError(
            "cmrl.layer=geometric needs PyTorch Geometric: pip install torch-geometric, "
            "or choose cmrl.layer=dense, which gives the same result"
        ) from error
    means: Tensor = SimpleConv(aggr="mean")(nodes, edges)
    return means


def edge_index(joined: Tensor) -> Tensor:
    """Return the edges of a dense graph as (2, E) int64, source above target, self-loops added.

    Args:
        joined: (B, B) bool; joined[i, j] says that i takes in j. The diagonal is ignored.
    """
    loops = torch.eye(len(joined), dtype=torch.bool, device=joined.device)
    target, source = (joined | loops).nonzero(as_tuple=True)
    return torch.stack([source, target])
