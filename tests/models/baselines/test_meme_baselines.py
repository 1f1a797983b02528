"""Rules of the plain models that the contract does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from support.fusion_batches import (
    TASKS,
    example_lengths,
    inputs_of,
    lacking,
    make_batch,
    small_model,
)

from affectflow.models.baselines import clip_head, decision_fusion, feature_fusion
from affectflow.models.baselines.decision_fusion import (
    combine,
    decision_loss,
    fit_weights,
    present_weights,
)
from affectflow.models.batch import FusionBatch, InputSpec, Task

NAME = "decision_fusion"


def batch_of(name: str, num: int = 5, seed: int = 0) -> FusionBatch:
    inputs = inputs_of(name)
    return make_batch(inputs, example_lengths(inputs, num, seed), TASKS, seed)


def test_the_trunk_of_feature_fusion_is_the_published_one() -> None:
    inputs = {"tokens": InputSpec((None, 768)), "regions": InputSpec((100, 2048))}
    with torch.device("meta"):
        model = feature_fusion.Model(feature_fusion.concatenation(), inputs, TASKS)
    shapes = [tuple(p.shape) for p in model.trunk.parameters()]
    assert shapes == [(4618, 2816), (4618,), (2048, 4618), (2048,)]


def test_clip_head_reads_what_it_says() -> None:
    batch = batch_of("clip_head")
    without_image = lacking(batch, "e_img", range(5))
    text = small_model("clip_head", "text_only")
    assert torch.equal(text(batch).logits["tags"], text(without_image).logits["tags"])
    image = small_model("clip_head", "image_only")
    assert not torch.equal(image(batch).logits["tags"], image(without_image).logits["tags"])
    both = small_model("clip_head", "interaction")
    assert both.heads.heads[0][0].in_features == 4 * 8


def test_clip_head_says_what_it_lacks() -> None:
    inputs = {"e_img": InputSpec((8,)), "e_txt": InputSpec((6,))}
    with pytest.raises(ValueError, match=r"one width.*model\.product=false"):
        clip_head.Model(clip_head.interaction(), inputs, TASKS)
    with pytest.raises(ValueError, match=r"lack e_txt"):
        clip_head.Model(clip_head.linear_probe(), {"e_img": InputSpec((8,))}, TASKS)
    with pytest.raises(ValidationError, match="compare image and text"):
        clip_head.Config(use=("e_img",), product=True)


def test_probabilities_are_averaged() -> None:
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[0.25], [0.75]]).expand(2, 4)
    mean = 0.25 * logits[0].softmax(-1) + 0.75 * logits[1].softmax(-1)
    torch.testing.assert_close(combine(logits, weights, "classification").softmax(-1), mean)
    mean = 0.25 * logits[0].sigmoid() + 0.75 * logits[1].sigmoid()
    torch.testing.assert_close(combine(logits, weights, "multilabel").sigmoid(), mean)
    mean = 0.25 * logits[0] + 0.75 * logits[1]
    torch.testing.assert_close(combine(logits, weights, "regression"), mean)
    torch.testing.assert_close(combine(logits, weights, "classification", "logits"), mean)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[200.0, -200.0]], [[-200.0, 200.0]]], requires_grad=True)
    for kind in ("classification", "multilabel"):
        out = combine(logits, torch.tensor([[1.0], [0.0]]), kind)
        assert out.isfinite().all()
        out.sum().backward()
        assert logits.grad.isfinite().all()


def test_a_missing_modality_has_no_say() -> None:
    shares = torch.tensor([0.2, 0.8])
    present = torch.tensor([[True, True, False, False], [True, False, True, False]])
    found = present_weights(shares, present)
    expected = torch.tensor([[0.2, 1.0, 0.0, 0.5], [0.8, 0.0, 1.0, 0.5]])
    torch.testing.assert_close(found, expected)
    model = small_model(NAME, "mean_probability")
    batch = lacking(batch_of(NAME), "regions", [1])
    said, _ = model.decisions(batch)
    alone = said["sentiment"][0, 1].log_softmax(-1)
    torch.testing.assert_close(model(batch).logits["sentiment"][1], alone)


def test_weights_are_set_checked_saved_and_learned() -> None:
    model = small_model(NAME, "mean_probability")
    assert not any("weights" in name for name, _ in model.named_parameters())
    model.set_weights({"tags": [0.9, 0.1]})
    torch.testing.assert_close(model.weights[1], torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(model.weights[0], torch.tensor([0.5, 0.5]))
    again = small_model(NAME, "mean_probability")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.weights, model.weights)
    for wrong in ([0.9, 0.2], [1.1, -0.1], [1.0]):
        with pytest.raises(ValueError, match="summing to 1"):
            model.set_weights({"tags": wrong})
    learned = small_model(NAME, "learned_weights").train()
    learned(batch_of(NAME)).logits["sentiment"][:, 0].sum().backward()
    assert learned.raw_weights.grad[0].any()
    shares = learned(batch_of(NAME)).diagnostics
    assert float(shares["weight/tags/tokens"]) == 0.5


def fitted(task: Task, decisions: torch.Tensor, labels: torch.Tensor) -> list[float]:
    return fit_weights(decisions, torch.ones(2, len(labels), dtype=torch.bool), labels, task)


def test_fitting_finds_the_modality_that_knows() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 60, 3, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    task = Task("t", "classification", ("a", "b", "c"))
    decisions = noise.clone()
    decisions[1] += 6 * torch.nn.functional.one_hot(labels, 3)
    assert fitted(task, decisions, labels)[1] > 0.95
    # Unlabelled samples have no say.
    hidden = torch.where(torch.arange(60) < 30, labels, -1)
    assert fitted(task, decisions, hidden)[1] > 0.95
    assert fitted(task, decisions, torch.full((60,), -1)) == [0.5, 0.5]


def test_fitted_shares_are_the_best_of_a_grid() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randn(200, generator=generator)
    said = torch.stack([labels + torch.randn(200, generator=generator) for _ in range(2)])
    said[1] += 0.7 * torch.randn(200, generator=generator)
    shares = fitted(Task("t", "regression"), said[..., None], labels)
    grid = torch.linspace(0, 1, 1001)
    errors = [((w * said[0] + (1 - w) * said[1] - labels) ** 2).mean() for w in grid]
    best = float(grid[int(torch.stack(errors).argmin())])
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(best, abs=2e-3)
    tags = (torch.rand(200, 2, generator=generator) > 0.5).float()
    votes = torch.randn(2, 200, 2, generator=generator)
    votes[0] += 4 * (tags - 0.5)
    assert fitted(Task("t", "multilabel", ("a", "b")), votes, tags)[0] > 0.9


def test_fitted_weights_go_into_the_model() -> None:
    model = small_model(NAME, "mean_probability")
    batch = batch_of(NAME, num=40)
    said, present = model.decisions(batch)
    found = {
        task.name: fit_weights(said[task.name], present, batch.labels[task.name], task)
        for task in TASKS
    }
    model.set_weights(found)
    for row, task in enumerate(TASKS):
        torch.testing.assert_close(model.weights[row], torch.tensor(found[task.name]))
    assert all(v.isfinite().all() for v in model(replace(batch, labels={})).logits.values())


def test_weights_fitted_on_validation_speak_in_evaluation_alone() -> None:
    model = small_model(NAME, "fitted_weights")
    whole = batch_of(NAME, num=40)
    parts = [whole.take(rows) for rows in (range(25), range(25, 40))]
    assert model.wants_validation
    before = model(whole).logits
    training = model.train()(whole.take([0])).diagnostics
    model.eval().fit_on_validation(iter(parts))
    said, present = model.decisions(whole)
    for row, task in enumerate(TASKS):
        found = fit_weights(said[task.name], present, whole.labels[task.name], task)
        torch.testing.assert_close(model.weights[row], torch.tensor(found), rtol=1e-4, atol=1e-5)
        assert abs(found[0] - 0.5) > 0.01
        assert loss_of(model(whole).logits, whole, task) < loss_of(before, whole, task)
    after = model.weights
    # Fitting again finds the same, whatever was fitted before.
    model.set_weights({"tags": [0.9, 0.1]})
    model.fit_on_validation(iter(parts))
    assert torch.equal(model.weights, after)
    # Nothing of it reaches training.
    assert model.train()(whole.take([0])).diagnostics == training
    again = small_model(NAME, "fitted_weights")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.weights, after)


def loss_of(logits: Mapping[str, torch.Tensor], batch: FusionBatch, task: Task) -> float:
    labels = batch.labels[task.name]
    known = torch.ones(len(batch), dtype=torch.bool)
    return float(decision_loss(logits[task.name].detach(), labels, known, task.kind))


def test_other_weights_do_not_look_at_validation() -> None:
    for preset in ("mean_probability", "mean_logit", "learned_weights"):
        model = small_model(NAME, preset)
        assert not model.wants_validation
        model.fit_on_validation([batch_of(NAME, num=40)])
        assert (model.weights == 0.5).all()


def test_decision_fusion_names_its_modalities() -> None:
    assert list(decision_fusion.ROLES) == ["tokens", "regions"]
