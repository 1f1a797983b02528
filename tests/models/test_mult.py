from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from affectflow.models import mult
from affectflow.models.batch import FeatureBatch, FusionBatch, FusionOutput, InputSpec, Task
from affectflow.models.layers import sequences

WIDTHS = {"text": 7, "audio": 5, "vision": 12}
LENGTHS = {"text": (3, 1, 6, 0), "audio": (4, 9, 1, 5), "vision": (0, 7, 2, 3)}
SENTIMENT = (Task("sentiment", "regression", low=-3, high=3),)
EMOTIONS = tuple(Task(name, classes=("no", "yes")) for name in ("happy", "angry", "sad", "calm"))
SMALL: dict[str, Any] = {
    "width": 12,
    "heads": 3,
    "levels": 2,
    "kernel_text": 3,
    "kernel_audio": 2,
}


def inputs_of(widths: Mapping[str, int]) -> dict[str, InputSpec]:
    return {role: InputSpec((None, width)) for role, width in widths.items()}


def model_of(
    roles: Sequence[str] = tuple(WIDTHS), tasks: Sequence[Task] = SENTIMENT, **changes: Any
) -> mult.Model:
    torch.manual_seed(0)
    config = mult.Config(**(SMALL | changes))
    inputs = inputs_of({role: WIDTHS[role] for role in roles})
    return mult.Model(config, inputs, tasks).double().eval()


def batch_of(lengths: Mapping[str, Sequence[int]], seed: int = 0) -> FusionBatch:
    """Return a packed batch of random values."""
    generator = torch.Generator().manual_seed(seed)
    features = {}
    for role, counts in lengths.items():
        values = torch.randn(sum(counts), WIDTHS[role], generator=generator, dtype=torch.float64)
        features[role] = FeatureBatch(values, torch.tensor(counts), "packed")
    size = len(next(iter(lengths.values())))
    return FusionBatch(tuple(map(str, range(size))), features, {}, torch.arange(size))


def padded(batch: FusionBatch, extra: int = 0, fill: float = 0.0) -> FusionBatch:
    """Return the batch padded to its longest sample and ``extra`` steps more."""
    features = {}
    for role, feature in batch.features.items():
        wide = feature.padded()
        size = (len(batch), wide.values.shape[1] + extra, WIDTHS[role])
        values = wide.values.new_full(size, fill)
        mask = torch.arange(size[1]) < wide.lengths[:, None]
        values[mask] = feature.values
        features[role] = FeatureBatch(values, wide.lengths, "padded")
    return FusionBatch(batch.keys, features, {}, batch.families)


def logits_of(output: FusionOutput) -> Tensor:
    return torch.cat(list(output.logits.values()), dim=-1)


def gradients(model: mult.Model, batch: FusionBatch) -> dict[str, Tensor]:
    model.zero_grad()
    logits = logits_of(model(batch))
    (
        logits * torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).view_as(logits)
    ).sum().backward()
    return {
        name: values.grad if values.grad is not None else torch.zeros_like(values)
        for name, values in model.named_parameters()
    }


@pytest.mark.parametrize(
    ("changes", "overhead"),
    [
        ({}, 600),
        ({}, 0),
        ({}, 10**9),
        ({"future_mask": False}, 600),
        ({"positions": False, "share_levels": True}, 600),
        ({"zero_steps_unplaced": True, "kernel_vision": 9}, 600),
        ({"roles": ("text", "vision")}, 600),
        ({"roles": ("audio",)}, 10**9),
        ({"targets": ("vision",)}, 600),
    ],
)
def test_packed_path_equals_the_padded_one(
    changes: dict[str, Any], overhead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "BLOCK_OVERHEAD", overhead)
    fast, reference = model_of(**changes), model_of(**changes, layout="padded")
    batch = batch_of({role: LENGTHS[role] for role in fast.roles})
    torch.testing.assert_close(
        logits_of(fast(batch)), logits_of(reference(padded(batch))), rtol=0, atol=1e-10
    )
    expected = gradients(reference, padded(batch))
    for name, gradient in gradients(fast, batch).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-10, msg=name)


