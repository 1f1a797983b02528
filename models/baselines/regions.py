"""The image alone: the mean of its regions, then a perceptron per task.

``regions`` (B, R, D) ── masked mean ──► (B, D) ── perceptron ──► logits per task
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from ..batch import FusionBatch, FusionModel, FusionOutput, InputSpec, ModelConfig, Task
from ..layers.masked import masked_mean
from ..layers.task_heads import TaskHeads

ROLES = {"regions": "regions"}


class Config(ModelConfig):
    """A perceptron on the mean region.

    Attributes:
        hidden: Widths of each task's hidden layers; none makes it a linear probe.
        dropout: After each hidden layer.
    """

    hidden: tuple[int, ...] = (512,)
    dropout: float = Field(default=0.2, ge=0, lt=1)


def mean_region() -> Config:
    """Return the perceptron: ``pipeline train regions --dataset memotion``.

    Published for X152 regions on Memotion (sentiment, humour, sarcasm, offensive, motivation):
    45.96, 34.65, 41.05, 34.00, 62.23 micro-F1; with which head is unknown.
    """
    return Config()


PRESETS = {"mean_region": mean_region}


class Model(FusionModel):
    """Mean region → perceptron per task; a sample without regions is a zero vector."""

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        self.heads = TaskHeads(inputs["regions"].width, tasks, config.hidden, config.dropout)

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task."""
        return FusionOutput(self.heads(masked_mean(batch.features["regions"])))
