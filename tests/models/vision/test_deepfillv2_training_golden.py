"""The originals' discriminators, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from support import deepfill_records as records  # noqa: E402
from support.shared import needs_shared  # noqa: E402

from affectflow.models.vision.deepfillv2 import Generator  # noqa: E402
from affectflow.models.vision.deepfillv2_discriminators import (  # noqa: E402
    DISCRIMINATORS,
    Discriminator,
    convert_discriminator,
)
from affectflow.models.vision.deepfillv2_layouts import LayoutError, convert  # noqa: E402
from affectflow.models.vision.deepfillv2_losses import (  # noqa: E402
    GeneratorLoss,
    PerceptualFeatures,
    false_loss,
    fooling_loss,
    real_loss,
    weighted_l1,
)

pytestmark = needs_shared("golden/deepfill")


def discriminator(family, weights):
    state = records.formula_state(f"{family}_discriminator", weights)
    found, tensors = convert_discriminator(state)
    assert found == ("B" if family == "A" else family)
    network = Discriminator(DISCRIMINATORS[family])
    network.load_state_dict(tensors)
    return network


@pytest.mark.parametrize("case", records.names("[ABCD]_disc[0-9]*"))
def test_discriminator(case):
    described, wanted = records.facts(case), records.arrays(case)
    network = discriminator(described["family"], described["weights"])
    image = records.formula_input(described["input"])
    mask = torch.from_numpy(wanted["mask"])[None, None].float().expand(len(image), -1, -1, -1)
    with torch.no_grad():
        outputs = [network.train()(image, mask) for _ in range(3)]
        outputs.append(network.eval()(image, mask))
    for name, output in zip(
        ("forward1", "forward2", "forward3", "eval_after_3"), outputs, strict=True
    ):
        got = output.reshape(wanted[name].shape).numpy()
        difference = np.abs(got - wanted[name]).max()
        assert difference <= described["recommended_atol"], f"{name} differs by {difference:.1e}"


def loss_masks(described):
    """Return one rectangle per item, shrinking as the record says."""
    ((top, bottom, left, right),) = described["rects_r0_r1_c0_c1"]
    masks = torch.zeros(2, 1, 64, 64)
    for item in range(2):
        masks[item, :, top + item : bottom - 9 * item, left : right - 5 * item] = 1
    return masks


def test_loss_terms():
    described = records.facts("losses")["terms"]
    pos, neg, real, x1, x2 = (
        records.formula_input(described["inputs"][name])
        for name in ("pos", "neg", "real", "x1", "x2")
    )
    mask = loss_masks(described["mask"])

    def half(kind):
        return 0.5 * (real_loss(pos, kind) + false_loss(neg, kind))

    got = {
        "nipponjo_hinge_d": half("hinge"),
        "nipponjo_hinge_g": fooling_loss(neg),
        "nipponjo_ls_d": half("least_squares"),
        "nipponjo_ls_g": fooling_loss(neg, "least_squares"),
        "nipponjo_ae_loss1": (real - x1).abs().mean(),
        "nipponjo_ae_loss2": (real - x2).abs().mean(),
        "csqiangwen_loss_fake": false_loss(neg),
        "csqiangwen_loss_true": real_loss(pos),
        "csqiangwen_loss_D": half("hinge"),
        "csqiangwen_GAN_Loss": fooling_loss(neg),
        "mmedit_disc_real": real_loss(pos),
        "mmedit_disc_fake": false_loss(neg),
        "mmedit_gen": 0.1 * fooling_loss(neg),
        "mmedit_stage1_l1_hole": weighted_l1(x1, real, mask),
        "mmedit_stage1_l1_valid": weighted_l1(x1, real, 1 - mask),
        "mmedit_stage2_l1_hole": weighted_l1(x2, real, mask),
        "mmedit_stage2_l1_valid": weighted_l1(x2, real, 1 - mask),
        "mmedit_l1_hole_sample_wise": weighted_l1(x2, real, mask, per_sample=True),
        "mmedit_l1_unweighted": weighted_l1(x2, real, torch.ones_like(mask)),
    }
    for name, kind in (
        ("vanilla", "cross_entropy"),
        ("lsgan", "least_squares"),
        ("wgan", "wasserstein"),
    ):
        got[f"mmedit_{name}_disc_real"] = real_loss(pos, kind)
        got[f"mmedit_{name}_disc_fake"] = false_loss(neg, kind)
        got[f"mmedit_{name}_gen"] = 0.1 * fooling_loss(neg, kind)
    assert got.keys() == described["values"].keys()
    for name, value in described["values"].items():
        assert float(got[name]) == pytest.approx(value, rel=2e-6, abs=1e-8), name


def test_one_training_step_of_family_b():
    described = records.facts("losses")["train_step_B"]
    rtol = described["recommended_rtol"]
    converted = convert(records.formula_state("B_generator", described["generator_weights"]))
    generator = Generator(converted.options)
    generator.load_state_dict(converted.tensors)
    image = records.formula_input(described["image"])
    mask = records.rectangles(described["mask"], 64, 64).expand(2, -1, -1, -1)
    filled = generator(image, mask)
    completed = filled.final * mask + image * (1 - mask)

    critic = discriminator("B", described["discriminator_weights"])
    both = critic(torch.cat((image, completed.detach())), torch.cat((mask, mask)))
    real, false = both.chunk(2)
    d_loss = 0.5 * (real_loss(real) + false_loss(false))
    d_loss.backward()
    losses = described["losses"]
    assert d_loss.item() == pytest.approx(losses["d_loss"], rel=rtol)
    for name, scores in (("real", real), ("fake", false)):
        wanted = described["d_outputs"][name]
        assert scores.mean().item() == pytest.approx(wanted["mean"], rel=rtol)
        assert scores.std().item() == pytest.approx(wanted["std"], rel=rtol)
    names = {"weight": "weight", "bias": "bias"}
    for key, wanted in described["gradient_of_d_loss"].items():
        layer, _, leaf = key.split(".")
        parameter = critic.layers[int(layer.removeprefix("conv")) - 1].get_parameter(names[leaf])
        same_gradient(parameter.grad, wanted, rtol, key)

    critic = discriminator("B", described["discriminator_weights"])
    loss = GeneratorLoss(
        (image - filled.coarse).abs().mean(),
        (image - filled.final).abs().mean(),
        fooling_loss(critic(completed, mask)),
    )
    loss.total.backward()
    got = {"ae_loss1": loss.coarse, "ae_loss2": loss.final, "g_gan": loss.adversarial}
    for name, value in {**got, "g_total": loss.total}.items():
        assert value.item() == pytest.approx(losses[name], rel=rtol), name
    ours = {"conv_bn4": "coarse.8", "conv_bn6": "merged.0", "conv_conv_bn5": "dilated.9"}
    ours |= {"stage1.conv1": "coarse.0", "stage1.conv_to_rgb": "coarse.16"}
    ours |= {"stage2.conv_to_rgb": "merged.6", "ca_conv1": "attentive.0"}
    ours |= {"ca_conv_bn1": "attentive.5", "ca_conv_bn4": "attended.0"}
    for key, wanted in described["gradient_of_g_total"].items():
        stem, _, leaf = key.replace(".conv.", "|").partition("|")
        name = ours.get(stem) or ours[stem.partition(".")[2]]
        same_gradient(generator.get_parameter(f"{name}.{leaf}").grad, wanted, rtol, key)


def same_gradient(gradient, wanted, rtol, what):
    norm = wanted["l2"]
    assert float(gradient.norm()) == pytest.approx(norm, rel=rtol), what
    # A sum over many entries cancels: it is as exact as the norm, not as itself.
    assert float(gradient.double().sum()) == pytest.approx(
        wanted["sum"], rel=rtol, abs=rtol * norm
    ), what
    assert float(gradient.flatten()[0]) == pytest.approx(
        wanted["first"], rel=rtol, abs=rtol * norm
    ), what


def test_perceptual_features():
    described, wanted = records.facts("losses")["perceptual_C"], records.arrays("C_perceptual")
    network = PerceptualFeatures()
    state = {"mean": network.mean, "std": network.std}
    for key, shape in described["keys"]:
        if key.startswith("block."):
            value = records.formula().formula_array(key, tuple(shape), 1.4)
            state[key.replace("block.0", "layers")] = torch.from_numpy(value)
    network.load_state_dict(state)
    a, b = (records.formula_input(described["inputs"][name]) for name in "ab")
    with torch.inference_mode():
        features_a, features_b = network(a), network(b)
    atol = described["recommended_atol"]
    np.testing.assert_allclose(
        features_a[0, ::16, ::4, ::4].numpy(), wanted["features_a"], rtol=0, atol=atol
    )
    distance = float((features_a - features_b).abs().mean())
    assert distance == pytest.approx(described["l1_of_features"], abs=atol)


def test_an_unknown_discriminator_is_refused():
    with pytest.raises(LayoutError, match=r"first keys: a\.weight"):
        convert_discriminator({"a.weight": torch.zeros(1)})
    with pytest.raises(LayoutError, match=r"lack conv1\.conv_sn\.bias"):
        convert_discriminator({"conv1.conv_sn.weight": torch.zeros(1)})
