"""What every fusion model promises, tested over all that are found in the folders."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from support.fusion_batches import (
    SPECS,
    TASKS,
    example_lengths,
    inputs_of,
    lacking,
    make_batch,
    model_module,
    model_names,
    packed,
    presets,
    small_config,
    small_model,
    some_loss,
)

from affectflow.models.batch import FusionBatch, FusionModel, FusionOutput, ModelConfig

EVERY_PRESET = pytest.mark.parametrize(("name", "preset"), presets())
EVERY_MODEL = pytest.mark.parametrize("name", model_names())


def batch_for(name: str, num: int = 5, seed: int = 0, **options: int) -> FusionBatch:
    inputs = inputs_of(name)
    return make_batch(inputs, example_lengths(inputs, num, seed), TASKS, seed, **options)


def trained_once(model: FusionModel, batch: FusionBatch) -> FusionModel:
    """Let the model see a batch in training mode, so that its buffers are no longer fresh."""
    model.train()
    with torch.no_grad():
        model(batch)
    return model.eval()


def same_logits(left: FusionOutput, right: FusionOutput, tolerance: float = 2e-5) -> None:
    assert left.logits.keys() == right.logits.keys()
    for task, logits in left.logits.items():
        torch.testing.assert_close(logits, right.logits[task], rtol=tolerance, atol=tolerance)


def finite_gradients(model: FusionModel, batch: FusionBatch) -> None:
    """Check that outputs, and gradients of parameters and inputs, are finite."""
    for feature in batch.features.values():
        feature.values.requires_grad_(True)
    output = model(batch)
    for values in [*output.logits.values(), *output.penalties.values()]:
        assert values.isfinite().all()
    for name, value in output.diagnostics.items():
        assert value.isfinite(), name
    some_loss(output).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    for role, feature in batch.features.items():
        assert feature.values.grad is None or feature.values.grad.isfinite().all(), role


def test_the_models_of_memes_are_found() -> None:
    expected = {"mm_orient", "text_tokens", "regions", "clip_head", "feature_fusion"}
    assert expected | {"decision_fusion"} <= set(model_names())


@EVERY_MODEL
def test_a_model_file_holds_what_it_should(name: str) -> None:
    module = model_module(name)
    assert issubclass(module.Config, ModelConfig)
    assert issubclass(module.Model, FusionModel)
    assert module.Model.optional_roles <= set(module.ROLES)
    assert set(module.ROLES) <= set(SPECS)
    assert module.PRESETS
    for make in module.PRESETS.values():
        assert "pipeline train" in (make.__doc__ or "")


@EVERY_PRESET
def test_presets_build_and_survive_json(name: str, preset: str) -> None:
    module = model_module(name)
    config = module.PRESETS[preset]()
    assert isinstance(config, module.Config)
    assert module.Config.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="no_such_key"):
        module.Config.model_validate({**config.model_dump(), "no_such_key": 1})


@EVERY_PRESET
def test_outputs_have_their_shapes(name: str, preset: str) -> None:
    batch = batch_for(name)
    output = small_model(name, preset)(batch)
    assert list(output.logits) == [task.name for task in TASKS]
    for task in TASKS:
        assert output.logits[task.name].shape == (5, task.num_outputs)
    for value in [*output.diagnostics.values()]:
        assert value.dim() == 0
        assert not value.requires_grad
    for role, weights in output.attention.items():
        mask = batch.features[role].mask
        assert weights.shape == mask.shape
        assert not weights.requires_grad
        assert (weights[~mask] == 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(5))


@EVERY_PRESET
def test_gradients_reach_something_and_are_finite(name: str, preset: str) -> None:
    model = small_model(name, preset).train()
    finite_gradients(model, batch_for(name))
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@EVERY_PRESET
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_missing_modality_is_finite(name: str, preset: str, training: bool) -> None:
    for role in inputs_of(name):
        for rows in ([2], range(5)):
            model = small_model(name, preset).train(training)
            finite_gradients(model, lacking(batch_for(name), role, rows))


@EVERY_PRESET
def test_no_modality_at_all_is_finite(name: str, preset: str) -> None:
    batch = batch_for(name)
    for role in inputs_of(name):
        batch = lacking(batch, role, range(5))
    finite_gradients(small_model(name, preset).train(), batch)


@EVERY_PRESET
def test_a_missing_modality_does_not_disturb_where_samples_are_apart(
    name: str, preset: str
) -> None:
    model = small_model(name, preset)
    if model.reads_whole_batch:
        pytest.skip("samples of a batch depend on each other by design")
    batch = batch_for(name)
    for role in inputs_of(name):
        without = model(lacking(batch, role, [2]))
        others = [0, 1, 3, 4]
        for task, logits in model(batch).logits.items():
            torch.testing.assert_close(without.logits[task][others], logits[others])


@EVERY_PRESET
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_batch_of_one(name: str, preset: str, training: bool) -> None:
    model = trained_once(small_model(name, preset), batch_for(name)).train(training)
    finite_gradients(model, batch_for(name, num=1))


@EVERY_PRESET
def test_one_by_one_equals_together_where_samples_are_apart(name: str, preset: str) -> None:
    model = small_model(name, preset)
    if model.reads_whole_batch:
        pytest.skip("samples of a batch depend on each other by design")
    batch = batch_for(name)
    together = model(batch)
    for row in range(5):
        alone = model(batch.take([row]))
        for task, logits in alone.logits.items():
            torch.testing.assert_close(logits[0], together.logits[task][row], rtol=1e-5, atol=1e-5)


@EVERY_PRESET
def test_padding_changes_nothing(name: str, preset: str) -> None:
    if not getattr(small_config(name, preset), "padding_mask", True):
        pytest.skip("this preset attends to padding, as the published code does")
    model = trained_once(small_model(name, preset), batch_for(name, seed=3))
    expected = model(batch_for(name))
    same_logits(expected, model(batch_for(name, extra_padding=6)))
    same_logits(expected, model(packed(batch_for(name))))


@EVERY_PRESET
def test_permuting_the_batch_permutes_the_outputs(name: str, preset: str) -> None:
    model = trained_once(small_model(name, preset), batch_for(name, seed=3))
    batch, order = batch_for(name), [3, 0, 4, 2, 1]
    expected, permuted = model(batch), model(batch.take(order))
    for task, logits in permuted.logits.items():
        torch.testing.assert_close(logits, expected.logits[task][order], rtol=2e-5, atol=2e-5)


@EVERY_PRESET
def test_weights_and_buffers_survive(name: str, preset: str) -> None:
    model = trained_once(small_model(name, preset), batch_for(name, seed=3))
    again = small_model(name, preset)
    again.load_state_dict(model.state_dict())
    same_logits(model(batch_for(name)), again.eval()(batch_for(name)), tolerance=0)


@EVERY_MODEL
def test_optional_roles_may_be_absent(name: str) -> None:
    for role in model_module(name).Model.optional_roles:
        inputs = inputs_of(name, without=[role])
        built = []
        for preset in model_module(name).PRESETS:
            try:
                model = small_model(name, preset, without=[role])
            except ValueError:
                continue
            built.append(preset)
            finite_gradients(model, make_batch(inputs, example_lengths(inputs, 5), TASKS))
        assert built, f"no preset of {name} does without {role}"


@EVERY_PRESET
def test_every_parameter_is_in_a_group_once(name: str, preset: str) -> None:
    model = small_model(name, preset)
    grouped = [id(p) for group in model.parameter_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
