"""MM-ORIENT: relations between samples and attention within them, for several tasks at once.

Rehman, Raghuvanshi, Jain, Bansal, Kumar: A Multimodal-Multitask Framework with Cross-modal
Relation and Hierarchical Interactive Attention for Semantic Comprehension, Information Fusion
2025 (doi 10.1016/j.inffus.2025.103628, arXiv 2508.16300).

```
tokens, regions ──► HIMA  [v_img ; r_img ; v_txt ; r_txt] ─┐
e_img, e_txt ─────► CMRL  [Z_ii ; Z_tt ; Z_it ; Z_ti] ─────┼──► MLC  dense · dense ──► head per task
extra ─────────────────────────────────────────────────────┘
```

The paper's figure and its published code differ; `paper_figure` and `author_code` are the two
readings and every switch between them can be set alone. The parts are in ``mm_orient_parts``.

Deviations, all of them where the sources say nothing or cannot be run:
    A missing modality is a zero vector after stage 1, takes no part in stage 2, is joined to
    nothing, and is no neighbour of anything in a graph whose nodes have that modality.
    Without masking, padding counts as zero vectors, which have no content to add; the published
    code pads with what its text encoder says of padding.
    At evaluation a batch of one takes the moving average of the bias where there is one.
    ``cmrl.scope=bank``, ``eval.graph=dataset``, weighted and nearest-neighbour edges are our own.

Training settings known of the authors: AdamW, learning rate 5e-6, weight decay 0.004, batches of
120. How long they trained is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .batch import FusionBatch, FusionModel, FusionOutput, InputSpec, Task
from .layers.task_heads import TaskHeads, perceptron
from .mm_orient_parts.cmrl import (
    Candidates,
    CrossModalRelations,
    RelationBank,
    candidates_from,
    embeddings_of,
    no_candidates,
)
from .mm_orient_parts.config import (
    CmrlConfig,
    Config,
    EvaluationConfig,
    ExtraConfig,
    HimaConfig,
    MlcConfig,
    Thresholds,
)
from .mm_orient_parts.hima import HierarchicalAttention, Pooled

__all__ = ["PRESETS", "ROLES", "Config", "Model", "author_code", "paper_figure"]

ROLES = {
    "tokens": "bert",
    "regions": "regions",
    "e_img": "clip_image",
    "e_txt": "clip_text",
    "extra": "extra",
}

NO_REFERENCE = (
    "eval.batch_policy=reference needs training samples: call prepare_evaluation with some, "
    "or choose eval.batch_policy=running, batch or single"
)


def paper_figure() -> Config:
    """Return the reading of the paper's figure.

    ``pipeline train mm_orient --dataset memotion``. Published on Memotion (sentiment, humour,
    sarcasm, offensive, motivation): 49.94, 38.09, 49.38, 43.61, 66.41 micro-F1, with other
    features than the ones extracted here; what to expect with these is unknown.
    """
    return Config()


def author_code() -> Config:
    """Return the reading of the published code.

    ``pipeline train mm_orient --preset author_code --dataset memotion``. It wants 784 extra
    features per sample; ``--set model.extra.dim=0`` does without. The code cannot be run as it
    was published, so the number to expect is unknown.
    """
    return Config(
        hima=HimaConfig(score="scalar", attn_dim=1, mask_padding=False, stage2=False),
        cmrl=CmrlConfig(
            thresholds=Thresholds(ii=0.9, tt=0.9, it=0.9, ti=0.9), exclude_siblings=False
        ),
        extra=ExtraConfig(dim=784),
        heads="separate",
        eval=EvaluationConfig(batch_policy="batch"),
    )


PRESETS = {"paper_figure": paper_figure, "author_code": author_code}


class Circumstances(NamedTuple):
    """What a batch is judged together with.

    Attributes:
        policy: Where the stage-2 bias comes from at evaluation.
        embeddings: (B, D) by modality letter.
        families: (B,) or None: pairs of one family are kept apart.
        candidates: Where neighbours come from; None: the batch.
    """

    policy: str
    embeddings: Mapping[str, Tensor]
    families: Tensor | None
    candidates: Candidates | None


class MultitaskClassifier(nn.Module):
    """MLC: a trunk over everything that is known of a sample, and a linear head per task.

    Args:
        width: Of the trunk's input.
        config: See `MlcConfig`.
        tasks: What it predicts.
    """

    def __init__(self, width: int, config: MlcConfig, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.trunk = perceptron((width, *config.hidden), config.dropout)
        self.heads = TaskHeads((width, *config.hidden)[-1], tasks)

    def forward(self, joined: Tensor) -> dict[str, Tensor]:
        """Map (B, width) to logits per task."""
        return self.heads(self.trunk(joined))


def check_shapes(inputs: Mapping[str, InputSpec]) -> None:
    """Refuse sequences where a sample has one vector, and the other way round.

    Raises:
        ValueError: Naming the role.
    """
    for role, spec in inputs.items():
        axes = 2 if role in ("tokens", "regions") else 1
        if len(spec.shape) != axes:
            kind = "a sequence of vectors" if axes == 2 else "one vector"
            raise ValueError(f"the role {role} wants {kind} per sample, got shape {spec.shape}")


def extra_width(config: Config, inputs: Mapping[str, InputSpec]) -> int:
    """Return how many extra features are appended.

    Raises:
        ValueError: The configuration demands a width that the data do not have.
    """
    there = inputs["extra"].width if "extra" in inputs else 0
    wanted = there if config.extra.dim is None else config.extra.dim
    if wanted not in (0, there):
        raise ValueError(
            f"model.extra.dim={wanted}, but the data have {there} extra features: name a feature "
            f"of that width for the role extra, or set model.extra.dim=0"
        )
    return wanted


def extra_values(batch: FusionBatch, width: int) -> Tensor:
    """Return the extra features (B, width); zeros for samples, or batches, without them."""
    feature = batch.features.get("extra")
    if feature is None or not width:
        return batch.features["e_img"].values.new_zeros(len(batch), width)
    return feature.values * feature.present[:, None]


class Model(FusionModel):
    """MM-ORIENT: one network for all tasks, or one per task.

    ``tokens`` (B, T, D_t), ``regions`` (B, R, D_r), ``e_img`` (B, D_i), ``e_txt`` (B, D_i) and,
    where wanted, ``extra`` (B, D_x).
    """

    reads_whole_batch: ClassVar[bool] = True
    optional_roles: ClassVar[frozenset[str]] = frozenset({"extra"})

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        check_shapes(inputs)
        widths = {"i": inputs["e_img"].width, "t": inputs["e_txt"].width}
        self.extra = extra_width(config, inputs)
        groups = [tasks] if config.heads == "joint" else [[task] for task in tasks]
        hima = [
            HierarchicalAttention(config.hima, inputs["regions"], inputs["tokens"]) for _ in groups
        ]
        cmrl = [CrossModalRelations(config.cmrl, widths) for _ in groups]
        self.width = cmrl[0].out + hima[0].out + self.extra
        self.hima, self.cmrl = nn.ModuleList(hima), nn.ModuleList(cmrl)
        self.mlc = nn.ModuleList(
            MultitaskClassifier(self.width, config.mlc, group) for group in groups
        )
        self.bank: RelationBank | None = None
        if config.cmrl.scope == "bank":
            self.bank = RelationBank(config.cmrl.bank_size, widths)
        self.candidates: Candidates | None = None

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits per task; attention over tokens and regions; diagnostics."""
        around = self._circumstances(batch)
        extra = extra_values(batch, self.extra)
        logits: dict[str, Tensor] = {}
        attention: list[dict[str, Pooled]] = []
        notes: list[dict[str, Tensor]] = []
        for hima, cmrl, mlc in zip(self.hima, self.cmrl, self.mlc, strict=True):
            joint, pooled, own = hima(batch.features, around.policy)
            related = cmrl(around.embeddings, around.families, around.candidates)
            dtype = related.features.dtype
            parts = [related.features, joint.to(dtype), extra.to(dtype)]
            logits |= mlc(torch.cat(parts, dim=1))
            attention.append(pooled)
            notes.append(own | related.notes)
        return FusionOutput(
            {task.name: logits[task.name] for task in self.tasks},
            attention=mean_attention(attention),
            diagnostics=mean_diagnostics(notes),
            # Nothing of a graph is learned: it is the same in every network.
            neighbours=related.neighbours,
            similarities=related.similarities,
        )

    def _circumstances(self, batch: FusionBatch) -> Circumstances:
        """Decide where neighbours come from."""
        config: Config = self.config
        embeddings = embeddings_of(batch)
        families = batch.families if len(batch.families) == len(batch) else None
        around = Circumstances(config.eval.batch_policy, embeddings, families, None)
        alone = not self.training and config.eval.batch_policy == "single"
        if self.bank is not None and not alone:
            if self.training:
                self.bank.absorb(embeddings, batch.families)
            return around._replace(candidates=self.bank.candidates(with_families=self.training))
        if not self.training and self.candidates is not None:
            return around._replace(candidates=self.candidates.to(embeddings["i"].device))
        if alone:
            return around._replace(candidates=no_candidates(embeddings))
        if not self.training and config.eval.batch_policy == "reference":
            raise ValueError(NO_REFERENCE)
        if not config.cmrl.exclude_siblings:
            around = around._replace(families=None)
        return around

    @property
    def num_reference(self) -> int:
        """Training samples wanted: for the policy ``reference``, or for a bank still empty."""
        config: Config = self.config
        if config.eval.batch_policy == "reference":
            return config.eval.reference_size
        return config.cmrl.bank_size if self.bank is not None and not len(self.bank) else 0

    @torch.no_grad()
    def prepare_evaluation(self, reference: FusionBatch | None) -> None:
        """Take in reference samples: their stage-2 bias, and them as neighbours.

        Raises:
            ValueError: The policy is ``reference`` and there are none.
        """
        if reference is not None and self.bank is not None and not len(self.bank):
            self.bank.absorb(embeddings_of(reference), reference.families)
        if self.config.eval.batch_policy != "reference":
            return
        if reference is None or not len(reference):
            raise ValueError(NO_REFERENCE)
        self.candidates = candidates_from([reference], same_split=False)
        for attention in self.modules():
            if isinstance(attention, HierarchicalAttention):
                attention.attend_to_reference(reference.features)

    @property
    def wants_split(self) -> bool:
        """Whether `observe_split` has to be called before a split is evaluated."""
        return bool(self.config.eval.graph == "dataset")

    @torch.no_grad()
    def observe_split(self, batches: Iterable[FusionBatch] | None) -> None:
        """Make the samples of these batches the neighbours of every later one.

        Args:
            batches: All of the split that is evaluated next; only embeddings are kept, (N, D) of
                each modality. None: forget them.
        """
        self.candidates = None
        if batches is not None:
            self.candidates = candidates_from(batches, same_split=True)


@torch.no_grad()
def mean_attention(found: Sequence[Mapping[str, Pooled]]) -> dict[str, Tensor]:
    """Return α (B, L) per role, averaged over networks, summing to 1 over valid entries."""
    attention = {}
    for role in found[0]:
        weights = torch.stack([pooled[role].weights.detach() for pooled in found]).mean(0)
        total = weights.sum(1, keepdim=True)
        attention[role] = weights / torch.where(total > 0, total, 1)
    return attention


@torch.no_grad()
def mean_diagnostics(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return diagnostics averaged over networks."""
    return {
        name: torch.stack([notes[name].detach().float() for notes in found]).mean()
        for name in found[0]
    }
