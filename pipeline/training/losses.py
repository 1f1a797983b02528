"""The loss of several tasks: missing labels skipped, exact over micro-batches and ranks.

A batch's loss is the sum over tasks of weight × mean over the labelled rows of the *global* batch,
plus the model's penalties. The rows are counted before the first forward pass, so micro-batches
and ranks only add their shares: no mean of means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from affectflow.models.batch import MISSING_CLASS, FusionOutput, Task

from ..config import Config
from ..errors import ConfigError


class LossConfig(Config):
    """What is minimised.

    Attributes:
        regression: Absolute or squared error.
        class_weights: ``balanced`` weighs a class by N / (C · its rows), and a positive label of a
            multilabel task by negatives / positives; counted on the training split alone.
        task_weights: Factor by task, at least 0, 1 where not named.
    """

    regression: Literal["l1", "mse"] = "l1"
    class_weights: Literal["none", "balanced"] = "none"
    task_weights: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}


@dataclass(frozen=True, slots=True)
class Loss:
    """The share that some rows have in the loss of their global batch.

    Attributes:
        total: Scalar with gradient.
        tasks: Unweighted loss by task, scalars with gradient.
        penalties: By name, scalars with gradient.
    """

    total: Tensor
    tasks: dict[str, Tensor]
    penalties: dict[str, Tensor]


def labelled(task: Task, labels: Tensor) -> Tensor:
    """Return (B,) bool: whether a row has a label of this task."""
    if task.kind == "classification":
        return labels != MISSING_CLASS
    if task.kind == "multilabel":
        return ~labels.isnan().any(dim=1)
    return ~labels.isnan()


class MultiTaskLoss:
    """Computes `Loss`.

    Args:
        config: What is minimised.
        tasks: The tasks.
        train_labels: Labels of the training split by task, for class weights.
        device: Where logits and labels lie.

    Raises:
        ConfigError: A weight names no task.
    """

    def __init__(
        self,
        config: LossConfig,
        tasks: Sequence[Task],
        train_labels: Mapping[str, np.ndarray],
        device: torch.device,
    ) -> None:
        names = [task.name for task in tasks]
        if unknown := sorted(set(config.task_weights) - set(names)):
            known = ", ".join(names)
            raise ConfigError(f"loss.task_weights names no task '{unknown[0]}'; known: {known}")
        self.config, self.tasks = config, tuple(tasks)
        self.weights: dict[str, Tensor] = {}
        if config.class_weights == "balanced":
            for task in tasks:
                if task.kind != "regression":
                    weights = class_weights(task, torch.as_tensor(train_labels[task.name]))
                    self.weights[task.name] = weights.to(device)

    def denominators(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Return (tasks,) float64: what each task's sum is divided by, additive over rows."""
        found = []
        for task in self.tasks:
            present = labels[task.name][labelled(task, labels[task.name])]
            weights = self.weights.get(task.name)
            if task.kind == "classification" and weights is not None:
                found.append(weights[present].sum())
            else:
                found.append(torch.tensor(len(present), device=present.device))
        return torch.stack([value.double() for value in found])

    def __call__(
        self,
        output: FusionOutput,
        labels: Mapping[str, Tensor],
        denominators: Tensor,
        share: float,
    ) -> Loss:
        """Return the share of these rows.

        Args:
            output: The model's output for B rows.
            labels: By task.
            denominators: Of the global batch, see `denominators`.
            share: B over the rows of the global batch; penalties, which are means over samples,
                count by it.
        """
        tasks: dict[str, Tensor] = {}
        total = torch.zeros((), device=denominators.device)
        for task, denominator in zip(self.tasks, denominators.float(), strict=True):
            rows = self.row_losses(task, output.logits[task.name], labels[task.name])
            if len(rows):
                tasks[task.name] = rows.sum() / denominator
                total = total + self.config.task_weights.get(task.name, 1.0) * tasks[task.name]
        penalties = {name: value.float() * share for name, value in output.penalties.items()}
        return Loss(total + sum(penalties.values()), tasks, penalties)

    def row_losses(self, task: Task, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each labelled row, weighted by its class: (labelled rows,) float32."""
        where = labelled(task, labels)
        logits, labels = logits[where].float(), labels[where]
        weights = self.weights.get(task.name)
        if task.kind == "classification":
            return functional.cross_entropy(logits, labels, weight=weights, reduction="none")
        if task.kind == "multilabel":
            rows = functional.binary_cross_entropy_with_logits(
                logits, labels, reduction="none", pos_weight=weights
            )
            return rows.mean(dim=1)
        error = logits.squeeze(1) - labels
        return error.abs() if self.config.regression == "l1" else error.square()


def class_weights(task: Task, labels: Tensor) -> Tensor:
    """Return (C,) float32: the balanced weights of a task's classes in these labels.

    A class that never occurs counts as occurring once.
    """
    present = labels[labelled(task, labels)]
    if task.kind == "multilabel":
        positive = present.sum(dim=0).double()
        return ((len(present) - positive) / positive.clamp(min=1)).float()
    counts = torch.bincount(present.long(), minlength=len(task.classes)).double()
    return (len(present) / (len(task.classes) * counts.clamp(min=1))).float()
