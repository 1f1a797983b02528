"""DeepFillv2's generator: a coarse fill, then a refinement with contextual attention.

J. Yu et al., "Free-Form Image Inpainting with Gated Convolution", 2019. Four published families of
weights differ in padding, widths, inputs and attention; `GeneratorOptions` names every difference
and `PRESETS` holds the values of each family. The layouts of their checkpoints are in
`deepfillv2_layouts`.

``B`` batch, ``H, W`` size of the picture in pixels. Masks are 1 in holes, 0 elsewhere, one per
sample. Pictures are in the value range and channel order of the options (`GeneratorOptions`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .contextual_attention import AttentionRules, ContextualAttention

Padding = Literal["zero", "tf_same", "reflect"]
Activation = Literal["elu", "relu", "none"]
Family = Literal["A", "B", "C", "D", "own"]

# Both stages shrink twice by two, and attention halves once more.
MULTIPLE = 8

_DILATIONS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What distinguishes the families.

    Attributes:
        width: Features of the first layer; the deepest layers have four times as many.
        refined_widths: Features of the second stage's last six gated layers; empty: as many as in
            the first stage.
        ones: Feed a channel of ones beside the mask (to tell padding from picture).
        refine_sees_mask: Feed mask (and ones) to the second stage too, not the picture alone.
        padding: ``zero`` on both sides alike, ``reflect``, or ``tf_same``: TensorFlow's zeros, of
            which a strided layer gets the odd one at the bottom and the right.
        gated_output: The layers that make the picture are gated too.
        attention_activation: Of the layer before the attention.
        attention: Rules of the contextual attention.
        low: Smallest value of a picture.
        high: Largest value of a picture.
        hole: Value of hole pixels in the input.
        channels: Order of the picture's channels.
    """

    width: int = 24
    refined_widths: tuple[int, ...] = ()
    ones: bool = True
    refine_sees_mask: bool = False
    padding: Padding = "zero"
    gated_output: bool = False
    attention_activation: Activation = "relu"
    attention: AttentionRules = field(default_factory=AttentionRules)
    low: float = -1.0
    high: float = 1.0
    hole: float = 0.0
    channels: Literal["RGB", "BGR"] = "RGB"

    @property
    def min_side(self) -> int:
        """Smallest height and width in pixels; reflecting needs more pixels than it adds."""
        return 4 * _DILATIONS[-1] + MULTIPLE if self.padding == "reflect" else MULTIPLE

    @property
    def inputs(self) -> int:
        """Channels of the first stage's input."""
        return 4 + self.ones

    @property
    def refine_inputs(self) -> int:
        """Channels of the second stage's input."""
        return self.inputs if self.refine_sees_mask else 3


_ORIGINAL = AttentionRules(mask_index="image_floor", mask_mode="multiply", overlap="quarter")

PRESETS: Mapping[Family, GeneratorOptions] = MappingProxyType(
    {
        # Official TensorFlow weights converted; the converter's code has the fusion off.
        "A": GeneratorOptions(
            padding="tf_same",
            attention=replace(
                _ORIGINAL, index="align_corners", mask_index="image_align_corners", fuse=False
            ),
        ),
        # The same network in PyTorch's own padding, fine-tuned.
        "B": GeneratorOptions(attention=_ORIGINAL),
        # Twice as wide, pictures in [0, 1], holes white.
        "C": GeneratorOptions(
            width=48,
            ones=False,
            refine_sees_mask=True,
            gated_output=True,
            attention=replace(_ORIGINAL, norm="inside"),
            low=0.0,
            hole=1.0,
        ),
        # Reflecting padding, BGR, a wider decoder in the second stage.
        "D": GeneratorOptions(
            refined_widths=(128, 128, 64, 64, 32, 16),
            refine_sees_mask=True,
            padding="reflect",
            gated_output=True,
            attention_activation="elu",
            attention=AttentionRules(mask_index="image_floor"),
            channels="BGR",
        ),
        # Ours, for training from scratch.
        "own": GeneratorOptions(),
    }
)


class GatedConv(nn.Conv2d):
    """A convolution whose features are weighed by a gate: ``act(features) * sigmoid(gate)``.

    The first half of the weight's rows makes the features, the second half the gate. Without
    ``gated`` it is a plain convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: Padding = "zero",
        activation: Activation = "elu",
        gated: bool = True,
        enlarge: bool = False,
    ) -> None:
        # Before the base class, which initialises the weight at once.
        self.gated, self.enlarge = gated, enlarge
        self.rule, self.activation = padding, activation
        rows = 2 * outputs if gated else outputs
        super().__init__(inputs, rows, kernel, stride=stride, dilation=dilation)

    def reset_parameters(self) -> None:
        """Fill in random weights under which signals neither fade nor grow."""
        fan_in = self.in_channels * self.kernel_size[0] ** 2
        # An open gate passes half of its features.
        nn.init.normal_(self.weight, std=(2.0 if self.gated else 1.0) / math.sqrt(fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, ceil(H / stride), ceil(W / stride))``."""
        if self.enlarge:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = self._convolve(x)
        if not self.gated:
            return x
        features, gate = x.chunk(2, dim=1)
        if self.activation == "elu":
            features = functional.elu(features)
        elif self.activation == "relu":
            features = functional.relu(features)
        return features * gate.sigmoid()

    def _convolve(self, x: Tensor) -> Tensor:
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        symmetric = dilation * (kernel - 1) // 2
        if self.rule == "tf_same":
            height, width = (same_padding(size, kernel, stride, dilation) for size in x.shape[-2:])
            x, symmetric = functional.pad(x, (*width, *height)), 0
        elif self.rule == "reflect":
            x, symmetric = functional.pad(x, (symmetric,) * 4, mode="reflect"), 0
        return functional.conv2d(
            x, self.weight, self.bias, stride=stride, padding=symmetric, dilation=dilation
        )


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return TensorFlow's ``SAME`` padding before and after an axis."""
    reach = dilation * (kernel - 1) + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True, slots=True)
