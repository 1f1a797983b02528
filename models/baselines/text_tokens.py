"""Text alone: the mean of a text's tokens, then a perceptron per task.

``tokens`` (B, T, D) ── masked mean ──► (B, D) ── perceptron ──► logits per task
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from ..batch import FusionBatch, FusionModel, FusionOutput, InputSpec, ModelConfig, Task
from ..layers.masked import masked_mean
from ..layers.task_heads import TaskHeads

ROLES = {"tokens": "bert"}


class Config(ModelConfig):
    """A perceptron on the mean token.

    Attributes:
        hidden: Widths of each task's hidden layers; none makes it a linear probe.
        dropout: After each hidden layer.
    """

    hidden: tuple[int, ...] = (512,)
    dropout: float = Field(default=0.2, ge=0, lt=1)


def mean_token() -> Config:
    """Return the perceptron: ``pipeline train text_tokens --dataset memotion``.

    Published for BERT on Memotion (sentiment, humour, sarcasm, offensive, motivation): 39.24,
    32.15, 45.42, 39.51, 60.15 micro-F1; with which head is unknown.
    """
    return Config()


PRESETS = {"mean_token": mean_token}


class Model(FusionModel):
    """Mean token → perceptron per task; a sample without text is a zero vector."""

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        self.heads = TaskHeads(inputs["tokens"].width, tasks, config.hidden, config.dropout)

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task."""
        return FusionOutput(self.heads(masked_mean(batch.features["tokens"])))
