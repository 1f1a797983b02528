"""Attention against a loop over every query and patch, gradients, memory."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from affectflow.models.vision.contextual_attention import (  # noqa: E402
    AttentionRules,
    ContextualAttention,
    halve,
    mask_positions,
)
from affectflow.models.vision.deepfillv2 import PRESETS  # noqa: E402

RULES = {**{name: preset.attention for name, preset in PRESETS.items()}}
RULES["two_step"] = replace(RULES["A"], mask_index="two_step_align_corners")


def features_and_masks(batch=2, channels=3, height=12, width=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, channels, height, width, generator=generator, dtype=dtype) * 0.2
    masks = torch.zeros(batch, 1, 4 * height, 4 * width, dtype=dtype)
    for item in range(batch):
        top, left = 5 + 9 * item, 30 - 17 * item
        masks[item, :, top : top + 14, left : left + 19] = 1
    return features, masks


def patch(grid, row, column, before, size):
    """Cut a square out of (C, h, w), zero outside."""
    channels, height, width = grid.shape
    cut = np.zeros((channels, size, size))
    for i, j in itertools.product(range(size), repeat=2):
        y, x = row - before + i, column - before + j
        if 0 <= y < height and 0 <= x < width:
            cut[:, i, j] = grid[:, y, x]
    return cut


def exact_positions(size, count):
    """Round half up where corners are aligned, in exact arithmetic."""
    if count == 1:
        return [0]
    return [(2 * i * (size - 1) + count - 1) // (2 * (count - 1)) for i in range(count)]


def naive_positions(rule, size, count):
    if rule == "image_floor":
        return [8 * i for i in range(count)]
    if rule == "image_align_corners":
        return exact_positions(size, count)
    first = exact_positions(size, size // 4)
    return [first[i] for i in exact_positions(size // 4, count)]


def naive_blocked(mask, rows, columns, rule):
    small = np.zeros((1, rows, columns))
    for i, j in itertools.product(range(rows), range(columns)):
        if rule == "any_pixel":
            small[0, i, j] = mask[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].any()
        else:
            y = naive_positions(rule, mask.shape[0], rows)[i]
            x = naive_positions(rule, mask.shape[1], columns)[j]
            small[0, i, j] = mask[y, x] != 0
    places = itertools.product(range(rows), range(columns))
    return np.array([patch(small, i, j, 1, 3).any() for i, j in places])


def diagonal(scores):
    out = scores.copy()
    for p, q in itertools.product(range(len(scores)), repeat=2):
        for step in (-1, 1):
            if 0 <= p + step < len(scores) and 0 <= q + step < len(scores):
                out[p, q] += scores[p + step, q + step]
    return out


def naive(grid, mask, rules):
    """Follow the definition, one query and one patch at a time, in float64."""
    channels, height, width = grid.shape
    rows, columns = height // 2, width // 2
    pick = exact_positions if rules.index == "align_corners" else lambda n, m: range(0, n, 2)
    half = grid[:, list(pick(height, rows))][:, :, list(pick(width, columns))]
    places = list(itertools.product(range(rows), range(columns)))
    cuts = [patch(half, i, j, 1, 3) for i, j in places]
    if rules.norm == "clamp":
        norms = [max(math.sqrt((cut**2).sum()), 1e-4) for cut in cuts]
    else:
        norms = [math.sqrt((cut**2 + 1e-4).sum()) for cut in cuts]
    scores = np.array([[(w * x).sum() / n for x in cuts] for w, n in zip(cuts, norms, strict=True)])
    if rules.fuse:
        order = [i * columns + j for j in range(columns) for i in range(rows)]
        scores = diagonal(scores)[np.ix_(order, order)]
        scores = diagonal(scores)[np.ix_(np.argsort(order), np.argsort(order))]
    blocked = naive_blocked(mask, rows, columns, rules.mask_index)
    if rules.mask_mode == "exclude":
        if blocked.all():
            return np.zeros_like(grid)
        scores = np.where(blocked[:, None], -np.inf, scores)
    else:
        scores = np.where(blocked[:, None], 0, scores)
    weights = np.exp(rules.scale * (scores - scores.max(axis=0)))
    weights /= weights.sum(axis=0)
    weights[blocked] = 0
    out, count = np.zeros((channels, height, width)), np.zeros((height, width))
    for q, (i, j) in enumerate(places):
        whole = sum(
            weights[p, q] * patch(grid, 2 * k, 2 * m, 1, 4) for p, (k, m) in enumerate(places)
        )
        for a, b in itertools.product(range(4), repeat=2):
            y, x = 2 * i - 1 + a, 2 * j - 1 + b
            if 0 <= y < height and 0 <= x < width:
                out[:, y, x] += whole[:, a, b]
                count[y, x] += 1
    return out / (count if rules.overlap == "count" else 4)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_equals_a_naive_loop(name, fuse):
    rules = replace(RULES[name], fuse=fuse)
    features, masks = features_and_masks()
    out, all_masked = ContextualAttention(rules)(features, masks)
    for item in range(2):
        wanted = naive(features[item].double().numpy(), masks[item, 0].numpy(), rules)
        np.testing.assert_allclose(out[item].numpy(), wanted, rtol=0, atol=3e-6)
    assert not all_masked.any()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("rows_at_a_time", [1, 2, 5, 7, 47])
def test_chunks_change_nothing(name, rows_at_a_time):
    features, masks = features_and_masks()
    whole, _ = ContextualAttention(RULES[name])(features, masks)
    chunk_bytes = rows_at_a_time * features.shape[0] * 48 * 4
    cut, _ = ContextualAttention(RULES[name], chunk_bytes=chunk_bytes)(features, masks)
    np.testing.assert_allclose(cut.numpy(), whole.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", RULES)
def test_a_batch_equals_one_by_one(name):
    features, masks = features_and_masks(batch=3)
    masks[1] = 1
    attention = ContextualAttention(RULES[name])
    out, all_masked = attention(features, masks)
    assert all_masked.tolist() == [False, True, False]
    for item in range(3):
        alone, _ = attention(features[item : item + 1], masks[item : item + 1])
        np.testing.assert_allclose(alone[0].numpy(), out[item].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("mask", ["empty", "full", "border", "frame"])
def test_no_mask_gives_what_is_not_a_number(name, mask):
    features, masks = features_and_masks()
    masks.fill_(0)
    if mask == "full":
        masks.fill_(1)
    elif mask == "border":
        masks[:, :, :9] = 1
    elif mask == "frame":
        masks[:, :, :, [0, -1]] = masks[:, :, [0, -1]] = 1
    features.requires_grad_()
    out, all_masked = ContextualAttention(RULES[name])(features, masks)
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(features.grad).all()
    assert all_masked.all() == (mask == "full")
    assert out.any() == (mask != "full")


@pytest.mark.parametrize("name", RULES)
def test_zero_features_are_finite(name):
    features = torch.zeros(1, 2, 8, 8, requires_grad=True)
    out, _ = ContextualAttention(RULES[name])(features, None)
    out.sum().backward()
    assert torch.isfinite(features.grad).all()


def test_one_position_is_the_smallest_grid():
    features = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    for rules in RULES.values():
        out, _ = ContextualAttention(rules)(features, torch.zeros(1, 1, 8, 8))
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", ["A", "B", "C", "D", "own"])
def test_gradients(name):
    features, masks = features_and_masks(1, 2, 4, 6, dtype=torch.float64)
    masks.fill_(0)
    masks[:, :, :3, :3] = 1
    attention = ContextualAttention(RULES[name], chunk_bytes=5 * 6 * 8)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention(x, masks)[0], (features,))


def test_thin_strokes_are_seen_by_the_correct_rule_only():
    features, masks = features_and_masks()
    masks.fill_(0)
    masks[:, :, 3, :] = 1
    assert not ContextualAttention(RULES["B"]).blocked(features, masks).any()
    assert ContextualAttention(AttentionRules()).blocked(features, masks).any()


def test_halving_and_mask_positions():
    row = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 2, 16)
    assert halve(row, "align_corners")[0, 0, 0].tolist() == [0, 2, 4, 6, 9, 11, 13, 15]
    assert halve(row, "floor")[0, 0, 0].tolist() == list(range(0, 16, 2))
    some = [3, 4, 5, 7]
    assert mask_positions("image_align_corners", 32)[some].tolist() == [25, 33, 41, 58]
    assert mask_positions("two_step_align_corners", 32)[some].tolist() == [24, 32, 40, 57]
    assert mask_positions("image_floor", 3).tolist() == [0, 8, 16]


def test_sizes_that_do_not_fit_are_refused():
    attention = ContextualAttention(max_positions=100)
    with pytest.raises(ValueError, match="mask is"):
        attention(torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="even size"):
        attention(torch.zeros(1, 2, 7, 8), None)
    # Refused by arithmetic alone: this would be 4 terabytes of scores.
    huge = torch.zeros(1, 1, 1, 1).expand(1, 1, 2048, 2048)
    with pytest.raises(ValueError, match="1048576 positions passes the limit of 100"):
        attention(huge, None)


def test_memory_of_a_large_picture_is_bounded():
    # 896 x 896 pixels: a full matrix of scores has 630 MB, and unchunked five live at once.
    torch.manual_seed(0)
    features = torch.randn(1, 4, 224, 224)
    mask = torch.zeros(1, 1, 896, 896)
    mask[:, :, 200:400, 100:700] = 1
    attention = ContextualAttention(chunk_bytes=8 * 2**20)
    process = psutil.Process()
    before, peak, done = process.memory_info().rss, [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with torch.inference_mode():
            out, _ = attention(features, mask)
    finally:
        done.set()
        watcher.join()
    assert torch.isfinite(out).all()
    assert peak[0] - before < 800 * 2**20


def test_the_yardstick_of_the_benchmark_computes_the_same():
    from benchmarks.plain_attention import PlainAttention

    features, masks = features_and_masks()
    ours, _ = ContextualAttention(RULES["B"])(features, masks)
    plain, _ = PlainAttention(RULES["B"])(features, masks)
    np.testing.assert_allclose(plain.numpy(), ours.numpy(), rtol=0, atol=2e-6)
