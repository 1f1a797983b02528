"""Masked softmax, mean and entropy at their edges."""

from __future__ import annotations

import math

import pytest
import torch

from affectflow.models.batch import FeatureBatch
from affectflow.models.layers.masked import masked_mean, masked_softmax, normalised_entropy


def test_softmax_over_valid_entries() -> None:
    scores = torch.tensor([[1.0, 2.0, 50.0], [3.0, 1.0, 1.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(scores, mask)
    first = 1 / (1 + math.e)
    torch.testing.assert_close(weights[0], torch.tensor([first, 1 - first, 0.0]))
    assert weights[0, 2] == 0
    assert (weights[1] == 0).all()
    (weights * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_softmax_is_computed_in_float32_at_least(dtype: torch.dtype) -> None:
    weights = masked_softmax(torch.zeros(1, 3, dtype=dtype), torch.ones(1, 3, dtype=torch.bool))
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert weights.dtype == expected


def test_mean_in_every_layout() -> None:
    values = torch.tensor([[[2.0], [4.0], [0.0]], [[0.0], [0.0], [0.0]], [[1.0], [2.0], [6.0]]])
    feature = FeatureBatch(values, torch.tensor([2, 0, 3]), "padded")
    expected = torch.tensor([[3.0], [0.0], [3.0]])
    torch.testing.assert_close(masked_mean(feature), expected)
    torch.testing.assert_close(masked_mean(feature.packed()), expected)
    fixed = FeatureBatch(values, torch.tensor([2, 0, 3]), "fixed")
    torch.testing.assert_close(masked_mean(fixed), expected)
    vector = FeatureBatch(torch.tensor([[1.0], [9.0]]), torch.tensor([1, 0]))
    assert masked_mean(vector).tolist() == [[1.0], [0.0]]


def test_entropy_is_of_the_valid_entries() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    assert normalised_entropy(weights, mask).tolist() == [pytest.approx(1.0), 0.0]
