"""The trunk: ResNeXt bottlenecks with frozen batch norm, some with deformable 3x3 convolutions.

Xie et al. 2017 (ResNeXt), Dai et al. 2017 (deformable convolution, without modulation). The stride
is on the 3x3 convolution. Frozen batch norm is four buffers and a constant ``eps``.

``B`` batch, ``C`` channels, ``H``, ``W`` of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d, deform_conv2d

# Offsets of a 3x3 kernel: nine positions, each (dy, dx).
NUM_OFFSETS = 18


@dataclass(frozen=True, slots=True)
class Trunk:
    """Sizes of a trunk.

    Attributes:
        blocks: Bottlenecks of the four stages res2 to res5.
        groups: Groups of the 3x3 convolutions.
        group_width: Channels of a group in res2; doubles per stage.
        stem: Channels after the first convolution.
        output: Channels of res2; doubles per stage.
        deformable: Which stages have deformable 3x3 convolutions.
        norm_eps: Added to the variance by frozen batch norm.
    """

    blocks: tuple[int, int, int, int] = (3, 8, 36, 3)
    groups: int = 32
    group_width: int = 8
    stem: int = 64
    output: int = 256
    deformable: tuple[bool, bool, bool, bool] = (False, False, False, False)
    norm_eps: float = 1e-5


class FrozenNorm(FrozenBatchNorm2d):
    """Batch norm with constant statistics, scale and shift; the type of the input is kept."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed map."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class ConvNorm(nn.Conv2d):
    """A convolution without bias and its norm; the norm is named below the convolution."""

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: int,
        norm: nn.Module,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            *channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed convolution."""
        normed: Tensor = self.norm(super().forward(x))
        return normed

    def deformed(self, x: Tensor, offset: Tensor) -> Tensor:
        """Return the same with kernel positions moved by ``offset`` ``(B, 18, H, W)``."""
        # The operator wants one type for all three; positions do not fit 16 bits.
        found = deform_conv2d(
            x.float(), offset.float(), self.weight, None, self.stride, self.padding
        )
        normed: Tensor = self.norm(found)
        return normed


class Bottleneck(nn.Module):
    """1x1, 3x3 (grouped, perhaps deformable), 1x1, added to the input.

    Args:
        channels: Input, inside and output.
        stride: Of the 3x3 convolution and of the shortcut.
        groups: Of the 3x3 convolution.
        deformable: Whether the 3x3 kernel's positions are moved by a convolution of its input.
        eps: Of the norms.
    """

    def __init__(
        self, channels: tuple[int, int, int], stride: int, groups: int, deformable: bool, eps: float
    ) -> None:
        super().__init__()
        before, inside, after = channels
        self.shortcut: ConvNorm | None = None
        if before != after:
            norm = FrozenNorm(after, eps)
            self.shortcut = ConvNorm((before, after), 1, norm, stride)
        self.conv1 = ConvNorm((before, inside), 1, FrozenNorm(inside, eps))
        self.conv2_offset: nn.Conv2d | None = None
        if deformable:
            self.conv2_offset = nn.Conv2d(inside, NUM_OFFSETS, 3, stride, padding=1)
            # Without training the kernel's positions stay where they are.
            nn.init.zeros_(self.conv2_offset.weight)
            nn.init.zeros_(self.conv2_offset.bias)  # type: ignore[arg-type]
        norm = FrozenNorm(inside, eps)
        self.conv2 = ConvNorm((inside, inside), 3, norm, stride, groups)
        self.conv3 = ConvNorm((inside, after), 1, FrozenNorm(after, eps))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C, H / stride, W / stride)``."""
        inner = functional.relu_(self.conv1(x))
        if self.conv2_offset is None:
            inner = self.conv2(inner)
        else:
            inner = self.conv2.deformed(inner, self.conv2_offset(inner))
        inner = self.conv3(functional.relu_(inner))
        return functional.relu_(inner + (x if self.shortcut is None else self.shortcut(x)))


class Stem(nn.Module):
    """7x7 convolution and max pooling: a quarter of the resolution."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv1 = ConvNorm((3, channels), 7, FrozenNorm(channels, eps), stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, C, H / 4, W / 4)`` of images ``(B, 3, H, W)``."""
        return functional.max_pool2d(functional.relu_(self.conv1(images)), 3, 2, 1)


class ResNeXt(nn.Module):
    """Stem and the stages res2 to res5 at strides 4, 8, 16 and 32."""

    def __init__(self, sizes: Trunk) -> None:
        super().__init__()
        self.stem = Stem(sizes.stem, sizes.norm_eps)
        before = sizes.stem
        for place, number in enumerate(sizes.blocks):
            after = sizes.output * 2**place
            inside = sizes.groups * sizes.group_width * 2**place
            blocks = []
            for index in range(number):
                stride = 2 if index == 0 and place > 0 else 1
                channels = (before, inside, after)
                deformable = sizes.deformable[place]
                blocks.append(
                    Bottleneck(channels, stride, sizes.groups, deformable, sizes.norm_eps)
                )
                before = after
            self.add_module(f"res{place + 2}", nn.Sequential(*blocks))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps ``res2`` to ``res5`` by name."""
        found: dict[str, Tensor] = {}
        x = self.stem(images)
        for name in ("res2", "res3", "res4", "res5"):
            x = self.get_submodule(name)(x)
            found[name] = x
        return found


def parameters_of(module: nn.Module) -> int:
    """Return the number of trained numbers, frozen buffers left out."""
    return sum(torch.numel(one) for one in module.parameters())
