from __future__ import annotations

import re

import pytest
import torch
from support.mult_records import Record, made, whole_model
from support.shared import needs_shared
from torch import Tensor, nn

from affectflow.models import mult
from affectflow.models.layers.crossmodal import Encoder, EncoderOptions
from affectflow.models.layers.positions import embed_positions, sinusoidal_positions
from affectflow.models.layers.published import load_published
from affectflow.models.layers.sequences import PaddedAttention, PaddedSteps, visible_keys

WHOLE = (
    "mult_iemocap_lonly",
    "mult_mosi_aligned_mask",
    "mult_mosi_aligned_nomask",
    "mult_mosi_unaligned_mask",
    "mult_mosi_unaligned_nomask",
    "mult_skip_projection",
    "mmsa_mult_mosi",
    "mmsa_mult_mosei_nomask",
)
ENCODERS = (
    "mult_encoder_cross_kgtq",
    "mult_encoder_cross_kltq",
    "mult_encoder_cross_nomask",
    "mult_encoder_self_mask",
    "mult_encoder_self_nomask",
    "mult_encoder_zero_rows",
)

pytestmark = needs_shared("golden/fusion")


def watched(model: nn.Module) -> dict[str, Tensor]:
    """Return what the modules of a model returned last, by name, filled when it runs."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        return lambda module, given, result: seen.__setitem__(name, result)

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    return seen


@pytest.mark.parametrize("name", WHOLE)
def test_whole_model_returns_what_the_original_returns(name: str) -> None:
    record = Record(name)
    model, batch = whole_model(record)
    seen = watched(model)
    with torch.no_grad():
        features = model.read_out(batch)
        logits = torch.cat(list(model(batch).logits.values()), dim=-1)
    ours = {"out": logits, "M": logits, "last_hs": features, "Feature_f": features}
    if "Feature_t" in record.arrays:
        parts = features.chunk(3, dim=-1)
        ours |= dict(zip(("Feature_t", "Feature_a", "Feature_v"), parts, strict=True))
    keys = [key for key in record.facts["array_index"] if key.startswith("proj")]
    steps = record.time_indices(keys[0])
    for key, value in seen.items():
        if key.startswith("proj_"):
            ours[key] = value[:, :, steps[key[-1]]]
        if re.fullmatch(r"trans_._\w+", key):
            ours[key] = value[:, steps[key[len("trans_")]]].transpose(0, 1)
    assert set(record.arrays) <= set(ours)
    for key in record.arrays:
        record.check(key, ours[key])


@pytest.mark.parametrize("name", WHOLE)
def test_parameters_are_as_many_as_the_originals_that_compute(name: str) -> None:
    record = Record(name)
    model, _ = whole_model(record)
    ours = set(model.state_dict())
    left_out = {
        key: values.numel()
        for key, values in record.state.items()
        if key not in ours and not key.endswith(("version", "_float_tensor"))
    }
    count = sum(values.numel() for values in model.parameters()) + sum(left_out.values())
    assert count == record.facts["n_parameters"]
    allowed = {
        "mult_iemocap_lonly": ("trans_a_mem.", "trans_v_mem."),
        "mult_skip_projection": ("proj_a.",),
    }
    assert all(key.startswith(allowed.get(name, ())) for key in left_out)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_returns_what_the_original_returns_with_gradients(name: str) -> None:
    record = Record(name)
    encoder, seen = encoder_of(record)
    given = {key: record.input(key).requires_grad_() for key in record.facts["inputs"]}
    x, source = given["x_in"], given.get("x_in_k")
    steps = full(x)
    source_steps = full(source) if source is not None else steps
    attend = PaddedAttention(steps, source_steps, future=record.facts["constructor"]["attn_mask"])
    if "x_in_v" in given:
        output = of_two_sources(encoder, x, attend, given["x_in_k"], given["x_in_v"])
    else:
        output = encoder(x, steps, attend, source, source_steps)
    record.check("out", output.transpose(0, 1))
    for key in (key for key in record.arrays if key.startswith("layer")):
        inner = "layers.0.self_attn" if key == "layer0_attn" else f"layers.{key[-1]}"
        record.check(key, seen[inner].transpose(0, 1))
    if "gradient" in record.facts:
        (output.transpose(0, 1) * made(record.facts["gradient"]["cotangent"])).sum().backward()
        check_gradients(record, encoder, given)


def of_two_sources(
    encoder: Encoder, x: Tensor, attend: PaddedAttention, key: Tensor, value: Tensor
) -> Tensor:
    """Return what an encoder makes of keys and values of different sources, as no model has."""
    running = encoder.embed(x, full(x))
    source = (encoder.embed(key, full(key)), encoder.embed(value, full(value)))
    for layer in encoder.layers:
        running = layer(running, source, attend)
    return encoder.layer_norm(running)


def encoder_of(record: Record) -> tuple[Encoder, dict[str, Tensor]]:
    given = record.facts["constructor"]
    options = EncoderOptions(
        heads=given["num_heads"], levels=given["layers"], zero_steps_unplaced=True
    )
    encoder = Encoder(given["embed_dim"], options).eval()
    buffers = ("version", "embed_positions._float_tensor")
    load_published(encoder, record.state, lambda name: name in buffers)
    return encoder, watched(encoder)


def full(values: Tensor) -> PaddedSteps:
    lengths = torch.full((len(values),), values.shape[1])
    return PaddedSteps(lengths, lengths, values.shape[1])


def check_gradients(record: Record, encoder: Encoder, given: dict[str, Tensor]) -> None:
    for key in record.arrays:
        if key.startswith("grad_"):
            gradient = given[key.removeprefix("grad_")].grad
            assert gradient is not None
            record.check(key, gradient.transpose(0, 1))
        if key.startswith("pgrad_"):
            gradient = encoder.get_parameter(key.removeprefix("pgrad_")).grad
            assert gradient is not None
            every = max(1, len(gradient) // 12) if gradient.dim() > 1 else 1
            record.check(key, gradient[::every])


@pytest.mark.parametrize("name", ENCODERS)
def test_future_mask_hides_what_the_original_hides(name: str) -> None:
    record = Record(name)
    if "visible" not in record.arrays:
        pytest.skip("nothing is hidden in this record")
    queries, keys = record.arrays["visible"].shape
    visible = visible_keys(torch.tensor([queries]), torch.tensor([keys]), (queries, keys), True)
    assert torch.equal(visible[0], torch.from_numpy(record.arrays["visible"]).bool())


@pytest.mark.parametrize("width", [30, 8, 35, 60])
def test_positions_are_the_originals(width: int) -> None:
    record = Record("mult_positions")
    table = sinusoidal_positions(torch.arange(40), width, torch.float32)
    record.check(f"table_{width}", torch.cat([torch.zeros(1, width), table]))


def test_steps_that_begin_with_zero_have_no_position() -> None:
    record = Record("mult_positions")
    values = torch.from_numpy(record.arrays["x"])[..., None].expand(-1, -1, 30)
    indices = torch.arange(values.shape[1])
    record.check("embedding_30", embed_positions(values, indices, zero_steps_unplaced=True))
    placed = embed_positions(values, indices, zero_steps_unplaced=False)
    assert torch.equal(placed, sinusoidal_positions(indices, 30, torch.float32))


def test_weights_that_do_not_fit_are_refused() -> None:
    record = Record("mult_skip_projection")
    model, _ = whole_model(record)
    state = record.state
    with pytest.raises(ValueError, match=r"lack proj1\.bias"):
        mult.load_original(model, {k: v for k, v in state.items() if k != "proj1.bias"})
    with pytest.raises(ValueError, match=r"hold strange and 0 more"):
        mult.load_original(model, state | {"strange": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"out_layer\.bias has the shape \(2,\), expected \(1,\)"):
        mult.load_original(model, state | {"out_layer.bias": torch.zeros(2)})
    mult.load_original(model, {f"Model.{name}": values for name, values in state.items()})