class Filled:
    """What the generator returns.

    Attributes:
        coarse: First stage, ``(B, 3, H, W)`` in -1 to 1, before pasting.
        final: Second stage, likewise.
        all_masked: ``(B,)`` bool: the attention had no background patch and returned zeros.
    """

    coarse: Tensor
    final: Tensor
    all_masked: Tensor


class Generator(nn.Module):
    """Both stages.

    ``coarse`` has 17 layers; the second stage has two branches, ``dilated`` (10) and ``attentive``
    (6), attention, ``attended`` (2), that meet in ``merged`` (7).
    """

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.options = options
        width, first, second = options.width, options.inputs, options.refine_inputs
        decoder = tuple(n * width // 2 for n in (8, 8, 4, 4, 2, 1))
        deep = 4 * width
        self.coarse = nn.Sequential(
            *self._encoder(first, (1, 2, 2, 4, 4, 4)),
            *self._dilations(deep),
            *self._decoder(deep, decoder),
        )
        self.dilated = nn.Sequential(
            *self._encoder(second, (1, 1, 2, 2, 4, 4)), *self._dilations(deep)
        )
        last = options.attention_activation
        self.attentive = nn.Sequential(*self._encoder(second, (1, 1, 2, 4, 4, 4), last))
        self.attention = ContextualAttention(options.attention)
        self.attended = nn.Sequential(*(self._layer(deep, deep) for _ in range(2)))
        self.merged = nn.Sequential(*self._decoder(2 * deep, options.refined_widths or decoder))

    def forward(self, image: Tensor, mask: Tensor) -> Filled:
        """Fill the holes of a batch.

        Args:
            image: ``(B, 3, H, W)`` float in the options' range and channel order; what lies in
                holes is not looked at.
            mask: ``(B, 1, H, W)``, 1 in holes.

        Raises:
            ValueError: A size does not fit.
        """
        self._check(image, mask)
        masked = image * (1 - mask) + self.options.hole * mask
        extra = (torch.ones_like(mask), mask) if self.options.ones else (mask,)
        coarse = self.coarse(torch.cat((masked, *extra), dim=1)).tanh()
        pasted = coarse * mask + image * (1 - mask)
        if self.options.refine_sees_mask:
            pasted = torch.cat((pasted, *extra), dim=1)
        attended, all_masked = self.attention(self.attentive(pasted), mask)
        both = torch.cat((self.dilated(pasted), self.attended(attended)), dim=1)
        return Filled(coarse, self.merged(both).tanh(), all_masked)

    def complete(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the picture with its holes filled by the second stage, ``(B, 3, H, W)``."""
        return image * (1 - mask) + self(image, mask).final * mask

    def _check(self, image: Tensor, mask: Tensor) -> None:
        batch, channels, height, width = image.shape
        if channels != 3 or tuple(mask.shape) != (batch, 1, height, width):
            got = f"{tuple(image.shape)} and {tuple(mask.shape)}"
            raise ValueError(f"image and mask are {got}, expected (B, 3, H, W) and (B, 1, H, W)")
        smallest = self.options.min_side
        if height % MULTIPLE or width % MULTIPLE or min(height, width) < smallest:
            raise ValueError(
                f"picture of {height} x {width} pixels, expected multiples of {MULTIPLE} "
                f"from {smallest}"
            )

    def _encoder(
        self, inputs: int, factors: tuple[int, ...], last: Activation = "elu"
    ) -> list[GatedConv]:
        """Return six layers, the second and fourth of stride 2; factors of the width."""
        layers = []
        for place, factor in enumerate(factors):
            outputs = factor * self.options.width
            layers.append(
                GatedConv(
                    inputs,
                    outputs,
                    kernel=5 if place == 0 else 3,
                    stride=2 if place in {1, 3} else 1,
                    padding=self.options.padding,
                    activation=last if place == 5 else "elu",
                )
            )
            inputs = outputs
        return layers

    def _dilations(self, width: int) -> list[GatedConv]:
        return [self._layer(width, width, dilation) for dilation in _DILATIONS]

    def _layer(self, inputs: int, outputs: int, dilation: int = 1) -> GatedConv:
        return GatedConv(inputs, outputs, dilation=dilation, padding=self.options.padding)

    def _decoder(self, inputs: int, widths: tuple[int, ...]) -> list[GatedConv]:
        """Return six gated layers, the third and fifth enlarging, and the one for the picture."""
        layers = []
        padding = self.options.padding
        for place, width in enumerate(widths):
            layers.append(GatedConv(inputs, width, padding=padding, enlarge=place in {2, 4}))
            inputs = width
        gated = self.options.gated_output
        return [*layers, GatedConv(inputs, 3, padding=padding, activation="none", gated=gated)]
