"""The originals' outputs, from checkpoint files in the originals' layouts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from support import deepfill_records as records  # noqa: E402
from support.shared import needs_shared  # noqa: E402

from affectflow.models.vision.contextual_attention import ContextualAttention  # noqa: E402
from affectflow.models.vision.deepfillv2 import PRESETS, Generator  # noqa: E402
from affectflow.models.vision.deepfillv2_layouts import (  # noqa: E402
    LayoutError,
    convert,
    expected_shapes,
    export,
    fold,
    spectral_norm,
)
from affectflow.models.vision.deepfillv2_plain import (  # noqa: E402
    PlainGenerator,
    convert_plain,
)
from affectflow.pipeline.inpainting.deepfillv2 import CHECKPOINT_WRAPPERS  # noqa: E402
from affectflow.pipeline.weights.checkpoint import read_state_dict  # noqa: E402

pytestmark = needs_shared("golden/deepfill")

ATTENTION_CASES = [name for name in records.names("ABCD_ca*") if name != "ABCD_ca_edge"]


def loaded(family, weights, folder, power_steps=1):
    """Write the formula's weights as the original would, read and convert them."""
    state = records.formula_state(f"{family}_generator", weights)
    path = records.write_checkpoint(family, state, folder / f"{family}.pth")
    converted = convert(read_state_dict(path, CHECKPOINT_WRAPPERS), power_steps=power_steps)
    assert converted.family == family
    network = Generator(converted.options).eval()
    network.load_state_dict(converted.tensors)
    return network


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Each family's network; its records share the weights."""
    made = {}

    def network(family, weights):
        key = (family, repr(weights))
        if key not in made:
            made[key] = loaded(family, weights, tmp_path_factory.mktemp("checkpoints"))
        return made[key]

    return network


def run_with_taps(network, family, image, mask):
    """Return the output and the inner feature maps by the records' names."""
    bottleneck = network.coarse[9 if family == "D" else 11]
    places = {
        "stage1_bottleneck": bottleneck,
        "hallu_out": network.dilated[9],
        "ca_in": network.attentive[5],
        "ca_out": network.attention,
        "attn_branch_out": network.attended[1],
        "merged": network.merged[1],
    }
    taps, hooks = {}, []
    for name, module in places.items():

        def keep(_module, _inputs, output, name=name):
            taps[name] = output[0] if isinstance(output, tuple) else output

        hooks.append(module.register_forward_hook(keep))
    try:
        with torch.inference_mode():
            return network(image, mask), taps
    finally:
        for hook in hooks:
            hook.remove()


def close(got, wanted, atol, what):
    difference = np.abs(got.double().numpy() - np.asarray(wanted, np.float64)).max()
    assert difference <= atol, f"{what}: differs by {difference:.2e}, allowed {atol:.2e}"


@pytest.mark.parametrize("case", records.names("[ABCD]_gen_*"))
def test_generator(case, networks):
    described, wanted = records.facts(case), records.arrays(case)
    family = described["family"]
    network = networks(family, described["weights"])
    options = network.options
    if described["variant"]:
        assert described["variant"] == {"fuse": True}
    network.attention.rules = replace(
        options.attention, fuse=options.attention.fuse or case.endswith("_fuse")
    )
    image = records.picture(described["image"], options.low, options.high, options.channels)
    mask = torch.from_numpy(wanted["mask"])[None, None].float()
    filled, taps = run_with_taps(network, family, image, mask)
    atol = described["recommended_atol"]
    for name, output in (("coarse", filled.coarse), ("final", filled.final)):
        row, column = described["windows"][f"{name}_win48"]
        window = output[0, :, row : row + 48, column : column + 48]
        close(output[0, :, ::4, ::4], wanted[f"{name}_sub4"], atol, name)
        close(window, wanted[f"{name}_win48"], atol, f"{name} window")
        blocks = torch.nn.functional.avg_pool2d(output.double(), 8)[0]
        close(blocks, wanted[f"{name}_blockmean8"], atol, f"{name} block means")
    for name, output in taps.items():
        part = output[0, ::12, ::4, ::4]
        close(part, wanted[f"tap_{name}"], described["recommended_atol_taps"], name)
    columns = image.shape[3] // 8
    for (row, column), expected in zip(
        wanted["attention_queries"], wanted["attention_rows"], strict=True
    ):
        query = int(row) * columns + int(column)
        found = network.attention.probabilities(taps["ca_in"], mask, query)[0]
        close(found, expected, described["recommended_atol_attention_rows"], "attention")


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("family", "ABCD")
@pytest.mark.parametrize("case", ATTENTION_CASES)
def test_attention_alone(case, family, fuse):
    described, wanted = records.facts(case), records.arrays(case)
    inputs = described["inputs"]
    features = records.formula_input(inputs["f"])
    same = not isinstance(inputs["b"], dict)
    background = features if same else records.formula_input(inputs["b"])
    if region := inputs["zeroed_region_r0_r1_c0_c1_all_channels_in_f_and_b"]:
        top, bottom, left, right = region
        for values in (features, background):
            values[:, :, top:bottom, left:right] = 0
    mask = torch.from_numpy(wanted["mask"])[None, None].float()
    attention = ContextualAttention(replace(PRESETS[family].attention, fuse=fuse))
    out, all_masked = attention(features, mask, background)
    name = f"{family}_{'fuse' if fuse else 'nofuse'}"
    close(out[0], wanted[f"{name}_out"], described["recommended_atol"], "output")
    blocked = attention.blocked(features, mask)[0]
    np.testing.assert_array_equal(blocked.numpy(), wanted[f"{family}_blocked"] > 0)
    assert not all_masked.any()
    atol = described["recommended_atol_attention"]
    for place, query in enumerate(wanted["attention_query_index"]):
        found = attention.probabilities(features, mask, int(query), background)[0]
        close(found, wanted[f"{name}_attention"][place], atol, "attention")