def test_blocks_hold_every_sample_once_and_follow_the_overhead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = [LENGTHS["text"], LENGTHS["audio"]]
    sizes = {}
    for overhead in (0, 10**9):
        monkeypatch.setattr(sequences, "BLOCK_OVERHEAD", overhead)
        blocks = sequences.blocks_of_similar_length(lengths)
        assert sorted(row for block in blocks for row in block) == [0, 1, 2, 3]
        sizes[overhead] = len(blocks)
    assert sizes == {0: 4, 10**9: 1}
    assert sequences.blocks_of_similar_length([]) == ()


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_padding_changes_nothing(layout: str, fill: float) -> None:
    model, batch = model_of(layout=layout), batch_of(LENGTHS)
    expected = logits_of(model(padded(batch)))
    for extra in (1, 13):
        ours = logits_of(model(padded(batch, extra, fill)))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_padding_changes_the_originals() -> None:
    changes = {"padding_mask": False, "readout": "last_padded", "zero_steps_unplaced": True}
    model, batch = model_of(**changes), batch_of(LENGTHS)
    short, long = logits_of(model(padded(batch))), logits_of(model(padded(batch, 5)))
    assert (short - long).abs().min() > 1e-6


@pytest.mark.parametrize("changes", [{}, {"readout": "last_real"}])
def test_without_padding_the_default_is_the_original(changes: dict[str, Any]) -> None:
    batch = batch_of({"text": (6, 6), "audio": (9, 9), "vision": (4, 4)})
    original = model_of(padding_mask=False, readout=changes.get("readout", "last_padded"))
    ours = logits_of(model_of()(batch))
    torch.testing.assert_close(ours, logits_of(original(batch)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("absent", ["text", "audio", "vision", "all"])
def test_missing_modalities_give_finite_outputs_and_gradients(absent: str, layout: str) -> None:
    model = model_of(layout=layout)
    none = (0, 0, 0)
    lengths = {role: none if absent in (role, "all") else (4, 2, 5) for role in WIDTHS}
    batch = batch_of(lengths)
    for given in (batch, padded(batch)):
        assert logits_of(model(given)).isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients(model, given).values())


def test_missing_modality_of_one_sample_leaves_the_others_alone() -> None:
    model, whole = model_of(), batch_of({"text": (4, 2), "audio": (3, 5), "vision": (2, 2)})
    audio = whole.features["audio"]
    without = FeatureBatch(audio.values[3:], torch.tensor([0, 5]), "packed")
    partial = FusionBatch(whole.keys, {**whole.features, "audio": without})
    before, after = logits_of(model(whole)), logits_of(model(partial))
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=1e-12)
    assert (after[0] - before[0]).abs() > 1e-6


def test_a_sample_does_not_depend_on_its_batch() -> None:
    model, batch = model_of(), batch_of(LENGTHS)
    together = logits_of(model(batch))
    for row in range(len(batch)):
        alone = logits_of(model(batch.take([row])))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)
    order = [2, 0, 3, 1]
    shuffled = logits_of(model(batch.take(order)))
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-12)


def test_future_is_hidden_by_real_lengths() -> None:
    lengths = {"text": (3, 5), "audio": (6, 4)}
    model = model_of(roles=("text", "audio"), levels=1, kernel_text=1, kernel_audio=1)
    for layout in ("packed", "padded"):
        steps = _steps(lengths, layout)
        encoder = model.get_submodule("trans_l_with_a")
        attend = sequences.attention_between(
            steps["text"], steps["audio"], future=True, like=torch.zeros(1, dtype=torch.float64)
        )
        values = {
            role: torch.randn(*_shape(counts, layout), 12, dtype=torch.float64).requires_grad_()
            for role, counts in lengths.items()
        }
        output = encoder(values["text"], steps["text"], attend, values["audio"], steps["audio"])
        for sample, (num_queries, num_keys) in enumerate(zip(*lengths.values(), strict=True)):
            for query in range(num_queries):
                where = _at(lengths["text"], sample, query, layout)
                # A row of a norm sums to 0, so the sum over D has no gradient: weigh it.
                (gradient,) = torch.autograd.grad(
                    output[where] @ torch.arange(12.0, dtype=torch.float64),
                    values["audio"],
                    retain_graph=True,
                )
                reached = [
                    bool(gradient[_at(lengths["audio"], sample, key, layout)].abs().max() > 1e-9)
                    for key in range(num_keys)
                ]
                limit = query + abs(num_keys - num_queries)
                assert reached == [key <= limit for key in range(num_keys)]


