"""Configuration of MM-ORIENT: every point where the paper's figure and its code differ.

The section numbers are those of the paper: HIMA is its hierarchical interactive monomodal
attention, CMRL its cross-modal relation learning, MLC its multitask classifier.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..batch import ModelConfig

Graph = Literal["ii", "tt", "it", "ti"]
"""Nodes, then edges: ``it`` has images as nodes, joined where their texts are alike."""


class HimaConfig(ModelConfig):
    """Attention within a modality.

    Attributes:
        score: ``context``: GELU of a linear map, then the dot product with a learned vector u;
            ``scalar``: GELU of a linear map to one number.
        attn_dim: d_a of ``context``; None: the modality's own width.
        mask_padding: Whether padding gets no weight. Without it every sample counts as
            ``token_positions`` tokens, or as many regions as the feature has rows, those behind
            its end being zero vectors.
        token_positions: T, the length that texts are taken to be padded to.
        stage1: ``attention``, or ``mean``: the mean over valid entries, as an ablation.
        stage2: Whether the bias of the batch is appended.
        stage2_share: Whether stage 2 has the parameters of stage 1.
        momentum: Of the moving average of the bias that evaluation may use.
    """

    score: Literal["context", "scalar"] = "context"
    attn_dim: int | None = Field(default=None, ge=1)
    mask_padding: bool = True
    token_positions: int = Field(default=128, ge=1)
    stage1: Literal["attention", "mean"] = "attention"
    stage2: bool = True
    stage2_share: bool = False
    momentum: float = Field(default=0.99, ge=0, lt=1)

    @model_validator(mode="after")
    def _something_to_share(self) -> HimaConfig:
        if self.stage2_share and not (self.stage2 and self.stage1 == "attention"):
            raise ValueError("stage2_share needs stage2=true and stage1=attention")
        return self


class Thresholds(ModelConfig):
    """τ of each graph: samples are joined where the cosine is greater. −1 joins all, 1 none."""

    ii: float = Field(default=0.90, ge=-1, le=1)
    tt: float = Field(default=0.90, ge=-1, le=1)
    it: float = Field(default=0.85, ge=-1, le=1)
    ti: float = Field(default=0.85, ge=-1, le=1)


class CmrlConfig(ModelConfig):
    """Graphs across modalities.

    Attributes:
        graphs: Which of the four are used, in the order of their outputs; none is an ablation.
        thresholds: τ of each graph, where edges are made by threshold.
        edges: ``threshold``, or ``topk``: the k nearest others, made symmetric by union within a
            batch and directed towards a bank.
        k: Of ``topk``; the node itself does not count.
        edge_values: ``binary``, or ``cosine``: weights max(cos, 0) in the mean, 1 for the node.
        scope: ``batch``: neighbours come from the batch. ``bank``: from a fixed set of training
            embeddings, collected as training first shows them, one per family.
        bank_size: Embeddings that the bank holds.
        dim: Width of each graph's output; None: that of its node features.
        exclude_siblings: Whether a sample and its augmented copies are kept from being joined. A
            bank never joins a training sample with its own family, since it may hold the sample.
        layer: ``dense``, or ``geometric``: PyTorch Geometric averages over the neighbours of a
            batch, which is the same and wants that package.
        chunk: Candidates of a bank compared at a time; bounds memory, changes no result.
    """

    graphs: tuple[Graph, ...] = ("ii", "tt", "it", "ti")
    thresholds: Thresholds = Thresholds()
    edges: Literal["threshold", "topk"] = "threshold"
    k: int = Field(default=5, ge=1)
    edge_values: Literal["binary", "cosine"] = "binary"
    scope: Literal["batch", "bank"] = "batch"
    bank_size: int = Field(default=4096, ge=1)
    dim: int | None = Field(default=None, ge=1)
    exclude_siblings: bool = True
    layer: Literal["dense", "geometric"] = "dense"
    chunk: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _layer_knows_the_values(self) -> CmrlConfig:
        if self.layer == "geometric" and self.edge_values == "cosine":
            raise ValueError("layer=geometric has no weighted edges: use edge_values=binary")
        if len(set(self.graphs)) < len(self.graphs):
            raise ValueError(f"graphs name one twice: {', '.join(self.graphs)}")
        return self


class ExtraConfig(ModelConfig):
    """Further features, appended to the classifier's input.

    Attributes:
        dim: 0: not used. A width: required, and of this width. None: used where the data have the
            role ``extra``.
    """

    dim: int | None = Field(default=None, ge=0)


class MlcConfig(ModelConfig):
    """The classifier.

    Attributes:
        hidden: Widths of the trunk. Where 4618 comes from is unknown.
        dropout: After each layer of the trunk.
    """

    hidden: tuple[int, ...] = (4618, 2048)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class EvaluationConfig(ModelConfig):
    """What a prediction may depend on beside its own sample.

    Attributes:
        batch_policy: Where the stage-2 bias and the neighbours come from at evaluation:
            ``running``: moving average of training; the batch.
            ``batch``: the batch; the batch.
            ``reference``: a fixed sample of the training data; the same.
            ``single``: moving average of training; none.
        reference_size: Training samples of ``reference``.
        graph: ``policy``, or ``dataset``: neighbours come from the whole split that is evaluated
            (labels are not read), instead of from the batch.
    """

    batch_policy: Literal["running", "batch", "reference", "single"] = "running"
    reference_size: int = Field(default=512, ge=1)
    graph: Literal["policy", "dataset"] = "policy"

    @model_validator(mode="after")
    def _one_source_of_neighbours(self) -> EvaluationConfig:
        if self.graph == "dataset" and self.batch_policy in ("reference", "single"):
            raise ValueError(
                f"graph=dataset takes neighbours from the split, batch_policy="
                f"{self.batch_policy} does not: use batch_policy=running or batch"
            )
        return self


class Config(ModelConfig):
    """MM-ORIENT.

    Attributes:
        hima: Attention within a modality.
        cmrl: Graphs across modalities.
        extra: Further features.
        mlc: The classifier.
        heads: ``joint``: one network, one head per task. ``separate``: a whole network per task,
            which shares nothing, as when each task is trained by itself.
        eval: What a prediction may depend on.
    """

    hima: HimaConfig = HimaConfig()
    cmrl: CmrlConfig = CmrlConfig()
    extra: ExtraConfig = ExtraConfig()
    mlc: MlcConfig = MlcConfig()
    heads: Literal["joint", "separate"] = "joint"
    eval: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _one_scope_at_evaluation(self) -> Config:
        if self.cmrl.scope == "bank" and (
            self.eval.graph == "dataset" or self.eval.batch_policy == "reference"
        ):
            raise ValueError(
                "cmrl.scope=bank gives the neighbours at evaluation too: leave eval.graph=policy "
                "and use eval.batch_policy=running, batch or single"
            )
        return self
