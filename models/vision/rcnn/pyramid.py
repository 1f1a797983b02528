"""Trunk and feature pyramid: five maps of equal width at strides 4 to 64 (Lin et al. 2017).

``B`` batch, ``C`` width of the pyramid.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .resnext import ResNeXt, Trunk

STRIDES = (4, 8, 16, 32, 64)
LEVELS = ("p2", "p3", "p4", "p5", "p6")


class Pyramid(nn.Module):
    """Trunk, 1x1 laterals, sums from above, 3x3 outputs; p6 is every second cell of p5.

    Args:
        sizes: The trunk.
        width: C.
    """

    def __init__(self, sizes: Trunk, width: int) -> None:
        super().__init__()
        for stage in range(2, 6):
            lateral = nn.Conv2d(sizes.output * 2 ** (stage - 2), width, 1)
            self.add_module(f"fpn_lateral{stage}", lateral)
            self.add_module(f"fpn_output{stage}", nn.Conv2d(width, width, 3, padding=1))
        self.bottom_up = ResNeXt(sizes)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return p2 to p6, ``(B, C, H / stride, W / stride)`` each.

        Args:
            images: ``(B, 3, H, W)``, H and W multiples of 32.
        """
        return self.merge(self.bottom_up(images))

    def merge(self, maps: dict[str, Tensor]) -> list[Tensor]:
        """Return p2 to p6 of the trunk's maps."""
        outputs: list[Tensor] = []
        above: Tensor | None = None
        for stage in range(5, 1, -1):
            here: Tensor = self.get_submodule(f"fpn_lateral{stage}")(maps[f"res{stage}"])
            if above is not None:
                here = here + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = here
            outputs.insert(0, self.get_submodule(f"fpn_output{stage}")(here))
        return [*outputs, functional.max_pool2d(outputs[-1], 1, 2)]
