"""The network: read from a local folder, or built with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WeightsError
from .._device import DeviceName, inference, pick_device, seeded_module
from ..bert.encoder import architecture_of, load_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Samples under one frame and between frames at 16 kHz, from the strides of its convolutions.
WINDOW, HOP = 400, 320
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)

# Sizes of networks built without weights: the published one, its width with two layers, and one
# for tests.
UNTRAINED: dict[str, dict[str, int]] = {
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "channels": 512,
    },
    "small": {
        "hidden_size": 768,
        "num_hidden_layers": 2,
        "num_attention_heads": 12,
        "intermediate_size": 1024,
        "channels": 64,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "channels": 16,
    },
}


def num_frames(num_samples: int) -> int:
    """Return the frames of a recording at 16 kHz; the shortest is filled up to one frame."""
    return max(0, num_samples - WINDOW) // HOP + 1


def shape_of(folder: Path) -> dict[str, int]:
    """Return width and number of layers of the network in a folder; nothing heavy is imported.

    Raises:
        WeightsError: It is no network of this kind, or its frames lie on another grid.
    """
    found = architecture_of(folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    grid = (tuple(values.get("conv_kernel", ())), tuple(values.get("conv_stride", ())))
    if values.get("model_type") != "wav2vec2" or grid != (_KERNELS, _STRIDES):
        kind = values.get("model_type", "unknown")
        message = f"'{folder / 'config.json'}' is a {kind} model with convolutions {grid}"
        raise WeightsError(message, f"expected wav2vec2 with a frame every {HOP} samples")
    return found


def normalises(folder: Path) -> bool:
    """Return whether a network was trained on recordings of zero mean and unit variance."""
    path = folder / "preprocessor_config.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True))
    except OSError:
        return True
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"'{path}' cannot be read: {error}", "obtain it again") from None


def trained_network(folder: Path) -> Any:
    """Return the trained network in a folder, float32; nothing is downloaded.

    Raises:
        WeightsError: It cannot be loaded or is incomplete.
    """
    # The vector that hides frames during training is never read here.
    return load_network(folder, unread=("masked_spec_embed", "pooler"))


def untrained_network(size: str, seed: int) -> Any:
    """Return a network of the given size with seeded random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    values: dict[str, Any] = dict(UNTRAINED[size])
    channels = values.pop("channels")

    def build() -> Any:
        layers = (channels,) * len(_KERNELS)
        config = Wav2Vec2Config(
            **values, conv_dim=layers, conv_kernel=_KERNELS, conv_stride=_STRIDES
        )
        return Wav2Vec2Model(config)

    return seeded_module(seed, build)


class Network:
    """A network in evaluation mode, float32, that is given one stretch of sound at a time.

    Stretches are never padded: the first layer normalises over time, so padding would show.

    Args:
        network: The module.
        layer: Which hidden state is returned: -1 the last, 0 what enters the first layer.
    """

    def __init__(self, network: Any, layer: int, device: DeviceName) -> None:
        self._device = pick_device(device)
        self._network = network.eval().to(self._device)
        self._layer = layer

    def hidden(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the hidden states ``(num_frames(L), D)`` of a stretch ``(L,)``."""
        import torch

        with inference():
            output = self._network(
                torch.from_numpy(sound)[None].to(self._device),
                output_hidden_states=self._layer != -1,
            )
            last = self._layer == -1
            found = output.last_hidden_state if last else output.hidden_states[self._layer]
            return np.asarray(found[0].float().cpu().numpy())
