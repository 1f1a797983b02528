r"""Stage `augment_image`: one changed picture per kept paraphrase, made from the inpainted parent.

The operations of the published MM-ORIENT augmentation in their order: horizontal flip, brightness,
contrast, hue, saturation. `media/colour.py` defines each without any image library. The published
code reads blue-green-red and saves as red-green-blue, so all its pictures have red and blue
swapped; ``replicate_bgr_bug`` repeats that.

Random numbers. A draw named ``n`` for child ``i`` of sample ``k`` is
``floor(x / 2^11) / 2^53`` with ``x`` the first 8 bytes, big-endian, of
``sha256("k\x1fi\x1fv\x1fn")`` and ``v`` the policy version: the same on any worker. The flip
happens when its draw is below its probability; any other value is ``low + draw · (high - low)``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from ..config import StageConfig, canonical_json
from ..errors import RowAbsent
from ..media import colour
from ..media.images import DECODE_POLICY, encode_png, load_image
from ..records import OutputSpec, Row, TableSpec, child_key
from ..stage import BaseStage, Resources, library_version
from .inpaint import TEXT_FREE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..records import Value

POLICY_VERSION = 1

SCHEMA = pa.schema([("image", pa.binary()), ("mask", pa.binary()), ("parameters", pa.string())])

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Policy:
    """Ranges of a preset.

    Attributes:
        flip: Probability of a horizontal flip.
        brightness: Added, as a fraction of the range of values.
        contrast: Factor about the channel mean.
        hue: Added, as a fraction of the circle.
        saturation: Factor.
    """

    flip: float
    brightness: Range
    contrast: Range
    hue: Range
    saturation: Range


PRESETS: Mapping[str, Policy] = {
    "mild": Policy(0.5, (-0.2, 0.2), (0.8, 1.2), (-0.05, 0.05), (0.8, 1.2)),
    "author": Policy(0.5, (-0.5, 0.5), (0.2, 1.8), (-0.2, 0.2), (5.0, 10.0)),
}


class Config(StageConfig):
    """Which augmentation.

    Attributes:
        preset: ``mild``, or ``author``: the published ranges, very strong.
        replicate_bgr_bug: Swap red and blue, as the published pictures have them.
    """

    preset: Literal["mild", "author"] = "mild"
    replicate_bgr_bug: bool = False
    batch_size: int = Field(default=8, ge=1)


@dataclass(frozen=True, slots=True)
class Item:
    """The parent's picture ``(H, W, 3)`` uint8 RGB and what to do with it."""

    image: NDArray[np.uint8]
    parameters: Mapping[str, Any]


class Stage(BaseStage[Config, Item]):
    """Changes the pictures of augmented samples."""

    NAME: ClassVar[str] = "augment_image"
    VERSION: ClassVar[int] = 1
    LIBRARIES: ClassVar[tuple[str, ...]] = ("pillow",)
    READS: ClassVar[tuple[str, ...]] = ("inpaint",)

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the table of augmented pictures."""
        return (TableSpec(self.NAME, SCHEMA),)

    def identity(self) -> Mapping[str, Any]:
        """Return the version of the draws and the decoding policy."""
        return {"policy_version": POLICY_VERSION, "decode_policy": DECODE_POLICY}

    def libraries(self) -> dict[str, str]:
        """Return the version of the decoder."""
        return {name: library_version(name) for name in self.LIBRARIES}

    def resources(self) -> Resources:
        """Return the memory of float copies of a picture."""
        return Resources(memory_gb=1.0)

    def load(self, row: Row) -> Item:
        """Return the inpainted picture of the parent and the child's parameters."""
        source, index = _parent(row)
        text_free = row.read("inpaint")["outcome"] in TEXT_FREE
        image = load_image(row, "inpainted")
        parameters = draw_parameters(source, index, self.config.preset, text_free)
        return Item(image, {**parameters, "swap_red_blue": self.config.replicate_bgr_bug})

    def compute(self, items: Sequence[Item]) -> Sequence[Mapping[str, Value]]:
        """Return picture and parameters of each child."""
        return [
            {
                self.NAME: {
                    "image": encode_png(augment(item.image, item.parameters)),
                    "mask": None,
                    "parameters": canonical_json(item.parameters),
                }
            }
            for item in items
        ]


def _parent(row: Row) -> tuple[str, int]:
    """Return the parent's key and the child's index out of ``<source>~p<index>``."""
    source = row.sample.source
    prefix = child_key(source or "", 0)[:-1]
    number = row.key[len(prefix) :]
    if source is None or not row.key.startswith(prefix) or not number.isdecimal():
        raise RowAbsent("not_augmented", "the sample is no child of another one")
    return source, int(number)


def draw(source: str, index: int, name: str) -> float:
    """Return the number in [0, 1) of the draw called ``name``."""
    text = "\x1f".join((source, str(index), str(POLICY_VERSION), name))
    first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return (first >> 11) / (1 << 53)


def draw_parameters(source: str, index: int, preset: str, may_flip: bool) -> dict[str, Any]:
    """Return what is done to a child's picture, as JSON.

    Args:
        source: Key of the parent.
        index: Number of the child.
        preset: Name in `PRESETS`.
        may_flip: False where text is still in the picture: mirrored text is no text.
    """
    policy = PRESETS[preset]
    values = {
        name: low + draw(source, index, name) * (high - low)
        for name, (low, high) in (
            ("brightness", policy.brightness),
            ("contrast", policy.contrast),
            ("hue", policy.hue),
            ("saturation", policy.saturation),
        )
    }
    flip = may_flip and draw(source, index, "flip") < policy.flip
    facts = {"preset": preset, "policy_version": POLICY_VERSION, "may_flip": may_flip}
    return {**facts, "flip": flip, **values}


def augment(image: NDArray[np.uint8], parameters: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the changed picture, same size.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        parameters: What `draw_parameters` gave, and ``swap_red_blue``.
    """
    if parameters["swap_red_blue"]:
        # What is done next takes blue for red, and nothing swaps them back.
        image = image[:, :, ::-1]
    if parameters["flip"]:
        image = image[:, ::-1]
    picture = colour.brightness(colour.from_bytes(image), parameters["brightness"])
    picture = colour.contrast(picture, parameters["contrast"])
    picture = colour.hue_and_saturation(picture, parameters["hue"], parameters["saturation"])
    return colour.to_bytes(picture)


def profile(name: str) -> dict[str, Any]:
    """Return the configuration that a profile asks for: the published ranges for ``paper``."""
    return {"preset": "author"} if name == "paper" else {}