def _steps(lengths: Mapping[str, Sequence[int]], layout: str) -> dict[str, Any]:
    if layout == "packed":
        blocks = sequences.blocks_of_similar_length(list(lengths.values()))
        cpu = torch.device("cpu")
        return {
            role: sequences.PackedSteps.plan(counts, blocks, cpu)
            for role, counts in lengths.items()
        }
    tensors = {role: torch.tensor(counts) for role, counts in lengths.items()}
    return {
        role: sequences.PaddedSteps(counts, counts, int(counts.max()))
        for role, counts in tensors.items()
    }


def _shape(counts: Sequence[int], layout: str) -> tuple[int, ...]:
    return (sum(counts),) if layout == "packed" else (len(counts), max(counts))


def _at(counts: Sequence[int], sample: int, step: int, layout: str) -> Any:
    return sum(counts[:sample]) + step if layout == "packed" else (sample, step)


def test_keys_and_values_are_dropped_out_independently_and_only_in_training() -> None:
    model, batch = model_of(embed_dropout=0.5), batch_of(dict.fromkeys(WIDTHS, (3, 4)))
    attention = model.get_submodule("trans_l_with_a.layers.0.self_attn")
    given: list[tuple[Any, ...]] = []
    attention.register_forward_pre_hook(lambda module, arguments: given.append(arguments))
    model(batch)
    assert given[0][1] is given[0][2]
    model.train()(batch)
    assert not torch.equal(given[1][1], given[1][2])


@pytest.mark.parametrize(
    "rate",
    [
        "attention_dropout",
        "attention_dropout_audio",
        "attention_dropout_vision",
        "activation_dropout",
        "residual_dropout",
        "embed_dropout",
        "text_dropout",
        "output_dropout",
    ],
)
def test_every_dropout_acts_in_training_alone(rate: str) -> None:
    silent = {name: 0.0 for name in mult.Config.model_fields if "dropout" in name}
    model = model_of(**(silent | {rate: 0.5}))
    batch = batch_of(dict.fromkeys(WIDTHS, (5, 4, 6)))
    expected = logits_of(model_of(**silent)(batch))
    assert torch.equal(logits_of(model(batch)), expected)
    model.train()
    first, second = logits_of(model(batch)), logits_of(model(batch))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("roles", [("text",), ("audio", "vision"), ("text", "audio", "vision")])
def test_vectors_and_fixed_sequences_are_sequences(roles: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = model_of(roles)
    sequence = batch_of(dict.fromkeys(roles, (1, 1)))
    vectors = FusionBatch(
        sequence.keys,
        {
            role: FeatureBatch(feature.values, feature.lengths, "fixed")
            for role, feature in sequence.features.items()
        },
    )
    assert torch.equal(logits_of(model(vectors)), logits_of(model(sequence)))
    ragged = batch_of(dict.fromkeys(roles, (4, 4)))
    fixed = FusionBatch(
        ragged.keys,
        {
            role: FeatureBatch(feature.padded().values, feature.lengths, "fixed")
            for role, feature in ragged.features.items()
        },
    )
    assert torch.equal(logits_of(model(fixed)), logits_of(model(ragged)))


def test_iemocap_has_four_pairs_of_logits() -> None:
    model, batch = model_of(tasks=EMOTIONS), batch_of(LENGTHS)
    logits = model(batch).logits
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        task.name: (4, 2) for task in EMOTIONS
    }
    assert model.out_layer.weight.shape[0] == 8


def test_bfloat16_autocast_stays_close() -> None:
    model, batch = model_of().float(), batch_of(LENGTHS)
    halves = FusionBatch(
        batch.keys,
        {
            role: FeatureBatch(feature.values.float(), feature.lengths, "packed")
            for role, feature in batch.features.items()
        },
    )
    expected = model.read_out(halves)
    with torch.autocast("cpu", torch.bfloat16):
        ours = model.read_out(halves).float()
    torch.testing.assert_close(ours, expected, rtol=0, atol=0.15)


def test_configurations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="heads = 7 doesn't divide width = 30"):
        mult.Config(heads=7)
    with pytest.raises(ValidationError, match="needs padding_mask = false"):
        mult.Config(readout="last_padded")
    with pytest.raises(ValidationError, match="Extra inputs"):
        mult.Config.model_validate({"d": 30})
    with pytest.raises(ValueError, match=r"got the inputs \['audio'\], expected text among them"):
        model_of(("audio",), targets=("text",))


@pytest.mark.parametrize("name", mult.PRESETS)
def test_presets_are_valid(name: str) -> None:
    config = mult.PRESETS[name]()
    assert mult.Config.model_validate(config.model_dump()) == config
    assert config.padding_mask == (name == "unpadded")
