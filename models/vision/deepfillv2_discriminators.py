"""Discriminators of DeepFillv2: SN-PatchGAN and its variants.

Six strided convolutions under spectral norm look at picture and mask and give one score per place
(and channel). Families differ in padding, kernels and in when spectral norm takes its power step;
`DISCRIMINATORS` holds each family's values and `convert_discriminator` reads its checkpoints.

``B`` batch, ``H, W`` size of the picture in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .deepfillv2 import Family, same_padding
from .deepfillv2_layouts import LayoutError

Steps = Literal["training", "always", "in_place"]

_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class DiscriminatorOptions:
    """What distinguishes the families.

    Attributes:
        widths: Outputs of each layer.
        kernels: Kernel sizes; every layer but those of kernel 7 halves the picture.
        padding: ``zero`` on both sides alike or ``tf_same``.
        activation: ``leaky`` (slope 0.2) or ``elu``.
        plain_last: The last layer has no activation.
        steps: When spectral norm steps: ``training`` only; ``always``, also in evaluation;
            ``in_place``, always, and the weight itself is divided, so that the norm gets no
            gradient.
    """

    widths: tuple[int, ...] = (64, 128, 256, 256, 256, 256)
    kernels: tuple[int, ...] = (5,) * 6
    padding: Literal["zero", "tf_same"] = "zero"
    activation: Literal["leaky", "elu"] = "leaky"
    plain_last: bool = False
    steps: Steps = "training"


DISCRIMINATORS: Mapping[Family, DiscriminatorOptions] = MappingProxyType(
    {
        "A": DiscriminatorOptions(padding="tf_same", steps="in_place"),
        "B": DiscriminatorOptions(steps="in_place"),
        "C": DiscriminatorOptions(
            widths=(48, 96, 192, 192, 192, 1),
            kernels=(7, 4, 4, 4, 4, 4),
            activation="elu",
            plain_last=True,
            steps="always",
        ),
        "D": DiscriminatorOptions(),
        "own": DiscriminatorOptions(),
    }
)


class SpectralConv(nn.Module):
    """A convolution whose weight is divided by its largest singular value, as estimated so far.

    T. Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018: each power
    step is ``v = W^T u / |W^T u|``, ``u = W v / |W v|``, and the norm is ``u^T W v``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, padding: str, steps: Steps
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.steps = kernel, stride, padding, steps
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)
        self.u: Tensor
        self.v: Tensor
        self.register_buffer("u", functional.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn(inputs * kernel**2), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)``."""
        weight, symmetric = self._normalised(), (self.kernel - 1) // 2
        if self.padding == "tf_same":
            height, width = (same_padding(n, self.kernel, self.stride) for n in x.shape[-2:])
            x, symmetric = functional.pad(x, (*width, *height)), 0
        return functional.conv2d(x, weight, self.bias, stride=self.stride, padding=symmetric)

    def _normalised(self) -> Tensor:
        if self.training or self.steps != "training":
            self._step()
        matrix = self.weight.flatten(1)
        if self.steps == "in_place":
            # The original's rule; through `data`, or autograd would refuse the next backward pass.
            norm = self.u @ (matrix.detach() @ self.v)
            self.weight.data.div_(norm)
            return self.weight
        # Copies: the next step overwrites the buffers before this graph is walked back.
        return self.weight / (self.u.clone() @ (matrix @ self.v.clone()))

    @torch.no_grad()
    def _step(self) -> None:
        matrix = self.weight.detach().flatten(1)
        self.v.copy_(functional.normalize(matrix.t() @ self.u, dim=0, eps=_EPS))
        self.u.copy_(functional.normalize(matrix @ self.v, dim=0, eps=_EPS))


class Discriminator(nn.Module):
    """Scores places of a picture: high for real ones."""

    def __init__(self, options: DiscriminatorOptions | None = None) -> None:
        super().__init__()
        self.options = options or DiscriminatorOptions()
        inputs, layers = 4, []
        for outputs, kernel in zip(self.options.widths, self.options.kernels, strict=True):
            stride = 1 if kernel == 7 else 2
            padding, steps = self.options.padding, self.options.steps
            layers.append(SpectralConv(inputs, outputs, kernel, stride, padding, steps))
            inputs = outputs
        self.layers = nn.ModuleList(layers)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the scores, ``(B, channels, rows, columns)``.

        Args:
            image: ``(B, 3, H, W)``: a real picture, or one whose holes were filled.
            mask: ``(B, 1, H, W)``, 1 in holes.
        """
        x = torch.cat((image, mask), dim=1)
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place == len(self.layers) - 1 and self.options.plain_last:
                return x
            leaky = self.options.activation == "leaky"
            x = functional.leaky_relu(x, 0.2) if leaky else functional.elu(x)
        return x


def convert_discriminator(tensors: Mapping[str, Tensor]) -> tuple[Family, dict[str, Tensor]]:
    """Return the family (A and B are alike: ``B``) and the tensors in our names.

    Args:
        tensors: Of the file, wrappers removed; generator entries of family D are passed over.

    Raises:
        LayoutError: The keys are of no known family, or some are missing.
    """
    layouts: tuple[tuple[Family, str, str], ...] = (
        ("B", "conv{}.conv_sn.{}", "weight"),
        ("C", "block{}.conv2d.module.{}", "weight_bar"),
        ("D", "disc.conv{}.conv.{}", "weight_orig"),
    )
    for family, pattern, weight in layouts:
        if pattern.format(1, weight) in tensors:
            return family, dict(_renamed(tensors, pattern, weight))
    first = ", ".join(sorted(tensors)[:3]) or "none"
    raise LayoutError(f"the keys are of no known discriminator of DeepFillv2; first keys: {first}")


def _renamed(tensors: Mapping[str, Tensor], pattern: str, weight: str) -> dict[str, Tensor]:
    taken = {}
    for place in range(6):
        names = {"weight": weight, "bias": "bias", "u": "weight_u", "v": "weight_v"}
        for ours, theirs in names.items():
            key = pattern.format(place + 1, theirs)
            if key in tensors:
                value = tensors[key]
                taken[f"layers.{place}.{ours}"] = value if ours == "weight" else value.flatten()
            elif ours != "v":
                raise LayoutError(f"the discriminator's weights lack {key}")
            else:
                # Two families store no right vector: the first step makes it from the left one.
                size = taken[f"layers.{place}.weight"][0].numel()
                taken[f"layers.{place}.v"] = torch.zeros(size)
    return taken
