"""The pre-norm Transformer encoder of MulT, within one modality or from one into another.

```
x₀ = drop(√D · input + positions)                     source: the same, once, for keys and values
level ℓ   x ← x + drop(Attention(LN₀ x, LN₀ k, LN₀ v))     k, v: source at level 0, or x itself
          x ← x + drop(W₂ drop(activation(W₁ LN₁ x)))      W₁: D → 4 D
out       LayerNorm(x)
```

Tsai et al., ACL 2019, §3.2; parameter names are those of the authors' code. Layers don't know how
their sequences are laid out: all but attention works step by step, and attention is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .positions import embed_positions
from .sequences import Attention, Steps


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How an encoder computes.

    Attributes:
        heads: Number of heads; divides the width.
        levels: Number of levels.
        share_levels: Whether all levels are one layer.
        activation: Of the feed-forward part.
        positions: Whether sinusoidal positions are added.
        zero_steps_unplaced: See `embed_positions`.
        attention_dropout: On attention weights.
        activation_dropout: Behind the activation.
        residual_dropout: On what is added to x.
        embed_dropout: On x₀ and the source.
    """

    heads: int
    levels: int
    share_levels: bool = False
    activation: Literal["relu", "gelu"] = "relu"
    positions: bool = True
    zero_steps_unplaced: bool = False
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    residual_dropout: float = 0.0
    embed_dropout: float = 0.0


class MultiheadAttention(nn.Module):
    """Projections into and out of attention; logits are scaled by 1/√(D / heads).

    Args:
        width: D.
        heads: Number of heads.
        dropout: On attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = _linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attend: Attention) -> Tensor:
        """Return the attended values, (…, D) like ``query``."""
        if query is key is value:
            q, k, v = self._project(query, 0, 3).chunk(3, dim=-1)
        elif key is value:
            q = self._project(query, 0, 1)
            k, v = self._project(key, 1, 3).chunk(2, dim=-1)
        else:
            q = self._project(query, 0, 1)
            k, v = self._project(key, 1, 2), self._project(value, 2, 3)
        return self.out_proj(attend(q, k, v, self.heads, self.dropout if self.training else 0.0))

    def _project(self, values: Tensor, first: int, end: int) -> Tensor:
        width = values.shape[-1]
        rows = slice(first * width, end * width)
        return functional.linear(values, self.in_proj_weight[rows], self.in_proj_bias[rows])


class EncoderLayer(nn.Module):
    """One level: attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, width: int, options: EncoderOptions) -> None:
        super().__init__()
        self.options = options
        self.self_attn = MultiheadAttention(width, options.heads, options.attention_dropout)
        self.fc1 = _linear(width, 4 * width)
        self.fc2 = _linear(4 * width, width)
        self.layer_norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, x: Tensor, source: tuple[Tensor, Tensor] | None, attend: Attention) -> Tensor:
        """Return the next x, (…, D).

        Args:
            x: (…, D) queries.
            source: What keys and what values are made of, (…, D); None for x itself.
            attend: Attention between the layouts of x and source.
        """
        options, norm = self.options, self.layer_norms[0]
        query = key = value = norm(x)
        if source is not None:
            key = norm(source[0])
            value = key if source[1] is source[0] else norm(source[1])
        x = x + self._drop(self.self_attn(query, key, value, attend), options.residual_dropout)
        hidden = self.fc1(self.layer_norms[1](x))
        active = (
            functional.relu(hidden) if options.activation == "relu" else functional.gelu(hidden)
        )
        update = self.fc2(self._drop(active, options.activation_dropout))
        return x + self._drop(update, options.residual_dropout)

    def _drop(self, values: Tensor, rate: float) -> Tensor:
        return functional.dropout(values, rate, self.training) if rate else values


class Encoder(nn.Module):
    """A stack of levels.

    Args:
        width: D.
        options: See `EncoderOptions`.
    """

    def __init__(self, width: int, options: EncoderOptions) -> None:
        super().__init__()
        if width % options.heads:
            raise ValueError(f"{options.heads} heads don't divide the width {width} of an encoder")
        self.options = options
        distinct = 1 if options.share_levels else options.levels
        self.layers = nn.ModuleList([EncoderLayer(width, options) for _ in range(distinct)])
        self.layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        steps: Steps,
        attend: Attention,
        source: Tensor | None = None,
        source_steps: Steps | None = None,
    ) -> Tensor:
        """Return the encoded sequence, laid out as ``x``.

        Args:
            x: (…, D) input.
            steps: Layout of x.
            attend: Attention from x to the source, or to x where there is none.
            source: (…, D) input that keys and values of every level are made of; without it each
                level makes them of the running x.
            source_steps: Layout of the source; by default that of x.
        """
        running = self.embed(x, steps)
        keys_and_values = None
        if source is not None:
            key = value = self.embed(source, source_steps or steps)
            if self.training and self.options.embed_dropout:
                # MulT draws keys' and values' dropout independently.
                value = self.embed(source, source_steps or steps)
            keys_and_values = (key, value)
        for level in range(self.options.levels):
            layer = self.layers[level % len(self.layers)]
            running = layer(running, keys_and_values, attend)
        return self.layer_norm(running)

    def embed(self, values: Tensor, steps: Steps) -> Tensor:
        """Return level 0 of a sequence: scaled, with positions, dropped out."""
        x = math.sqrt(values.shape[-1]) * values
        if self.options.positions:
            unplaced = self.options.zero_steps_unplaced
            x = x + embed_positions(values, steps.indices, zero_steps_unplaced=unplaced)
        return functional.dropout(x, self.options.embed_dropout, self.training)


def _linear(width: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(width, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
