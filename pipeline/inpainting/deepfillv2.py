"""Filling with DeepFillv2: a network that invents texture, from published or own weights.

The network works on a copy whose long side is at most ``fill_side``: shrunk by area averages, the
mask by nearest neighbour and then grown again, both reflected at the bottom and the right to a
multiple of 8. Its result is enlarged to the original's size; the caller pastes only what the mask
covers. Every picture is filled by its own mask.

``H`` height, ``W`` width in pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ..config import Config
from ..errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from affectflow.models.vision.deepfillv2 import Generator, GeneratorOptions

    from .inpainter import InpainterConfig

LIBRARIES = ("opencv-python-headless", "torch")
MEMORY_GB = 2.5

# Where checkpoints keep the generator: mmediting, training programs at large, nipponjo.
CHECKPOINT_WRAPPERS = ("state_dict", "model", "G")

# Attention is chunked, so time is the limit: its scores grow with the fourth power of the side.
MAX_SIDE = 2048

# Pixels per call of the network. A processor gains nothing from batches.
_PIXELS_CPU = 512 * 512
_PIXELS_ACCELERATOR = 16 * 512 * 512


class DeepFillConfig(Config):
    """Which weights, and where published families leave a choice.

    Attributes:
        weights: Entry of the weights catalogue.
        file: Path of a checkpoint of your own, in place of ``weights``; its family is found out.
        family: Family the checkpoint must be of; ``auto`` finds out.
        channels: Order of the channels the weights expect; ``family`` is that of their family.
        rules: Attention as the weights' own program has it (``family``), or ``correct``: hole
            patches are left out of the softmax, every mask pixel counts, overlaps are divided by
            their true number.
        fuse: Whether attention adds neighbours' scores; None is as the family has it.
        allow_untrained: Fill with seeded random weights in place of ``weights``; the result is
            noise, marked as untrained.
        seed: Of the random weights.
    """

    weights: str = "deepfillv2-mmediting-places2"
    file: str | None = None
    family: Literal["auto", "A", "B", "C", "D", "own"] = "auto"
    channels: Literal["family", "RGB", "BGR"] = "family"
    rules: Literal["family", "correct"] = "family"
    fuse: bool | None = None
    allow_untrained: bool = False
    seed: int = Field(default=0, ge=0)


def identity(config: InpainterConfig) -> dict[str, Any]:
    """Return the weights' digests, or that they are random.

    Raises:
        WeightsError: The weights are not there; the command that gets them is named.
        ConfigError: The side at which the network works is out of range.
    """
    from ..extractors._device import seeded_identity
    from ..extractors._packages import require
    from ..weights import entry, identity_of, identity_of_folder

    require("torch")
    _check_side(config)
    wanted = config.deepfillv2
    if wanted.allow_untrained:
        return {"weights": seeded_identity(wanted.seed, _untrained_family(wanted))}
    if wanted.file is not None:
        path = _own_file(wanted.file)
        return {"weights": identity_of_folder(path.name, [path])}
    known = entry(wanted.weights)
    if known.kind != "deepfillv2":
        raise ConfigError(f"weights '{known.name}' are for {known.kind}, not for deepfillv2")
    return {"weights": identity_of(known), "family": known.options.get("family")}


def warnings(config: InpainterConfig) -> tuple[str, ...]:
    """Say that the filling is noise where weights are random, or under which terms they are."""
    from ..extractors._device import untrained_warning
    from ..weights import entry

    wanted = config.deepfillv2
    if not wanted.allow_untrained:
        if wanted.file is not None:
            return ()
        known = entry(wanted.weights)
        return (f"inpaint: terms of the weights '{known.name}': {known.licence}",)
    name = f"DeepFillv2 (family {_untrained_family(wanted)})"
    return (untrained_warning("inpaint", name, wanted.seed),)


def size_bucket(config: InpainterConfig, height: int, width: int) -> tuple[int, int]:
    """Return the size a picture is padded to; pictures of one bucket are filled together."""
    from affectflow.models.vision.deepfillv2 import MULTIPLE

    rows, columns = working_size(height, width, config.fill_side)
    return -(-rows // MULTIPLE) * MULTIPLE, -(-columns // MULTIPLE) * MULTIPLE


@dataclass(slots=True)
class _Prepared:
    """One picture at the size the network works at.

    Attributes:
        picture: ``(h, w, 3)`` uint8 RGB, not padded.
        mask: ``(h, w)`` bool.
        padded: Height and width after padding.
    """

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    padded: tuple[int, int]


class Inpainter:
    """A generator with its weights."""

    def __init__(self, config: InpainterConfig) -> None:
        from ..extractors._device import pick_device, seeded_module

        _check_side(config)
        self._side = config.fill_side
        self._device = pick_device(config.device)
        if config.deepfillv2.allow_untrained:
            wanted = config.deepfillv2
            network = seeded_module(wanted.seed, lambda: _untrained(wanted))
        else:
            network = load_generator(config.deepfillv2)
        self.network = network.eval().to(self._device)

    def fill(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8]]:
        """Return the filled pictures; see `inpainter.Inpainter.fill`."""
        prepared = [self._prepare(*pair) for pair in zip(images, masks, strict=True)]
        buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, one in enumerate(prepared):
            buckets[one.padded].append(place)
        filled: list[NDArray[np.uint8]] = list(images)
        for size, places in buckets.items():
            step = self._batch(size)
            for first in range(0, len(places), step):
                batch = places[first : first + step]
                results = self._run([prepared[place] for place in batch])
                for place, result in zip(batch, results, strict=True):
                    filled[place] = _enlarged(result, images[place])
        return filled

    def without_background(self, mask: NDArray[np.uint8]) -> bool:
        """Whether a mask leaves the attention no patch to copy from; its branch is zero then.

        Args:
            mask: ``(H, W)`` uint8, 255 in holes.
        """
        import torch

        prepared = self._prepare(np.zeros((*mask.shape, 3), dtype=np.uint8), mask)
        holes = torch.from_numpy(_padded(prepared.mask, prepared.padded))[None, None].float()
        # Only the size of the features counts here.
        features = holes.new_zeros((1, 1, *(side // 4 for side in prepared.padded)))
        return bool(self.network.attention.blocked(features, holes).all())

    def _batch(self, size: tuple[int, int]) -> int:
        pixels = _PIXELS_CPU if self._device.type == "cpu" else _PIXELS_ACCELERATOR
        return max(1, pixels // (size[0] * size[1]))

    def _prepare(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> _Prepared:
        from affectflow.models.vision.deepfillv2 import MULTIPLE

        size = working_size(mask.shape[0], mask.shape[1], self._side)
        smallest = self.network.options.min_side
        height, width = (max(-(-side // MULTIPLE) * MULTIPLE, smallest) for side in size)
        return _Prepared(*shrunk(image, mask, size), (height, width))

    def _run(self, batch: Sequence[_Prepared]) -> list[NDArray[np.uint8]]:
        import torch

        from ..extractors._device import inference

        pictures = np.stack([_padded(one.picture, one.padded) for one in batch])
        masks = np.stack([_padded(one.mask, one.padded) for one in batch])
        with inference(), _exact_convolutions():
            image = to_network(torch.from_numpy(pictures), self.network.options)
            mask = torch.from_numpy(masks)[:, None].to(torch.float32)
            image, mask = image.to(self._device), mask.to(self._device)
            completed = self.network.complete(image, mask)
            pixels = from_network(completed, self.network.options).cpu().numpy()
        results = []
        for one, filled in zip(batch, pixels, strict=True):
            height, width = one.mask.shape
            # Known pixels as they were, so that enlarging blends towards the true border.
            kept = filled[:height, :width]
            results.append(np.where(one.mask[:, :, None], kept, one.picture))
        return results


def load_generator(config: DeepFillConfig) -> Generator:
    """Return the generator of a published or an own checkpoint.

    Raises:
        WeightsError: The file is absent, damaged, or not of a supported family.
    """
    from affectflow.models.vision.deepfillv2 import Generator
    from affectflow.models.vision.deepfillv2_layouts import LayoutError, convert

    from ..weights import entry, locate_file
    from ..weights.checkpoint import load_strictly, read_state_dict

    path = _own_file(config.file) if config.file else locate_file(config.weights)
    family = config.family if config.family != "auto" else None
    if family is None and config.file is None:
        family = entry(config.weights).options.get("family")
    tensors = read_state_dict(path, CHECKPOINT_WRAPPERS)
    try:
        converted = convert(tensors, family)
    except LayoutError as error:
        raise WeightsError(
            f"'{path.name}': {error}", "name the file's own entry or family"
        ) from None
    broken = [name for name, one in converted.tensors.items() if not one.isfinite().all()]
    if broken:
        # Spectral norm can make them too, of a layer that is all zeros.
        names = ", ".join(broken[:3])
        raise WeightsError(f"'{path.name}' gives weights that are not finite: {names}")
    network = Generator(_chosen(converted.options, config))
    load_strictly(network, converted.tensors, path.name)
    return network.float()


def working_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return height and width after shrinking the long side to ``side``; never enlarged."""
    longest = max(height, width)
    if longest <= side:
        return height, width
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))


