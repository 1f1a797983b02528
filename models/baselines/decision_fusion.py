"""Decision-level fusion: each modality decides for itself, then the decisions are averaged.

```
tokens ── mean ── perceptron ──► p_txt ─┐
                                        ├── Σ_m w_m p_m ──► log ──► logits per task
regions ─ mean ── perceptron ──► p_img ─┘
```

``B`` samples, ``C`` outputs of a task, ``m`` modalities. The published rule is unknown; ours is the
mean of class probabilities. Options: the mean of logits; weights that are learned with the model,
or fitted on the validation split after every epoch (`fit_weights`), while training goes on with
equal ones. Scores on validation are then of the samples that the weights were fitted on.

The logits returned are log Σ w p for classes, log-odds of Σ w σ for independent labels, and the
mean itself for a number, so that the usual losses read them rightly. A modality that a sample
lacks has no say in it; without any, all heads speak of a zero vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import logsigmoid

from ..batch import FusionBatch, FusionModel, FusionOutput, InputSpec, ModelConfig, Task
from ..layers.masked import masked_mean
from ..layers.task_heads import TaskHeads

ROLES = {"tokens": "bert", "regions": "regions"}


class Config(ModelConfig):
    """A perceptron per modality and task, and how their decisions are joined.

    Attributes:
        hidden: Widths of the hidden layers of every perceptron.
        dropout: After each hidden layer.
        mean: Of ``probabilities``, or of ``logits``.
        weights: ``equal``, until `Model.set_weights` says otherwise; ``learned``: with the model;
            ``fitted``: on the validation split, for evaluation alone.
    """

    hidden: tuple[int, ...] = (512,)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    mean: Literal["probabilities", "logits"] = "probabilities"
    weights: Literal["equal", "learned", "fitted"] = "equal"


def mean_probability() -> Config:
    """Return the mean of probabilities: ``pipeline train decision_fusion --dataset memotion``.

    Published on Memotion (sentiment, humour, sarcasm, offensive, motivation): 46.19, 36.81,
    45.65, 40.77, 62.66 micro-F1.
    """
    return Config()


def mean_logit() -> Config:
    """Return the mean of logits.

    ``pipeline train decision_fusion --dataset memotion --preset mean_logit``; expected: unknown.
    """
    return Config(mean="logits")


def learned_weights() -> Config:
    """Return a learned mean.

    ``pipeline train decision_fusion --dataset memotion --preset learned_weights``; expected
    number: unknown.
    """
    return Config(weights="learned")


def fitted_weights() -> Config:
    """Return a mean whose weights are fitted on the validation split.

    ``pipeline train decision_fusion --dataset memotion --preset fitted_weights``; expected
    number: unknown.
    """
    return Config(weights="fitted")


PRESETS = {
    "mean_probability": mean_probability,
    "mean_logit": mean_logit,
    "learned_weights": learned_weights,
    "fitted_weights": fitted_weights,
}


def combine(logits: Tensor, weights: Tensor, kind: str, mean: str = "probabilities") -> Tensor:
    """Join the decisions of modalities.

    Args:
        logits: (m, B, C).
        weights: (m, B), summing to 1 over m.
        kind: Of the task.
        mean: ``probabilities`` or ``logits``.

    Returns:
        (B, C) logits; see the file's docstring.
    """
    weights = weights[:, :, None].to(logits.dtype)
    if kind == "regression" or mean == "logits":
        return (weights * logits).sum(0)
    log_weights = weights.clamp(min=torch.finfo(logits.dtype).tiny).log()
    if kind == "classification":
        return torch.logsumexp(log_weights + logits.log_softmax(-1), dim=0)
    yes = torch.logsumexp(log_weights + logsigmoid(logits), dim=0)
    no = torch.logsumexp(log_weights + logsigmoid(-logits), dim=0)
    return yes - no


def present_weights(shares: Tensor, present: Tensor) -> Tensor:
    """Return shares (m,) for each sample, (m, B), given to the modalities it has (m, B)."""
    given = shares[:, None] * present
    total = given.sum(0)
    even = torch.full_like(given, 1 / len(given))
    return torch.where(total > 0, given / total.clamp(min=1e-12), even)


class Model(FusionModel):
    """Mean token and mean region, a perceptron each per task, and the mean of what they say."""

    raw_weights: Tensor

    def __init__(
        self, config: Config, inputs: Mapping[str, InputSpec], tasks: Sequence[Task]
    ) -> None:
        super().__init__(config, inputs, tasks)
        self.voices = nn.ModuleDict(
            {
                role: TaskHeads(inputs[role].width, tasks, config.hidden, config.dropout)
                for role in ROLES
            }
        )
        # Softmax of these are the weights, so that they stay on the simplex.
        raw = torch.zeros(len(tasks), len(ROLES))
        if config.weights == "learned":
            self.raw_weights = nn.Parameter(raw)
        else:
            self.register_buffer("raw_weights", raw)

    @property
    def weights(self) -> Tensor:
        """(tasks, m) shares of each modality, in the order of `ROLES`.

        Fitted ones have no say in training: it would learn from the validation split.
        """
        if self.training and self.config.weights == "fitted":
            return torch.full_like(self.raw_weights, 1 / len(ROLES))
        return self.raw_weights.softmax(-1)

    @torch.no_grad()
    def set_weights(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Set the shares of some tasks, for example those that `fit_weights` found on validation.

        Args:
            weights: By task, one share per modality in the order of `ROLES`, summing to 1.

        Raises:
            ValueError: Shares that are not on the simplex, or not one per modality.
        """
        names = [task.name for task in self.tasks]
        for name, shares in weights.items():
            values = torch.as_tensor(shares, dtype=self.raw_weights.dtype)
            off = values.shape != (len(ROLES),) or bool((values < 0).any())
            if off or abs(float(values.sum()) - 1) > 1e-4:
                raise ValueError(
                    f"shares of {name} are {list(shares)}: give one per modality "
                    f"({', '.join(ROLES)}), none negative, summing to 1"
                )
            self.raw_weights[names.index(name)] = values.clamp(min=1e-12).log()

    @property
    def wants_validation(self) -> bool:
        """Whether the shares are those that suit the validation split best."""
        return bool(self.config.weights == "fitted")

    @torch.no_grad()
    def fit_on_validation(self, batches: Iterable[FusionBatch]) -> None:
        """Set the shares of every task to those with the least loss on these labelled samples."""
        if not self.wants_validation:
            return
        said: dict[str, list[Tensor]] = {task.name: [] for task in self.tasks}
        labels: dict[str, list[Tensor]] = {task.name: [] for task in self.tasks}
        present = []
        for batch in batches:
            found, there = self.decisions(batch)
            present.append(there.cpu())
            for name in said:
                said[name].append(found[name].cpu())
                labels[name].append(batch.labels[name].cpu())
        fitted = {
            task.name: fit_weights(
                torch.cat(said[task.name], dim=1),
                torch.cat(present, dim=1),
                torch.cat(labels[task.name]),
                task,
                self.config.mean,
            )
            for task in self.tasks
        }
        self.set_weights(fitted)

    def decisions(self, batch: FusionBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Return each task's logits by modality, (m, B, C), and who has which, (m, B) bool."""
        said = [voice(masked_mean(batch.features[role])) for role, voice in self.voices.items()]
        stacked = {
            task.name: torch.stack([logits[task.name] for logits in said]) for task in self.tasks
        }
        return stacked, torch.stack([batch.features[role].present for role in self.voices])

    def forward(self, batch: FusionBatch) -> FusionOutput:
        """Return joined logits per task, and each modality's share as a diagnostic."""
        said, present = self.decisions(batch)
        logits, notes = {}, {}
        for task, shares in zip(self.tasks, self.weights, strict=True):
            weights = present_weights(shares, present)
            logits[task.name] = combine(said[task.name], weights, task.kind, self.config.mean)
            for role, share in zip(ROLES, shares.detach(), strict=True):
                notes[f"weight/{task.name}/{role}"] = share
        return FusionOutput(logits, diagnostics=notes)


def fit_weights(
    decisions: Tensor,
    present: Tensor,
    labels: Tensor,
    task: Task,
    mean: Literal["probabilities", "logits"] = "probabilities",
) -> list[float]:
    """Fit a task's shares on data that the model was not trained on, such as validation.

    The joined decision's loss is minimised over the simplex, where it is convex.

    Args:
        decisions: (m, B, C) logits of each modality; see `Model.decisions`.
        present: (m, B) bool.
        labels: (B,) or (B, C), missing ones marked as `FusionBatch` does.
        task: Whose they are.
        mean: What is averaged.

    Returns:
        One share per modality, summing to 1; equal ones where no sample has a label.
    """
    raw = torch.zeros(len(decisions), dtype=torch.float64, requires_grad=True)
    known = labels >= 0 if task.kind == "classification" else ~labels.isnan()
    said, labels = decisions.detach().double(), labels.detach()
    optimiser = torch.optim.LBFGS([raw], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        joined = combine(said, present_weights(raw.softmax(0), present), task.kind, mean)
        value = decision_loss(joined, labels, known, task.kind)
        value.backward()
        return value

    if bool(known.any()):
        with torch.enable_grad():
            optimiser.step(loss)
    return [float(share) for share in raw.detach().softmax(0)]


def decision_loss(logits: Tensor, labels: Tensor, known: Tensor, kind: str) -> Tensor:
    """Return the mean loss over known labels: cross-entropy, or the squared error of numbers."""
    if kind == "classification":
        return functional.cross_entropy(logits[known], labels[known])
    if kind == "multilabel":
        return functional.binary_cross_entropy_with_logits(
            logits[known], labels[known].to(logits.dtype)
        )
    return functional.mse_loss(logits[known, 0], labels[known].to(logits.dtype))
