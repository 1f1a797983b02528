"""What the backends of the X152 networks share: facts, weights, batches, numeric precision.

Nothing here imports torch before a network is run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import ConfigError
from ...stage import library_version
from ...weights import entry, identity_of, identity_of_folder, locate_file
from .._device import inference, seeded_identity, untrained_warning
from .backends import Prepared

if TYPE_CHECKING:
    import torch

    from . import Config

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Facts about a network that are known without building it.

    Attributes:
        width: D, size of a region vector.
        classes: Classes without background.
        sizes: Arguments of the network's `Sizes`, without the trunk.
        trunk: Arguments of its `Trunk`.
    """

    width: int
    classes: int
    sizes: Mapping[str, Any]
    trunk: Mapping[str, Any]


def check_architecture(config: Config, known: Mapping[str, Architecture]) -> Architecture:
    """Return the facts of the configured network.

    Raises:
        ConfigError: The backend has no such network.
    """
    if config.architecture not in known:
        names = ", ".join(sorted(known))
        message = f"architecture = '{config.architecture}'; {config.backend} knows: {names}"
        raise ConfigError(message, f"for example --set regions.architecture={sorted(known)[0]}")
    return known[config.architecture]


def weights_identity(config: Config, kind: str) -> dict[str, Any]:
    """Return what goes into a fingerprint for the configured weights.

    Args:
        config: The extractor's configuration.
        kind: Kind of the catalogue's entries that this backend reads.

    Raises:
        ConfigError: The named weights are for another network.
        WeightsError: They are not here; the command that gets them is named.
    """
    if config.allow_untrained:
        return seeded_identity(config.seed, config.architecture)
    if config.file is not None:
        return identity_of_folder(config.weights, [Path(config.file)])
    known = entry(config.weights)
    architecture = known.options.get("architecture")
    if known.kind != kind or architecture != config.architecture:
        raise ConfigError(
            f"weights '{known.name}' are for {architecture or known.kind}, not for "
            f"{config.architecture}",
            "name others with --set regions.weights=…, or a file with --set regions.file=…",
        )
    return identity_of(known)


def weights_path(config: Config) -> Path:
    """Return the file the configured weights are read from."""
    return Path(config.file) if config.file else locate_file(config.weights)


def random_warning(config: Config) -> tuple[str, ...]:
    """Return the warning about random weights where they are used."""
    if not config.allow_untrained:
        return ()
    return (untrained_warning("regions", config.architecture, config.seed),)


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Return height and width rounded up to a multiple."""
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def stacked(
    batch: Sequence[Prepared], device: torch.device
) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Return images of one padded size as ``(B, 3, H, W)``, zeros outside, and their sizes."""
    import torch

    rows, columns = (max(one.padded[axis] for one in batch) for axis in (0, 1))
    images = torch.zeros((len(batch), 3, rows, columns))
    for place, one in enumerate(batch):
        _, height, width = one.pixels.shape
        images[place, :, :height, :width] = torch.from_numpy(one.pixels)
    sizes = [(one.pixels.shape[1], one.pixels.shape[2]) for one in batch]
    return images.to(device), sizes


@contextlib.contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run without gradients in the given precision; float32 means no TF32 either.

    With 16 bits the convolutions and linear layers use them; boxes, pooling, deformable sampling,
    softmax and suppression stay in float32.
    """
    import torch

    reduced = precision != "float32"
    dtype = getattr(torch, precision) if reduced else None
    with (
        inference(),
        torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=False,
            deterministic=True,
            allow_tf32=False,
        ),
        torch.autocast(device.type, dtype=dtype, enabled=reduced),
    ):
        yield


def precision_identity(config: Config) -> dict[str, Any]:
    """Return how numbers are computed, for provenance."""
    reduced = config.precision != "float32"
    return {
        "compute": config.precision,
        "autocast": reduced,
        "tf32": False,
        "boxes_and_pooling": "float32",
        "stored": config.dtype,
    }


def versions(*names: str) -> dict[str, str]:
    """Return the versions of distributions that affect values beside the extractor's own."""
    return {name: library_version(name) for name in names}