def shrunk(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return picture and mask at ``size``; the mask covers every pixel that a hole touches."""
    import cv2

    if mask.shape == size:
        return image, mask > 0
    shape = (size[1], size[0])
    picture = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    hole = (mask > 0).astype(np.float32)
    nearest = cv2.resize(hole, shape, interpolation=cv2.INTER_NEAREST)
    grown = cv2.dilate(nearest, np.ones((3, 3), np.uint8))
    # Nearest neighbour can step over thin holes; no averaged pixel may hold any of the text.
    touched = cv2.resize(hole, shape, interpolation=cv2.INTER_AREA)
    return picture, (grown > 0) | (touched > 0)


def to_network(pictures: Any, options: GeneratorOptions) -> Any:
    """Return ``(B, H, W, 3)`` uint8 RGB tensors as the network takes them, ``(B, 3, H, W)``."""
    planes = pictures.permute(0, 3, 1, 2).float()
    if options.channels == "BGR":
        planes = planes.flip(1)
    return planes / 255 * (options.high - options.low) + options.low


def from_network(pictures: Any, options: GeneratorOptions) -> Any:
    """Return the network's pictures, ``(B, 3, H, W)``, as ``(B, H, W, 3)`` uint8 RGB, rounded."""
    if options.channels == "BGR":
        pictures = pictures.flip(1)
    scaled = (pictures - options.low) / (options.high - options.low) * 255
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def _padded(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Reflect at the bottom and the right; a single row or column is repeated."""
    bottom, right = size[0] - values.shape[0], size[1] - values.shape[1]
    rest = ((0, 0),) * (values.ndim - 2)
    return np.pad(values, ((0, bottom), (0, right), *rest), mode="reflect")


def _enlarged(filled: NDArray[np.uint8], original: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = original.shape[:2]
    if filled.shape == original.shape:
        return filled
    enlarged = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, dtype=np.uint8)


def _chosen(options: GeneratorOptions, config: DeepFillConfig) -> GeneratorOptions:
    """Return a family's options with what the user wants otherwise."""
    from affectflow.models.vision.contextual_attention import AttentionRules

    attention = options.attention
    if config.rules == "correct":
        attention = AttentionRules(index=attention.index, norm=attention.norm, fuse=attention.fuse)
    if config.fuse is not None:
        attention = replace(attention, fuse=config.fuse)
    channels = options.channels if config.channels == "family" else config.channels
    return replace(options, attention=attention, channels=channels)


def _untrained(config: DeepFillConfig) -> Generator:
    from affectflow.models.vision.deepfillv2 import PRESETS, Generator

    return Generator(_chosen(PRESETS[_untrained_family(config)], config))


def _untrained_family(config: DeepFillConfig) -> Literal["A", "B", "C", "D", "own"]:
    return "own" if config.family == "auto" else config.family


def _own_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"there is no file '{name}'", "pass the path of a DeepFillv2 checkpoint")
    return path


def _check_side(config: InpainterConfig) -> None:
    if not 1 <= config.fill_side <= MAX_SIDE:
        raise ConfigError(
            f"fill_side = {config.fill_side}: deepfillv2 works at a long side of 1 to {MAX_SIDE}",
            "the weights were trained at 256; 512 is the default",
        )


def _exact_convolutions() -> Any:
    """Keep an accelerator from rounding the convolutions' factors to 10 bits."""
    import torch

    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
