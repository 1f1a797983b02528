"""Running a model over a split: logits of every sample, losses, diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from affectflow.models.batch import FusionBatch, FusionModel, FusionOutput, Task

from .losses import MultiTaskLoss
from .meter import Meter
from .precision import PrecisionName, autocast, placed

if TYPE_CHECKING:
    from .column import Layout
    from .data import SplitData


@dataclass(frozen=True, slots=True)
class SplitOutput:
    """What a model says of N samples, in the order of the split's batches.

    Attributes:
        keys: N keys.
        logits: By task, (N, outputs) float32.
        labels: By task, as in `FusionBatch`, for tasks the data has.
        attention: By role, N arrays (length,) float32, when asked for.
        losses: ``loss``, ``loss/<task>`` means over labelled rows; empty without a loss.
        means: Penalties and diagnostics, averaged over samples.
        neighbours: By graph, for each sample the rows of its strongest neighbours with their
            cosines, strongest first, when attention is asked for and the model says them.
    """

    keys: tuple[str, ...]
    logits: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    attention: dict[str, list[np.ndarray]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    neighbours: dict[str, list[list[tuple[int, float]]]] = field(default_factory=dict)


def prepare_evaluation(
    model: FusionModel, train: SplitData | None, seed: int, device: torch.device, layout: Layout
) -> None:
    """Switch to evaluation mode and give the model its sample of the training split.

    The sample is a function of ``seed`` and the split's size; without augmented copies.

    Args:
        model: The model.
        train: The training split; None when it was not opened, then the model gets none.
        seed: Of the training.
        device: Where the model is.
        layout: Of ragged features.
    """
    model.eval()
    count = model.num_reference
    if count == 0 or train is None:
        model.prepare_evaluation(None)
        return
    generator = np.random.default_rng([seed, count])
    # One sample per family: a copy of a sample tells nothing new.
    originals = np.unique(train.families, return_index=True)[1]
    rows = np.sort(generator.permutation(originals)[:count])
    with torch.no_grad():
        model.prepare_evaluation(placed(train.batch(rows, layout=layout), device))


@torch.no_grad()
def run_batches(
    model: FusionModel,
    batches: Iterable[FusionBatch],
    tasks: Iterable[Task],
    device: torch.device,
    precision: PrecisionName = "fp32",
    loss: MultiTaskLoss | None = None,
    keep_attention: bool = False,
) -> SplitOutput:
    """Return the model's output for all batches; `prepare_evaluation` goes before."""
    names = [task.name for task in tasks]
    keys: list[str] = []
    logits: dict[str, list[np.ndarray]] = {name: [] for name in names}
    labels: dict[str, list[np.ndarray]] = {name: [] for name in names}
    attention: dict[str, list[np.ndarray]] = {}
    neighbours: dict[str, list[list[tuple[int, float]]]] = {}
    losses, means = Meter(), Meter()
    for batch in batches:
        moved = placed(batch, device)
        with autocast(device, precision):
            output = model(moved)
        keys.extend(batch.keys)
        for name in names:
            logits[name].append(output.logits[name].float().cpu().numpy())
            if name in batch.labels:
                labels[name].append(batch.labels[name].numpy())
        for name, value in {**output.penalties, **output.diagnostics}.items():
            means.add(name, value, len(batch))
        if loss is not None:
            _add_losses(losses, loss, output.logits, moved)
        if keep_attention:
            for role, weights in output.attention.items():
                lengths = moved.features[role].lengths.tolist()
                rows = zip(weights.float().cpu().numpy(), lengths, strict=True)
                attention.setdefault(role, []).extend(row[:length] for row, length in rows)
            for graph, of_batch in _neighbours(output, len(keys) - len(batch)).items():
                neighbours.setdefault(graph, []).extend(of_batch)
    return SplitOutput(
        tuple(keys),
        {name: np.concatenate(parts) for name, parts in logits.items() if parts},
        {name: np.concatenate(parts) for name, parts in labels.items() if parts},
        attention,
        _total(losses.means(), loss),
        means.means(),
        neighbours,
    )


def _neighbours(output: FusionOutput, first: int) -> dict[str, list[list[tuple[int, float]]]]:
    """Return the neighbours of a batch as rows of the split; ``first`` is the batch's own."""
    found = {}
    for graph, positions in output.neighbours.items():
        pairs = zip(positions.tolist(), output.similarities[graph].tolist(), strict=True)
        found[graph] = [
            [(first + row, cosine) for row, cosine in zip(*pair, strict=True) if row >= 0]
            for pair in pairs
        ]
    return found


def _add_losses(
    meter: Meter, loss: MultiTaskLoss, logits: Mapping[str, torch.Tensor], batch: FusionBatch
) -> None:
    denominators = loss.denominators(batch.labels)
    for task, denominator in zip(loss.tasks, denominators, strict=True):
        rows = loss.row_losses(task, logits[task.name], batch.labels[task.name])
        if len(rows):
            meter.add(f"loss/{task.name}", rows.double().sum() / denominator, denominator)


def _total(means: dict[str, float], loss: MultiTaskLoss | None) -> dict[str, float]:
    if loss is None:
        return {}
    weights = loss.config.task_weights
    parts = (value * weights.get(name.removeprefix("loss/"), 1.0) for name, value in means.items())
    return {"loss": sum(parts), **means}
