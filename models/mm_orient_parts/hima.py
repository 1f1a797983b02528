"""HIMA: attention over the entries of a sample, then over the samples of a batch.

```
X (B, n, d) ── stage 1: α over n ──► v (B, d) ── stage 2: β over B ──► r (d)      output [v ; r]
```

``B`` samples, ``n`` tokens or regions, ``d`` width of the modality, ``d_a`` width of the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..batch import FeatureBatch, InputSpec
from ..layers.masked import masked_mean, masked_softmax, normalised_entropy
from .config import HimaConfig

REFERENCE_ROWS = 64
"""Reference samples attended to at a time; bounds memory, changes no result."""


class Pooled(NamedTuple):
    """What attention makes of B sequences.

    Attributes:
        vector: v (B, d).
        weights: α (B, L) of the entries; 0 behind a sample's end.
        padding: (B,) the weight that padding has together; 0 where it is masked.
    """

    vector: Tensor
    weights: Tensor
    padding: Tensor


class InteractiveAttention(nn.Module):
    """Weights entries by how well they answer a learned context.

    θ_i = GELU(W x_i + b), a_i = θ_iᵀu, α = softmax(a), v = Σ α_i x_i: the weights multiply the
    original entries. ``scalar`` has a_i = GELU(wᵀx_i + c) instead. GELU is the exact one.

    Args:
        width: d.
        config: ``score``, ``attn_dim`` and ``mask_padding`` are read.
    """

    def __init__(self, width: int, config: HimaConfig) -> None:
        super().__init__()
        attn_dim = 1 if config.score == "scalar" else config.attn_dim or width
        self.dense = nn.Linear(width, attn_dim)
        self.context: nn.Parameter | None = None
        if config.score == "context":
            self.context = nn.Parameter(torch.empty(attn_dim))
            bound = attn_dim**-0.5
            nn.init.uniform_(self.context, -bound, bound)

    def score(self, entries: Tensor) -> Tensor:
        """Map entries (N, d) to a (N,)."""
        theta = gelu(self.dense(entries))
        if self.context is None:
            return theta.squeeze(-1)
        return theta @ self.context.to(theta.dtype)

    def forward(self, feature: FeatureBatch, positions: int | None = None) -> Pooled:
        """Pool each sample.

        Args:
            feature: (B, L, d) in any layout.
            positions: n to which samples count as padded with zero vectors; None: masked.
        """
        mask = feature.mask
        valid = self.score(feature.packed().values)
        scores = valid.new_zeros(mask.shape).masked_scatter(mask, valid)
        if positions is not None:
            num_padding = (positions - feature.lengths).clamp(min=0)[:, None]
            zero = self.score(self.dense.weight.new_zeros(1, self.dense.in_features))
            # All padding together: exp(a_0 + log n_0) = n_0 exp(a_0).
            scores = torch.cat([scores, zero + num_padding.clamp(min=1).log()], dim=1)
            mask = torch.cat([mask, num_padding > 0], dim=1)
        weights = masked_softmax(scores, mask)
        padding = weights.new_zeros(len(weights))
        if positions is not None:
            weights, padding = weights[:, :-1], weights[:, -1]
        values = feature.padded().values
        vector = torch.einsum("bl,bld->bd", weights.to(values.dtype), values)
        return Pooled(vector, weights, padding)


class ModalityAttention(nn.Module):
    """Both stages for one modality.

    Args:
        width: d.
        config: See `HimaConfig`.
        positions: n that samples count as padded to, where padding is not masked.
    """

    running_bias: Tensor
    num_updates: Tensor
    reference_bias: Tensor | None

    def __init__(self, width: int, config: HimaConfig, positions: int) -> None:
        super().__init__()
        self.config = config
        self.positions = None if config.mask_padding else positions
        self.out = width * (2 if config.stage2 else 1)
        self.entries: InteractiveAttention | None = None
        self.samples: InteractiveAttention | None = None
        if config.stage1 == "attention":
            self.entries = InteractiveAttention(width, config)
        if config.stage2:
            if not config.stage2_share:
                self.samples = InteractiveAttention(width, config)
            self.register_buffer("running_bias", torch.zeros(width))
            self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
            self.register_buffer("reference_bias", None, persistent=False)

    def pool(self, feature: FeatureBatch) -> Pooled:
        """Stage 1: return v (B, d) with its weights."""
        if self.entries is not None:
            return self.entries(feature, self.positions)
        weights = feature.mask / feature.lengths.clamp(min=1)[:, None]
        return Pooled(masked_mean(feature), weights, weights.new_zeros(len(weights)))

    def batch_bias(self, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 2: return r (d,) and β (B,) of the samples that have this modality.

        Args:
            vectors: v (B, d).
            present: (B,) bool.
        """
        network = self.samples or self.entries
        assert network is not None
        scores = network.score(vectors)
        beta = masked_softmax(scores[None], present[None])[0]
        return beta.to(vectors.dtype) @ vectors, beta

    @torch.no_grad()
    def note_bias(self, bias: Tensor) -> None:
        """Move the running average towards r of a training batch."""
        keep = self.config.momentum if int(self.num_updates) else 0.0
        self.running_bias.mul_(keep).add_((1 - keep) * bias.to(self.running_bias.dtype))
        self.num_updates.add_(1)

    def bias(self, vectors: Tensor, present: Tensor, policy: str) -> tuple[Tensor, Tensor | None]:
        """Return r, (d,) or (B, d), and β (B,) where it was computed from this batch."""
        if self.training:
            bias, beta = self.batch_bias(vectors, present)
            if bool(present.any()):
                self.note_bias(bias.detach())
            return bias, beta
        if policy == "reference" and self.reference_bias is not None:
            return self.reference_bias, None
        has_average = int(self.num_updates) > 0
        if has_average and (policy != "batch" or len(vectors) == 1):
            return self.running_bias.to(vectors.dtype), None
        if policy == "single":
            return vectors, None
        return self.batch_bias(vectors, present)

    def attend_to_reference(self, feature: FeatureBatch) -> None:
        """Keep r of reference samples (M, n, d), which are pooled some at a time."""
        if not self.config.stage2:
            return
        rows = range(len(feature))
        parts = [rows[start : start + REFERENCE_ROWS] for start in rows[::REFERENCE_ROWS]]
        vectors = torch.cat([self.pool(feature.take(part)).vector for part in parts])
        self.reference_bias, _ = self.batch_bias(vectors, feature.present)

    def forward(
        self, feature: FeatureBatch, policy: str
    ) -> tuple[Tensor, Pooled, dict[str, Tensor]]:
        """Return [v ; r] (B, 2d), or v (B, d) without stage 2, stage 1 and diagnostics.

        Args:
            feature: (B, L, d) in any layout.
            policy: Where r comes from at evaluation; see `EvaluationConfig`.
        """
        pooled = self.pool(feature)
        vectors, present = pooled.vector, feature.present
        notes = {}
        if self.entries is not None:
            notes = stage1_diagnostics(pooled, feature, self.positions)
        if not self.config.stage2:
            return vectors, pooled, notes
        bias, beta = self.bias(vectors, present, policy)
        notes |= stage2_diagnostics(bias, beta, present)
        return torch.cat([vectors, bias.expand_as(vectors)], dim=1), pooled, notes


