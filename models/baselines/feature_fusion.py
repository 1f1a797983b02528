"""Feature-level fusion: pooled text and image features side by side, one trunk, a head per task.

```
tokens ── mean ──┐
                 ├── [txt ; img] ── dense · dense ──► one head per task
regions ─ mean ──┘
```

The published rule is unknown; the trunk is MM-ORIENT's, so that only its mechanisms differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field

from ..batch import FusionBatch, FusionModel, FusionOutput, InputSpec, ModelConfig, Task
from ..layers.masked import masked_mean
from ..layers.task_heads import TaskHeads, perceptron

ROLES = {"tokens": "bert", "regions": "regions"}


class Config(ModelConfig):
    """A trunk on concatenated means.

    Attributes:
        hidden: Widths of the trunk.
        dropout: After each layer of the trunk.
    """

    hidden: tuple[int, ...] = (4618, 2048)
    dropout: float = Field(default=0.2, ge=0, lt=1)


def concatenation() -> Config:
    """Return the trunk of MM-ORIENT: ``pipeline train feature_fusion --dataset memotion``.

    Published on Memotion (sentiment, humour, sarcasm, offensive, motivation): 45.86, 36.43,
    46.06, 40.82, 62.51 micro-F1.
    """
    return Config()


PRESETS = {"concatenation": concatenation}


class Model(FusionModel):
    """[mean token ; mean region] → trunk → head per task; a missing one is a zero vector."""

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        widths = (sum(inputs[role].width for role in ROLES), *config.hidden)
        self.trunk = perceptron(widths, config.dropout)
        self.heads = TaskHeads(widths[-1], tasks)

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task."""
        joined = torch.cat([masked_mean(batch.features[role]) for role in ROLES], dim=1)
        return FusionOutput(self.heads(self.trunk(joined)))