@pytest.mark.parametrize("family", "ABCD")
def test_attention_edge_cases(family):
    described, wanted = records.facts("ABCD_ca_edge"), records.arrays("ABCD_ca_edge")
    features = records.formula_input(described["input"])
    masks = torch.from_numpy(wanted["mask2"])[:, None].float()
    attention = ContextualAttention(PRESETS[family].attention)
    attention.rules = replace(attention.rules, fuse=True)
    atol = described["recommended_atol"]
    for mask in (None, torch.zeros_like(masks[:1])):
        out, _ = attention(features[:1], mask)
        close(out[0], wanted[f"{family}_nomask_out"], atol, "without mask")
    together, _ = attention(features, masks)
    for item in (0, 1):
        close(together[item], wanted[f"{family}_batch2_item{item}_alone"], atol, f"item {item}")
    out, all_masked = attention(features[:1], torch.ones_like(masks[:1]))
    assert all_masked.all()
    assert not out.any()


def test_the_same_weights_in_both_classes(tmp_path):
    described, wanted = records.facts("AB_same_weights"), records.arrays("AB_same_weights")
    state = records.formula_state("A_generator", described["weights"])
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        renamed[f"{described['rename'][first]}.{rest}"] = value
    exported = export(convert(state).tensors, "B")
    assert exported.keys() - renamed.keys() == {"stage2.contextual_attention.fuse_weight"}
    assert all(torch.equal(exported[key], value) for key, value in renamed.items())
    image = records.formula_input(described["image"])
    mask = records.rectangles(described["mask"], *image.shape[2:])
    for family, saved, fuse, output in (
        ("A", state, False, "A_final"),
        ("B", exported, True, "B_final_fuse"),
        ("B", exported, False, "B_final_nofuse"),
    ):
        path = records.write_checkpoint(family, saved, tmp_path / "weights.pth")
        converted = convert(read_state_dict(path, CHECKPOINT_WRAPPERS))
        network = Generator(converted.options).eval()
        network.load_state_dict(converted.tensors)
        network.attention.rules = replace(network.attention.rules, fuse=fuse)
        with torch.inference_mode():
            filled = network(image, mask)
        atol = described["recommended_atol"]
        close(filled.coarse[0, :, ::3, ::3], wanted[f"{family}_coarse"], atol, "coarse")
        close(filled.final[0, :, ::3, ::3], wanted[output], atol, output)


def test_spectral_norm_is_folded(tmp_path):
    described, wanted = records.facts("C_spectral_norm"), records.arrays("C_spectral_norm")
    state = records.formula_state("C_generator", described["weights"])
    for layer, sigma in described["sigma"].items():
        weight, u = (state[f"{layer}.module.weight_{part}"] for part in ("bar", "u"))
        for steps in (1, 2, 3):
            got = float(spectral_norm(weight, u, steps))
            assert got == pytest.approx(sigma[f"sigma_{steps}"], rel=1e-6)
        got = float(spectral_norm(weight, u, 303))
        assert got == pytest.approx(sigma["sigma_converged"], rel=1e-6)
        part = fold(weight, u)[:4, :4]
        close(part, wanted[f"folded_slice__{layer}"], described["recommended_atol"], layer)
    image = records.formula_input(described["image"])
    mask = records.rectangles(described["mask"], *image.shape[2:])
    for steps, name, every in ((1, "forward1", 1), (2, "forward2", 4), (303, "converged", 2)):
        network = loaded("C", described["weights"], tmp_path, power_steps=steps)
        with torch.inference_mode():
            filled = network(image, mask)
        for part in ("coarse", "final"):
            if f"{part}_{name}" in wanted:
                got = getattr(filled, part)[0, :, ::every, ::every]
                close(got, wanted[f"{part}_{name}"], described["recommended_atol"], part + name)


def test_family_e_is_refused_by_name():
    state = records.formula_state("E_generator", records.facts("E_gen")["weights"])
    with pytest.raises(LayoutError, match=r"family E \(zhaoyuzhi/deepfillv2\) .* not supported"):
        convert(state)
    del state["refinement.3.conv2d.bias"]
    with pytest.raises(LayoutError, match=r"family E .*1 missing: refinement\.3\.conv2d\.bias"):
        convert_plain(state)


def test_family_e(tmp_path):
    described, wanted = records.facts("E_gen"), records.arrays("E_gen")
    path = tmp_path / "E.pth"
    torch.save(records.formula_state("E_generator", described["weights"]), path)
    network = PlainGenerator().eval()
    network.load_state_dict(convert_plain(read_state_dict(path, CHECKPOINT_WRAPPERS)))
    image = records.picture(described["image"], 0.0, 1.0, "RGB")
    mask = torch.from_numpy(wanted["mask"])[None, None].float()
    with torch.inference_mode():
        filled = network(image, mask)
        again = network(torch.cat((image, image)), torch.cat((mask, mask * 0)))
    for name in ("coarse", "final"):
        close(getattr(filled, name)[0], wanted[name], described["recommended_atol"], name)
    torch.testing.assert_close(again.final[:1], filled.final, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", "ABCD")
def test_keys_and_parameters(family):
    described = records.facts(f"{family}_generator.keys")
    expected = expected_shapes(family, PRESETS[family])
    assert {key: tuple(shape) for key, shape in described["state_dict"]} == expected
    assert len(expected) == described["n_keys"]
    fixed = described.get("fixed_keys", {})
    counted = sum(math.prod(shape) for key, shape in expected.items() if key not in fixed)
    assert counted == described["n_parameters"]
