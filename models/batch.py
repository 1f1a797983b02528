"""What every fusion model is given and what it returns.

```
FusionBatch  features by role ── FusionModel.forward ──►  FusionOutput  logits per task
             labels per task                                            penalties by name
             families, keys                                             attention, diagnostics
```

``B`` samples, ``L`` entries of the longest sample, ``N`` entries of all samples together,
``D`` width, ``C`` classes of a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

MISSING_CLASS = -1
"""Class index of a sample without a label; a missing regression value is NaN."""


class ModelConfig(BaseModel):
    """A model's configuration: frozen, unknown keys refused. Each model subclasses it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Task(NamedTuple):
    """One thing to predict.

    Attributes:
        name: For example ``sentiment``.
        kind: ``classification`` (one of C), ``multilabel`` (any of C) or ``regression`` (a number).
        classes: Names of the C classes in the order of their codes; empty for regression.
        low, high: Range of a regression's labels, where it is known.
    """

    name: str
    kind: Literal["classification", "multilabel", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def num_outputs(self) -> int:
        """Width of the head: C, or 1 for a regression."""
        return 1 if self.kind == "regression" else len(self.classes)


class InputSpec(NamedTuple):
    """Shape of one input per sample; None marks the ragged axis, which is the first."""

    shape: tuple[int | None, ...]

    @property
    def width(self) -> int:
        """D: size of the last axis."""
        return int(self.shape[-1] or 0)


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """One feature of a batch.

    Attributes:
        values: ``fixed`` (B, *shape): a vector (B, D), or (B, L, D) with L the same for every
            sample; ``padded`` (B, L, *rest), zeros behind a sample's end; ``packed`` (N, *rest),
            sample after sample without padding. A sample without this modality has length 0, and
            zeros where its values would be.
        lengths: (B,) int64: valid entries of the first axis. For a vector 1 where the sample has
            it and 0 where not.
        layout: How ``values`` are laid out.
    """

    values: Tensor
    lengths: Tensor
    layout: Literal["fixed", "padded", "packed"] = "fixed"

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    @property
    def present(self) -> Tensor:
        """(B,) bool: whether the sample has this modality."""
        return self.lengths > 0

    @property
    def mask(self) -> Tensor:
        """(B, L) bool: True at valid entries; L is 1 for vectors."""
        is_vector = self.layout == "fixed" and self.values.dim() == 2
        if self.layout == "packed":
            longest = int(self.lengths.max()) if len(self) else 0
        else:
            longest = 1 if is_vector else self.values.shape[1]
        steps = torch.arange(longest, device=self.lengths.device)
        return steps < self.lengths[:, None]

    def padded(self) -> FeatureBatch:
        """Return the same feature as (B, L, *rest); only the packed layout changes."""
        if self.layout != "packed":
            return self
        mask = self.mask
        values = self.values.new_zeros((*mask.shape, *self.values.shape[1:]))
        values[mask] = self.values
        return FeatureBatch(values, self.lengths, "padded")

    def packed(self) -> FeatureBatch:
        """Return the same feature as (N, *rest), padding and invalid entries left out."""
        if self.layout == "packed":
            return self
        if self.layout == "fixed" and self.values.dim() == 2:
            return FeatureBatch(self.values[self.present], self.lengths, "packed")
        return FeatureBatch(self.values[self.mask], self.lengths, "packed")

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> FeatureBatch:
        """Return the feature on another device."""
        values = self.values.to(device, non_blocking=non_blocking)
        lengths = self.lengths.to(device, non_blocking=non_blocking)
        return FeatureBatch(values, lengths, self.layout)

    def take(self, rows: Sequence[int]) -> FeatureBatch:
        """Return these samples, in this order; the packed layout keeps being packed."""
        where = torch.as_tensor(rows, dtype=torch.int64, device=self.lengths.device)
        if self.layout != "packed":
            return FeatureBatch(self.values[where], self.lengths[where], self.layout)
        pieces = self.values.split(self.lengths.tolist())
        chosen = [pieces[int(row)] for row in rows]
        values = torch.cat(chosen) if chosen else self.values[:0]
        return FeatureBatch(values, self.lengths[where], "packed")


@dataclass(frozen=True, slots=True)
class FusionBatch:
    """Samples with their features and labels.

    Attributes:
        keys: B keys.
        features: By the role the model knows them under, for example ``tokens`` or ``regions``.
            Floating point, in float32 unless the loader was told otherwise.
        labels: By task: (B,) int64 with -1 for missing (classification), (B,) float32 with NaN
            for missing (regression), (B, C) float32 with NaN rows for missing (multilabel). Empty
            when there are none.
        families: (B,) int64: equal for a sample and the copies augmented from it, else different.
    """

    keys: tuple[str, ...]
    features: Mapping[str, FeatureBatch]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    families: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        """Return B."""
        return len(self.keys)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> FusionBatch:
        """Return the batch on another device."""
        return replace(
            self,
            features={k: v.to(device, non_blocking=non_blocking) for k, v in self.features.items()},
            labels={k: v.to(device, non_blocking=non_blocking) for k, v in self.labels.items()},
            families=self.families.to(device, non_blocking=non_blocking),
        )

    def take(self, rows: Sequence[int]) -> FusionBatch:
        """Return these samples, in this order."""
        where = torch.as_tensor(rows, dtype=torch.int64, device=self.families.device)
        return FusionBatch(
            keys=tuple(self.keys[int(row)] for row in rows),
            features={name: feature.take(rows) for name, feature in self.features.items()},
            labels={name: values[where] for name, values in self.labels.items()},
            families=self.families[where],
        )


@dataclass(frozen=True, slots=True)
class FusionOutput:
    """What a model says of a batch.

    Attributes:
        logits: By task, (B, num_outputs), unnormalised; a regression's value itself, (B, 1).
        penalties: Scalars with gradient, already weighted, that are added to the loss by name.
        attention: By role, (B, L) weights that sum to 1 over valid entries and are 0 elsewhere;
            detached, for reports.
        diagnostics: Scalars to log, detached; names with slashes, such as ``graph/ii/density``.
        neighbours: By graph, (B, k) int64 positions in the batch of a sample's strongest
            neighbours, itself left out, strongest first, -1 where it has fewer; detached, for
            reports. Only in evaluation mode, and only where neighbours come from the batch.
        similarities: By graph, (B, k) cosines of ``neighbours``, 0 where there is none.
    """

    logits: Mapping[str, Tensor]
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    attention: Mapping[str, Tensor] = field(default_factory=dict)
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    neighbours: Mapping[str, Tensor] = field(default_factory=dict)
    similarities: Mapping[str, Tensor] = field(default_factory=dict)


class FusionModel(nn.Module):
    """Base of all fusion models.

    A model file (``models/<name>.py`` or ``models/baselines/<name>.py``) holds ``Config`` (a
    `ModelConfig`), ``Model`` (a `FusionModel`), ``ROLES`` (role → name of the feature that plays
    it by default, in an order of its own) and ``PRESETS`` (name → function without arguments that
    returns a ``Config``; the first is the default).

    Args:
        config: The model's own configuration.
        inputs: Shape per sample of each role that the data have. A role that the model can do
            without may be absent.
        tasks: What to predict.
    """

    reads_whole_batch: ClassVar[bool] = False
    """Whether a sample's logits depend on the other samples of its batch, so that cutting a batch
    into micro-batches, or over ranks, changes the result."""

    optional_roles: ClassVar[frozenset[str]] = frozenset()
    """Roles that data need not have."""

    def __init__(self, config: Any, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]) -> None:
        super().__init__()
        self.config = config
        self.inputs = dict(inputs)
        self.tasks = tuple(tasks)

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return logits and penalties of a batch; see `FusionOutput`."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for the optimiser: ``params``, and ``name``, ``lr_scale`` where wanted."""
        return [{"name": "all", "params": list(self.parameters())}]

    def prepare_evaluation(self, reference: FusionBatch | None) -> None:
        """Take in what evaluation needs beside the batch, such as a sample of the training data.

        Called in evaluation mode before the first batch. Most models need nothing.
        """

    @property
    def num_reference(self) -> int:
        """How many training samples `prepare_evaluation` wants; 0 for none."""
        return 0

    @property
    def wants_split(self) -> bool:
        """Whether `observe_split` has to be called before a split is evaluated."""
        return False

    def observe_split(self, batches: Iterable[FusionBatch] | None) -> None:
        """Take in the features of a whole split before its first prediction; None: forget it.

        Labels must not be read. Most models need nothing.
        """

    @property
    def wants_validation(self) -> bool:
        """Whether `fit_on_validation` has to be called before the validation split is scored."""
        return False

    def fit_on_validation(self, batches: Iterable[FusionBatch]) -> None:
        """Fit what is chosen on the validation split, and keep it in the state dictionary.

        Called in evaluation mode without gradient after every epoch of training, with all of the
        split and its labels, so that every checkpoint has its own fit; never by evaluation. What
        it sets depends on the weights and the split alone, not on what was fitted before, and
        changes nothing in training mode. Most models need nothing.
        """
