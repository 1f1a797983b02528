"""The two towers: their configuration, how they are built, and how they are run.

``B`` batch, ``T`` text positions, ``D`` width of the joint space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigError, WeightsError
from ...weights.checkpoint import load_strictly, read_state_dict
from .._device import DeviceName, inference, pick_device, seeded_module
from .._packages import folder_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

# Texts are run at the next multiple of this. The text tower is causal and is read at the end
# token, so that positions behind it change nothing and need not be computed.
LENGTH_STEP = 8

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}

# Towers that would be built from a hub or by another library.
_FOREIGN = ("timm_model_name", "hf_model_name", "hf_tokenizer_name", "multimodal_cfg")


def architecture_of(model: str) -> dict[str, Any]:
    """Return the configuration of a model of open_clip, read without importing it.

    Raises:
        ConfigError: The name is unknown, or its towers are not open_clip's own.
        MissingDependency: open_clip is not installed.
    """
    if model == "tiny":
        return TINY
    folder = folder_of("open_clip") / "model_configs"
    path = folder / f"{model}.json"
    if Path(model).name != model or not path.is_file():
        near = sorted(found.stem for found in folder.glob(f"{model[:3]}*.json"))
        raise ConfigError(f"open_clip has no model '{model}'", f"for example {', '.join(near[:6])}")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    towers = {**values["vision_cfg"], **values["text_cfg"], **values}
    odd = [name for name in (*_FOREIGN, "custom_text") if towers.get(name)]
    if odd or not isinstance(values["vision_cfg"].get("layers"), int):
        raise ConfigError(
            f"'{model}' is no plain pair of CLIP transformers ({', '.join(odd) or 'ResNet'})",
            "use a ViT model such as ViT-B-32",
        )
    return values


def check_activation(model: str, tag: str, quick_gelu: bool) -> None:
    """Refuse weights whose activation is not the network's.

    Args:
        model: Name in open_clip, for example ``ViT-B-32``.
        tag: Name of the published weights in open_clip, for example ``openai``.
        quick_gelu: Whether the network is built with QuickGELU.

    Raises:
        ConfigError: open_clip says that these weights were trained with the other activation.
    """
    import open_clip

    known = open_clip.get_pretrained_cfg(model, tag)
    if known and bool(known.get("quick_gelu", False)) != quick_gelu:
        raise ConfigError(
            f"'{tag}' weights of {model} were trained with quick_gelu={not quick_gelu}, "
            f"the network is built with quick_gelu={quick_gelu}",
            f"--set clip.quick_gelu={str(not quick_gelu).lower()}",
        )


def build(architecture: dict[str, Any], quick_gelu: bool) -> Any:
    """Return a CLIP network with weights from the current random state."""
    from open_clip.model import CLIP

    values = {key: value for key, value in architecture.items() if key != "quick_gelu"}
    return CLIP(**values, quick_gelu=quick_gelu)


class Towers:
    """Both towers in evaluation mode, float32.

    Args:
        network: A CLIP network.
        tokens: Whether features per patch and per text position are wanted too.
    """

    def __init__(self, network: Any, tokens: bool, device: DeviceName) -> None:
        if network.text_pool_type != "argmax" or network.attn_mask is None:
            raise ConfigError("the text tower is not causal or is not read at its end token")
        self._device = pick_device(device)
        self._network = network.float().eval().to(self._device)
        self._tokens = tokens
        self._network.visual.output_tokens = tokens

    def images(self, batch: Sequence[NDArray[np.float32]]) -> list[tuple[NDArray[np.float32], ...]]:
        """Return per image the unit vector ``(D,)`` and, if wanted, patches ``(P, width)``."""
        import torch
        from torch.nn import functional

        pixels = torch.from_numpy(np.stack(batch)).to(self._device)
        with inference():
            found = self._network.visual(pixels)
            pooled, *tokens = found if self._tokens else (found,)
            values = [functional.normalize(pooled, dim=-1), *tokens]
            return list(zip(*(_numpy(value) for value in values), strict=True))

    def texts(self, batch: Sequence[NDArray[np.int64]]) -> list[tuple[NDArray[np.float32], ...]]:
        """Return per text the unit vector ``(D,)`` and, if wanted, positions ``(T, width)``.

        Each text is run at its own length rounded up, so that a result does not depend on the
        other texts.
        """
        groups: dict[int, list[int]] = {}
        for place, ids in enumerate(batch):
            groups.setdefault(self._length(ids), []).append(place)
        results: dict[int, tuple[NDArray[np.float32], ...]] = {}
        for length, places in groups.items():
            found = self._texts_of_length([batch[place] for place in places], length)
            results.update(zip(places, found, strict=True))
        return [results[place] for place in range(len(batch))]

    def _length(self, ids: NDArray[np.int64]) -> int:
        rounded = -(-len(ids) // LENGTH_STEP) * LENGTH_STEP
        return min(rounded, int(self._network.context_length))

    def _texts_of_length(
        self, batch: Sequence[NDArray[np.int64]], length: int
    ) -> list[tuple[NDArray[np.float32], ...]]:
        import torch
        from torch.nn import functional

        padded = np.zeros((len(batch), length), dtype=np.int64)
        for row, ids in enumerate(batch):
            padded[row, : len(ids)] = ids
        with inference():
            ids_on_device = torch.from_numpy(padded).to(self._device)
            hidden = self._hidden(ids_on_device)
            # The end token has the highest id.
            ends = ids_on_device.argmax(dim=-1)
            pooled = hidden[torch.arange(len(batch), device=self._device), ends]
            vectors = _numpy(functional.normalize(self._project(pooled), dim=-1))
            if not self._tokens:
                return [(vector,) for vector in vectors]
            states = _numpy(hidden)
        return [(vectors[row], states[row, : len(ids)].copy()) for row, ids in enumerate(batch)]

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the text tower's last states ``(B, T, width)`` for ids ``(B, T)``."""
        network, length = self._network, ids.shape[1]
        states = network.token_embedding(ids) + network.positional_embedding[:length]
        states = network.transformer(states, attn_mask=network.attn_mask[:length, :length])
        normed: torch.Tensor = network.ln_final(states)
        return normed

    def _project(self, pooled: torch.Tensor) -> torch.Tensor:
        import torch

        projection = self._network.text_projection
        if projection is None:
            return pooled
        if isinstance(projection, torch.nn.Linear):
            projected: torch.Tensor = projection(pooled)
            return projected
        return pooled @ projection


def _numpy(values: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy())


def trained(architecture: dict[str, Any], quick_gelu: bool, path: Path) -> Any:
    """Return the network with the weights in a file.

    Raises:
        WeightsError: The file does not fit the network.
    """
    # The initial values are overwritten; the seed only keeps the process' random state untouched.
    network = seeded_module(0, lambda: build(architecture, quick_gelu))
    tensors = read_state_dict(path)
    if "logit_scale" in tensors:
        tensors["logit_scale"] = tensors["logit_scale"].reshape(network.logit_scale.shape)
    expected = set(network.state_dict())
    # Sizes that OpenAI's files carry beside the tensors.
    extra = {"input_resolution", "context_length", "vocab_size", "attn_mask"} - expected
    kept = {key: value for key, value in tensors.items() if key not in extra}
    if not kept:
        raise WeightsError(f"'{path.name}' holds no tensors of a CLIP network")
    load_strictly(network, kept, path.name)
    return network
