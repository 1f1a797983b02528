"""One head per task on a shared vector.

``B`` samples, ``D`` width of the vector, ``C`` outputs of a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ..batch import Task


def perceptron(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Return linear layers from each width to the next, each followed by ReLU and dropout.

    Args:
        widths: Input width, then the width of each layer; with one entry the result is empty.
        dropout: Share of activations set to 0 in training, 0 to 1.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class TaskHeads(nn.Module):
    """A linear map, or a perceptron of its own, per task.

    Args:
        width: D.
        tasks: What to predict; the order is that of the parameters.
        hidden: Widths of the layers between the vector and each task's logits.
        dropout: Share of hidden activations set to 0 in training.
    """

    def __init__(
        self,
        width: int,
        tasks: Sequence[Task],
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.names = tuple(task.name for task in tasks)
        self.heads = nn.ModuleList(
            nn.Sequential(
                *perceptron((width, *hidden), dropout),
                nn.Linear((width, *hidden)[-1], task.num_outputs),
            )
            for task in tasks
        )

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """Map (B, D) to {task: (B, C)}."""
        return {name: head(vector) for name, head in zip(self.names, self.heads, strict=True)}
