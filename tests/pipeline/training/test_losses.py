"""The loss of several tasks against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.fusion_data import TASKS
from torch.nn import functional

from affectflow.models.batch import FusionOutput, Task
from affectflow.pipeline.errors import ConfigError
from affectflow.pipeline.training.losses import LossConfig, MultiTaskLoss, class_weights

CPU = torch.device("cpu")


def make_loss(**config: object) -> MultiTaskLoss:
    labels = {"mood": np.array([0, 0, 0, 1, -1]), "themes": np.array([[1, 0], [1, 0], [0, 0]])}
    return MultiTaskLoss(LossConfig(**config), TASKS, labels, CPU)


def example(missing: bool = True) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    logits = {
        task.name: torch.randn(6, task.num_outputs, generator=generator, requires_grad=True)
        for task in TASKS
    }
    labels = {
        "mood": torch.tensor([0, 1, 2, -1, 0, -1]),
        "themes": torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]).float(),
        "strength": torch.tensor([0.5, float("nan"), -1, 2, float("nan"), 0]),
    }
    if missing:
        labels["themes"][2] = float("nan")
    return logits, labels


def test_it_is_the_sum_of_each_task_over_its_labelled_rows() -> None:
    logits, labels = example()
    loss = make_loss(task_weights={"themes": 0.5})
    found = loss(FusionOutput(logits), labels, loss.denominators(labels), 1.0)
    mood = functional.cross_entropy(logits["mood"][[0, 1, 2, 4]], labels["mood"][[0, 1, 2, 4]])
    kept = [0, 1, 3, 4, 5]
    themes = functional.binary_cross_entropy_with_logits(
        logits["themes"][kept], labels["themes"][kept]
    )
    rows = [0, 2, 3, 5]
    strength = (logits["strength"][rows, 0] - labels["strength"][rows]).abs().mean()
    torch.testing.assert_close(found.total, mood + 0.5 * themes + strength)
    torch.testing.assert_close(found.tasks["themes"], themes)


def test_missing_labels_give_no_gradient() -> None:
    logits, labels = example()
    loss = make_loss(class_weights="balanced")
    loss(FusionOutput(logits), labels, loss.denominators(labels), 1.0).total.backward()
    gradients = {name: value.grad for name, value in logits.items()}
    for name, holes in {"mood": [3, 5], "themes": [2], "strength": [1, 4]}.items():
        gradient = gradients[name]
        assert gradient is not None
        assert not gradient[holes].any()
        assert gradient[[row for row in range(6) if row not in holes]].any(dim=1).all()


def test_no_label_at_all_gives_zero_and_no_nan() -> None:
    logits, labels = example()
    labels["strength"][:] = float("nan")
    loss = make_loss(regression="mse")
    found = loss(FusionOutput(logits), labels, loss.denominators(labels), 1.0)
    assert torch.isfinite(found.total)
    assert "strength" not in found.tasks


def test_cut_batches_add_up() -> None:
    logits, labels = example()
    loss = make_loss(class_weights="balanced", regression="mse")
    denominators = loss.denominators(labels)
    penalty = {"p": torch.tensor(2.0)}
    whole = loss(FusionOutput(logits, penalty), labels, denominators, 1.0).total
    pieces = []
    for rows in ([0, 1, 2, 3], [4], [5]):
        part = FusionOutput({name: value[rows] for name, value in logits.items()}, penalty)
        chosen = {name: value[rows] for name, value in labels.items()}
        pieces.append(loss(part, chosen, denominators, len(rows) / 6).total)
    torch.testing.assert_close(torch.stack(pieces).sum(), whole)


def test_weights_are_counted_over_present_labels() -> None:
    weights = class_weights(TASKS[0], torch.tensor([0, 0, 0, 1, -1]))
    torch.testing.assert_close(weights, torch.tensor([4 / 9, 4 / 3, 4 / 3]))
    loss = make_loss(class_weights="balanced")
    torch.testing.assert_close(loss.weights["themes"], torch.tensor([0.5, 3.0]))


def test_balanced_cross_entropy_is_the_weighted_mean() -> None:
    logits, labels = example()
    loss = make_loss(class_weights="balanced")
    found = loss(FusionOutput(logits), labels, loss.denominators(labels), 1.0)
    expected = functional.cross_entropy(
        logits["mood"], labels["mood"], weight=loss.weights["mood"], ignore_index=-1
    )
    torch.testing.assert_close(found.tasks["mood"], expected)


def test_a_weight_of_no_task_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no task 'mod'; known: mood"):
        make_loss(task_weights={"mod": 2.0})


def test_a_batch_of_one_keeps_its_axes() -> None:
    task = Task("strength", "regression")
    loss = MultiTaskLoss(LossConfig(), (task,), {}, CPU)
    rows = loss.row_losses(task, torch.tensor([[2.0]]), torch.tensor([0.5]))
    assert rows.tolist() == [1.5]
