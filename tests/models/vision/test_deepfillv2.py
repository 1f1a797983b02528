"""The generator, its checkpoints and the discriminator on small sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from affectflow.models.vision.deepfillv2 import (  # noqa: E402
    PRESETS,
    GatedConv,
    Generator,
    same_padding,
)
from affectflow.models.vision.deepfillv2_discriminators import (  # noqa: E402
    DISCRIMINATORS,
    Discriminator,
)
from affectflow.models.vision.deepfillv2_layouts import (  # noqa: E402
    LayoutError,
    convert,
    detect,
    expected_shapes,
    export,
    fold,
)
from affectflow.models.vision.deepfillv2_losses import weighted_l1  # noqa: E402


def tiny_options(family):
    options = replace(PRESETS[family], width=4)
    return replace(options, refined_widths=(20, 20, 10, 10, 6, 2)) if family == "D" else options


def tiny(family, seed=0):
    torch.manual_seed(seed)
    return Generator(tiny_options(family)).eval()


def masks_of(height, width):
    masks = torch.zeros(4, 1, height, width)
    masks[1] = 1
    masks[2, :, :, : width // 2] = 1
    masks[3, :, 10:31, 17:50] = 1
    return masks


@pytest.mark.parametrize("family", PRESETS)
@pytest.mark.parametrize("size", [(64, 64), (64, 96), (72, 104)])
def test_empty_half_and_full_masks_are_finite(family, size):
    network = tiny(family)
    height, width = (max(side, network.options.min_side) for side in size)
    image = torch.rand(4, 3, height, width) * 2 - 1
    with torch.inference_mode():
        filled = network(image, masks_of(height, width))
    for output in (filled.coarse, filled.final):
        assert output.shape == image.shape
        assert torch.isfinite(output).all()
    assert filled.all_masked.tolist() == [False, True, False, False]


@pytest.mark.parametrize("family", PRESETS)
def test_a_batch_of_different_masks_equals_one_by_one(family):
    network = tiny(family)
    image, masks = torch.rand(4, 3, 72, 80), masks_of(72, 80)
    with torch.inference_mode():
        together = network(image, masks)
        for item in range(4):
            alone = network(image[item : item + 1], masks[item : item + 1])
            for part in ("coarse", "final"):
                np.testing.assert_allclose(
                    getattr(alone, part)[0].numpy(),
                    getattr(together, part)[item].numpy(),
                    rtol=0,
                    atol=2e-6,
                )


@pytest.mark.parametrize("family", PRESETS)
def test_outside_the_mask_the_picture_is_bit_identical(family):
    image, masks = torch.rand(4, 3, 72, 80), masks_of(72, 80)
    with torch.inference_mode():
        completed = tiny(family).complete(image, masks)
    known = (masks == 0).expand_as(image)
    assert torch.equal(completed[known], image[known])


@pytest.mark.parametrize("family", PRESETS)
def test_holes_do_not_reach_the_network(family):
    network, masks = tiny(family), masks_of(72, 80)
    image = torch.rand(4, 3, 72, 80)
    other = torch.where(masks > 0, torch.rand(4, 3, 72, 80), image)
    with torch.inference_mode():
        assert torch.equal(network(image, masks).final, network(other, masks).final)


@pytest.mark.parametrize("family", PRESETS)
def test_every_parameter_gets_a_finite_gradient(family):
    network = tiny(family).train()
    image, masks = torch.rand(4, 3, 72, 80), masks_of(72, 80)
    filled = network(image, masks)
    ((image - filled.final).abs().mean() + (image - filled.coarse).abs().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(
    ("family", "size"), [("B", (64, 60)), ("B", (4, 64)), ("D", (64, 80)), ("A", (0, 8))]
)
def test_sizes_that_do_not_fit_are_one_line(family, size):
    with pytest.raises(ValueError, match="expected multiples of 8 from"):
        tiny(family)(torch.zeros(1, 3, *size), torch.zeros(1, 1, *size))
    with pytest.raises(ValueError, match="expected"):
        tiny(family)(torch.zeros(2, 3, 72, 72), torch.zeros(1, 1, 72, 72))


def test_same_padding_by_hand():
    # 5 columns, stride 2, kernel 3: outputs over columns (-1 0 1), (1 2 3), (3 4 5).
    assert same_padding(5, 3, 2) == (1, 1)
    assert same_padding(6, 3, 2) == (0, 1)
    assert same_padding(6, 5, 2) == (1, 2)
    assert same_padding(6, 3, 1, dilation=4) == (4, 4)
    layer = GatedConv(1, 1, 3, stride=2, padding="tf_same", gated=False)
    layer.weight.data.fill_(1)
    layer.bias.data.zero_()
    x = torch.arange(25.0).view(1, 1, 5, 5)
    with torch.no_grad():
        assert layer(x)[0, 0].tolist() == [[12, 27, 24], [63, 108, 81], [72, 117, 84]]
        # Even sizes: nothing before the first row and column.
        assert layer(x[:, :, :4, :4])[0, 0].tolist() == [[54, 45], [81, 60]]


@pytest.mark.parametrize("family", ["A", "B", "D", "own"])
def test_round_trip(family):
    state = tiny(family).state_dict()
    written = export(state, family)
    assert detect(written) == family
    converted = convert(written, options=tiny_options(family))
    assert converted.tensors.keys() == state.keys()
    assert all(torch.equal(converted.tensors[key], state[key]) for key in state)


def test_split_layers_are_joined_and_folded():
    generator = torch.Generator().manual_seed(1)
    options = tiny_options("C")
    state = {
        key: torch.randn(shape, generator=generator)
        for key, shape in expected_shapes("C", options).items()
    }
    converted = convert(state, options=options)
    assert converted.family == "C"
    Generator(options).load_state_dict(converted.tensors)
    joined = converted.tensors["coarse.3.weight"]
    half = joined.shape[0] // 2
    assert torch.equal(joined[:half], state["coarse.3.conv2d.weight"])
    assert torch.equal(joined[half:], state["coarse.3.mask_conv2d.weight"])
    module = "refine_combine.4.gated_conv2d.mask_conv2d.module"
    wanted = fold(state[f"{module}.weight_bar"], state[f"{module}.weight_u"])
    half = len(wanted)
    assert torch.equal(converted.tensors["merged.4.weight"][half:], wanted)
    with pytest.raises(LayoutError, match="cannot be written as family C"):
        export(converted.tensors, "C")


def test_a_folded_weight_has_norm_one_once_converged():
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(6, 3, 3, 3, generator=generator)
    u = torch.randn(6, generator=generator)
    norm = torch.linalg.matrix_norm(fold(weight, u, 500).flatten(1).double(), 2)
    assert float(norm) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(fold(weight, u, 1), fold(weight, u, 500))


def test_folding_equals_torch_s_spectral_norm():
    torch.manual_seed(3)
    layer = torch.nn.utils.spectral_norm(torch.nn.Conv2d(3, 5, 3))
    weight, u = layer.weight_orig.detach().clone(), layer.weight_u.clone()
    layer(torch.zeros(1, 3, 5, 5))
    torch.testing.assert_close(fold(weight, u), layer.weight.detach(), rtol=1e-5, atol=1e-6)


def test_own_weights_of_another_width_are_recognised():
    network = tiny("own")
    converted = convert(network.state_dict())
    assert converted.options == network.options


@pytest.mark.parametrize("family", DISCRIMINATORS)
def test_discriminators_take_two_steps(family):
    torch.manual_seed(0)
    critic = Discriminator(DISCRIMINATORS[family])
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3)
    image, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    losses = []
    for _ in range(3):
        # Twice before one backward pass, as training does.
        loss = critic(image, mask).mean() - critic(1 - image, mask).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_no_hole_has_no_distance():
    picture = torch.rand(2, 3, 8, 8)
    assert weighted_l1(picture, picture + 1, torch.zeros(2, 1, 8, 8)).item() == 0
