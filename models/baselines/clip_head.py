"""Heads on frozen CLIP embeddings of image and text.

```
e_img (B, D), e_txt (B, D) ── [img ; txt ; img·txt ; |img − txt|] ──► probe or perceptron per task
```

The product and the absolute difference are options. Either modality alone is one too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..batch import FusionBatch, FusionModel, FusionOutput, InputSpec, ModelConfig, Task
from ..layers.masked import masked_mean
from ..layers.task_heads import TaskHeads

ROLES = {"e_img": "clip_image", "e_txt": "clip_text"}


class Config(ModelConfig):
    """A head on CLIP embeddings.

    Attributes:
        use: Which embeddings are read.
        product: Whether their product, entry by entry, is appended.
        absolute_difference: Whether |img − txt| is appended.
        hidden: Widths of each task's hidden layers; none makes it a linear probe.
        dropout: After each hidden layer.
    """

    use: tuple[Literal["e_img", "e_txt"], ...] = Field(default=("e_img", "e_txt"), min_length=1)
    product: bool = False
    absolute_difference: bool = False
    hidden: tuple[int, ...] = ()
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _two_to_compare(self) -> Config:
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use names one twice: {', '.join(self.use)}")
        if (self.product or self.absolute_difference) and len(self.use) < 2:
            raise ValueError(
                "product and absolute_difference compare image and text: set use=[e_img, e_txt]"
            )
        return self


def linear_probe() -> Config:
    """Return a linear map of both embeddings: ``pipeline train clip_head --dataset memotion``.

    Published for CLIP on Memotion (sentiment, humour, sarcasm, offensive, motivation): 47.28,
    37.52, 46.96, 41.24, 64.58 micro-F1; with which head is unknown.
    """
    return Config()


def perceptron() -> Config:
    """Return two layers per task.

    ``pipeline train clip_head --dataset memotion --preset perceptron``; expected: unknown.
    """
    return Config(hidden=(512,))


def interaction() -> Config:
    """Return two layers on everything.

    ``pipeline train clip_head --dataset memotion --preset interaction``; expected: unknown.
    """
    return Config(hidden=(512,), product=True, absolute_difference=True)


def image_only() -> Config:
    """Return two layers on the image.

    ``pipeline train clip_head --dataset memotion --preset image_only``; expected: unknown.
    """
    return Config(use=("e_img",), hidden=(512,))


def text_only() -> Config:
    """Return two layers on the text.

    ``pipeline train clip_head --dataset memotion --preset text_only``; expected: unknown.
    """
    return Config(use=("e_txt",), hidden=(512,))


PRESETS = {
    "linear_probe": linear_probe,
    "perceptron": perceptron,
    "interaction": interaction,
    "image_only": image_only,
    "text_only": text_only,
}


class Model(FusionModel):
    """CLIP embeddings → probe or perceptron per task; a missing one is a zero vector."""

    optional_roles: ClassVar[frozenset[str]] = frozenset(ROLES)

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        absent = [role for role in config.use if role not in inputs]
        if absent:
            raise ValueError(
                f"clip_head is to use {', '.join(config.use)}, but the data lack "
                f"{', '.join(absent)}: name its feature, or set model.use"
            )
        widths = [inputs[role].width for role in config.use]
        num_compared = int(config.product) + int(config.absolute_difference)
        if num_compared and widths[0] != widths[1]:
            raise ValueError(
                f"product and absolute_difference need embeddings of one width, not {widths}: "
                "set model.product=false and model.absolute_difference=false"
            )
        width = sum(widths) + num_compared * widths[0]
        self.heads = TaskHeads(width, tasks, config.hidden, config.dropout)

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task."""
        config: Config = self.config
        parts: list[Tensor] = [masked_mean(batch.features[role]) for role in config.use]
        compared = []
        if config.product:
            compared.append(parts[0] * parts[1])
        if config.absolute_difference:
            compared.append((parts[0] - parts[1]).abs())
        return FusionOutput(self.heads(torch.cat(parts + compared, dim=1)))