class HierarchicalAttention(nn.Module):
    """HIMA: J = [v_img ; r_img ; v_txt ; r_txt].

    Args:
        config: See `HimaConfig`.
        regions: Shape of the regions of a sample.
        tokens: Shape of the tokens of a sample.
    """

    def __init__(self, config: HimaConfig, regions: InputSpec, tokens: InputSpec) -> None:
        super().__init__()
        self.regions = ModalityAttention(regions.width, config, int(regions.shape[0] or 1))
        self.tokens = ModalityAttention(tokens.width, config, config.token_positions)
        self.out = self.regions.out + self.tokens.out

    @property
    def modalities(self) -> dict[str, ModalityAttention]:
        """Image, then text, by role."""
        return {"regions": self.regions, "tokens": self.tokens}

    def forward(
        self, features: Mapping[str, FeatureBatch], policy: str
    ) -> tuple[Tensor, dict[str, Pooled], dict[str, Tensor]]:
        """Return J (B, ·), stage 1 by role and diagnostics.

        Args:
            features: ``regions`` (B, R, D_r) and ``tokens`` (B, T, D_t), in any layout.
            policy: Where r comes from at evaluation; see `EvaluationConfig`.
        """
        joint: list[Tensor] = []
        stage1: dict[str, Pooled] = {}
        notes: dict[str, Tensor] = {}
        for role, attention in self.modalities.items():
            output, stage1[role], found = attention(features[role], policy)
            joint.append(output)
            notes |= {f"hima/{role}/{name}": value for name, value in found.items()}
        return torch.cat(joint, dim=1), stage1, notes

    def attend_to_reference(self, features: Mapping[str, FeatureBatch]) -> None:
        """Take r of these samples for the evaluation policy ``reference``."""
        for role, attention in self.modalities.items():
            attention.attend_to_reference(features[role])


@torch.no_grad()
def stage1_diagnostics(
    pooled: Pooled, feature: FeatureBatch, positions: int | None
) -> dict[str, Tensor]:
    """Return mean entropy / log n of α and, where padding is not masked, its mean weight."""
    notes = {}
    total = pooled.weights.sum(1, keepdim=True)
    weights = pooled.weights / torch.where(total > 0, total, 1)
    entropy = normalised_entropy(weights, feature.mask)
    if len(entropy):
        notes["stage1/entropy"] = entropy.mean()
    if positions is not None:
        notes["stage1/padding_weight"] = pooled.padding.mean()
    return notes


@torch.no_grad()
def stage2_diagnostics(bias: Tensor, beta: Tensor | None, present: Tensor) -> dict[str, Tensor]:
    """Return ‖r‖ and, where two or more samples share it, max β and entropy / log n of β."""
    notes = {"stage2/bias_norm": torch.linalg.vector_norm(bias.float(), dim=-1).mean()}
    if beta is not None and int(present.sum()) > 1:
        notes["stage2/max_weight"] = beta.max()
        notes["stage2/entropy"] = normalised_entropy(beta[None], present[None]).mean()
    return notes
