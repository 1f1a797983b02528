"""Family E of DeepFillv2's generators: the same two stages without contextual attention.

The layout of zhaoyuzhi/deepfillv2. A layer is a gated convolution, then instance norm without scale
and shift, then a leaky ReLU; the first layer of a stage has no norm, the last neither. Filling
refuses its files by name, since none for colour pictures is published any more; the network is here
so that a file of your own can be run.

``B`` batch, ``H, W`` size of the picture in pixels. Masks are 1 in holes, 0 elsewhere; pictures are
RGB in 0 to 1 and holes are white in the input.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from .deepfillv2 import Filled, GatedConv
from .deepfillv2_layouts import check_shapes, joined, split_shapes

STAGES = ("coarse", "refinement")
_DILATIONS = {6: 2, 7: 4, 8: 8, 9: 16}
_ENLARGING = (12, 14)
_STRIDED = (1, 3)
_LAYERS = 16


class PlainLayer(nn.Module):
    """Gated convolution, norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, place: int) -> None:
        super().__init__()
        first, last = place == 0, place == _LAYERS - 1
        self.convolution = GatedConv(
            inputs,
            outputs,
            7 if first or last else 4 if place in _STRIDED else 3,
            stride=2 if place in _STRIDED else 1,
            dilation=_DILATIONS.get(place, 1),
            activation="none",
            enlarge=place in _ENLARGING,
        )
        self.normed, self.active = not (first or last), not last

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H / stride, W / stride)``."""
        x = self.convolution(x)
        if self.normed:
            x = functional.instance_norm(x)
        return functional.leaky_relu(x, 0.2) if self.active else x


class PlainGenerator(nn.Module):
    """Both stages; each sees picture and mask.

    Args:
        width: Features of the first layer; 64 is the published network.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (1, 2, *(4,) * 10, 2, 2, 1)
        outputs = [width * factor for factor in widths] + [3]
        for name in STAGES:
            inputs = [4, *outputs[:-1]]
            layers = (
                PlainLayer(*pair, n) for n, pair in enumerate(zip(inputs, outputs, strict=True))
            )
            self.add_module(name, nn.Sequential(*layers))

    def forward(self, image: Tensor, mask: Tensor) -> Filled:
        """Fill the holes of a batch.

        Args:
            image: ``(B, 3, H, W)`` float RGB in 0 to 1; what lies in holes is not looked at.
            mask: ``(B, 1, H, W)``, 1 in holes.
        """
        known = image * (1 - mask)
        coarse = self.get_submodule("coarse")(torch.cat((known + mask, mask), dim=1)).tanh()
        pasted = torch.cat((known + coarse * mask, mask), dim=1)
        final = self.get_submodule("refinement")(pasted).tanh()
        return Filled(coarse, final, torch.zeros(len(image), dtype=torch.bool, device=image.device))


def convert_plain(tensors: Mapping[str, Tensor], power_steps: int = 1) -> dict[str, Tensor]:
    """Return a file of family E as the state dict of `PlainGenerator`, spectral norm folded.

    Args:
        tensors: Of the file, wrappers removed.
        power_steps: How often spectral norm steps before it is folded.

    Raises:
        LayoutError: Names or shapes do not fit.
    """
    check_shapes(tensors, _expected(), "E")
    taken: dict[str, Tensor] = {}
    for theirs in _names():
        weight, bias = joined(tensors, theirs, power_steps)
        taken[f"{theirs}.convolution.weight"], taken[f"{theirs}.convolution.bias"] = weight, bias
    return taken


def _names() -> list[str]:
    return [f"{stage}.{place}" for stage in STAGES for place in range(_LAYERS)]


def _expected() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        ours = PlainGenerator().state_dict()
    shapes: dict[str, tuple[int, ...]] = {}
    for name in _names():
        weight = tuple(ours[f"{name}.convolution.weight"].shape)
        enlarging = int(name.rpartition(".")[2]) in _ENLARGING
        shapes |= split_shapes(name, weight, enlarging)
    return shapes
