"""HIMA against loops and hand computations."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from affectflow.models.batch import FeatureBatch, InputSpec
from affectflow.models.mm_orient_parts.config import HimaConfig
from affectflow.models.mm_orient_parts.hima import (
    HierarchicalAttention,
    InteractiveAttention,
    ModalityAttention,
)


@pytest.fixture(autouse=True)
def _values_only() -> Iterator[None]:
    with torch.no_grad():
        yield


def gelu(value: float) -> float:
    return 0.5 * value * (1 + math.erf(value / math.sqrt(2)))


def score(network: InteractiveAttention, row: Tensor) -> float:
    """Return a_i by the formula, one number at a time."""
    theta = [
        gelu(sum(float(w) * float(x) for w, x in zip(weights, row, strict=True)) + float(bias))
        for weights, bias in zip(
            network.dense.weight.detach(), network.dense.bias.detach(), strict=True
        )
    ]
    if network.context is None:
        return theta[0]
    return sum(t * float(u) for t, u in zip(theta, network.context.detach(), strict=True))


def softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in scores]
    return [value / sum(exponentials) for value in exponentials]


def sequences(lengths: list[int], width: int = 4, longest: int = 5) -> FeatureBatch:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(len(lengths), longest, width, generator=generator)
    counts = torch.tensor(lengths)
    keep = torch.arange(longest) < counts[:, None]
    return FeatureBatch(values * keep[..., None], counts, "padded")


@pytest.mark.parametrize("kind", ["context", "scalar"])
def test_stage_1_against_a_loop(kind: str) -> None:
    torch.manual_seed(0)
    network = InteractiveAttention(4, HimaConfig(score=kind, attn_dim=3))
    feature = sequences([5, 2, 1])
    found = network(feature)
    for row, length in enumerate([5, 2, 1]):
        entries = feature.values[row, :length]
        weights = softmax([score(network, entry) for entry in entries])
        vector = sum(w * entry for w, entry in zip(weights, entries, strict=True))
        torch.testing.assert_close(found.weights[row, :length], torch.tensor(weights))
        torch.testing.assert_close(found.vector[row], vector)
        assert (found.weights[row, length:] == 0).all()
    assert (found.padding == 0).all()


@pytest.mark.parametrize("kind", ["context", "scalar"])
def test_without_masking_padding_has_weight(kind: str) -> None:
    torch.manual_seed(0)
    network = InteractiveAttention(4, HimaConfig(score=kind, attn_dim=3))
    torch.nn.init.constant_(network.dense.bias, 0.3)
    feature = sequences([5, 2, 0])
    found = network(feature, positions=8)
    padded = torch.cat([feature.values, torch.zeros(3, 3, 4)], dim=1)
    for row, length in enumerate([5, 2, 0]):
        weights = softmax([score(network, entry) for entry in padded[row]])
        torch.testing.assert_close(found.weights[row, :length], torch.tensor(weights[:length]))
        assert float(found.padding[row]) == pytest.approx(sum(weights[length:]), rel=1e-5)
        assert float(found.padding[row]) / (8 - length) > 0.01
        vector = sum(w * entry for w, entry in zip(weights, padded[row], strict=True))
        torch.testing.assert_close(found.vector[row], vector)


def test_a_full_sample_has_no_padding_weight() -> None:
    network = InteractiveAttention(4, HimaConfig())
    masked = network(sequences([5, 2]))
    found = network(sequences([5, 2]), positions=5)
    assert float(found.padding[0]) == 0
    torch.testing.assert_close(found.vector[0], masked.vector[0])


def test_stage_2_by_hand() -> None:
    torch.manual_seed(1)
    attention = ModalityAttention(4, HimaConfig(attn_dim=3), positions=5)
    vectors = torch.randn(3, 4)
    bias, beta = attention.batch_bias(vectors, torch.tensor([True, True, True]))
    weights = softmax([score(attention.samples, vector) for vector in vectors])
    torch.testing.assert_close(beta, torch.tensor(weights))
    expected = sum(w * vector for w, vector in zip(weights, vectors, strict=True))
    torch.testing.assert_close(bias, expected)
    bias, beta = attention.batch_bias(vectors, torch.tensor([True, False, True]))
    weights = softmax([score(attention.samples, vectors[row]) for row in (0, 2)])
    torch.testing.assert_close(beta, torch.tensor([weights[0], 0.0, weights[1]]))


def test_joint_attention_has_the_order_of_the_figure() -> None:
    torch.manual_seed(1)
    hima = HierarchicalAttention(HimaConfig(), InputSpec((5, 4)), InputSpec((None, 3)))
    features = {"regions": sequences([5, 2, 4]), "tokens": sequences([1, 3, 5], width=3)}
    joint, stage1, _ = hima.train()(features, "running")
    assert joint.shape == (3, 14)
    v_img, r_img, v_txt, r_txt = joint.split([4, 4, 3, 3], dim=1)
    torch.testing.assert_close(v_img, stage1["regions"].vector)
    torch.testing.assert_close(v_txt, stage1["tokens"].vector)
    present = torch.ones(3, dtype=torch.bool)
    for vectors, bias, part in ((v_img, r_img, hima.regions), (v_txt, r_txt, hima.tokens)):
        expected, _ = part.batch_bias(vectors, present)
        torch.testing.assert_close(bias, expected.expand_as(bias))


def test_shared_stages_have_the_same_parameters() -> None:
    attention = ModalityAttention(4, HimaConfig(stage2_share=True), positions=5)
    assert attention.samples is None
    vectors = torch.randn(3, 4)
    _, beta = attention.batch_bias(vectors, torch.ones(3, dtype=torch.bool))
    alone = attention.entries(FeatureBatch(vectors[None], torch.tensor([3]), "padded"))
    torch.testing.assert_close(beta, alone.weights[0])


def test_shapes_of_a_published_batch() -> None:
    torch.manual_seed(0)
    attention = ModalityAttention(8, HimaConfig(), positions=100).train()
    feature = FeatureBatch(torch.randn(128, 100, 8), torch.full((128,), 100))
    pooled = attention.pool(feature)
    _, beta = attention.batch_bias(pooled.vector, feature.present)
    assert pooled.weights.shape == (128, 100)
    assert beta.shape == (128,)


def test_packed_and_padded_are_the_same() -> None:
    attention = ModalityAttention(4, HimaConfig(stage2=False), positions=9)
    feature = sequences([5, 0, 2])
    expected = attention(feature, "running")[0]
    torch.testing.assert_close(attention(feature.packed(), "running")[0], expected)
    assert (expected[1] == 0).all()


def test_mean_pooling_is_the_mean() -> None:
    attention = ModalityAttention(4, HimaConfig(stage1="mean", stage2=False), positions=9)
    feature = sequences([5, 0, 2])
    found, pooled, notes = attention(feature, "running")
    torch.testing.assert_close(found[2], feature.values[2, :2].mean(0))
    assert (found[1] == 0).all()
    torch.testing.assert_close(pooled.weights.sum(1), torch.tensor([1.0, 0.0, 1.0]))
    assert not notes


def test_entropy_of_uniform_and_of_one_hot_attention() -> None:
    attention = ModalityAttention(4, HimaConfig(attn_dim=1), positions=9).train()
    torch.nn.init.zeros_(attention.entries.context)
    notes = attention(sequences([5, 2, 1]), "running")[2]
    assert float(notes["stage1/entropy"]) == pytest.approx(1)
    torch.nn.init.constant_(attention.entries.context, 1e4)
    torch.nn.init.constant_(attention.samples.context, 1e4)
    notes = attention(sequences([5, 2, 1]), "running")[2]
    assert float(notes["stage1/entropy"]) < 0.02
    assert float(notes["stage2/entropy"]) < 0.02
    assert float(notes["stage2/max_weight"]) > 0.98
    assert float(notes["stage2/bias_norm"]) > 0
