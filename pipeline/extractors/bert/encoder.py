"""The network: read from a local folder, or built with seeded random weights.

``B`` batch, ``T`` tokens, ``D`` width.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigError, WeightsError
from .._device import DeviceName, inference, pick_device, seeded_module
from .tokenizers import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sizes of encoders built without weights: the papers' encoder, and one for tests.
UNTRAINED: dict[str, dict[str, int]] = {
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 1000,
        "max_position_embeddings": 512,
    },
}

_TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a model folder that decide the values.

    Raises:
        WeightsError: The folder has no configuration or no weights in safetensors form.
    """
    found = {path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)}
    weights = set(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not weights:
        message = f"'{folder}' is no model folder: expected config.json and *.safetensors"
        raise WeightsError(message, "save the model with save_pretrained")
    return sorted(found | weights | {folder / "config.json"})


def architecture_of(folder: Path) -> dict[str, int]:
    """Return width and number of layers of the model in a folder; nothing heavy is imported.

    Raises:
        WeightsError: The configuration cannot be read or does not say.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        values = {**values, **values.get("text_config", {})}
        width = next(values[k] for k in ("hidden_size", "d_model", "dim") if k in values)
        layers = next(values[k] for k in ("num_hidden_layers", "n_layers") if k in values)
    except (OSError, ValueError, AttributeError, StopIteration) as error:
        message = f"'{folder / 'config.json'}' does not say how wide and deep the model is"
        raise WeightsError(f"{message}: {error}", "is it a Hugging Face encoder?") from None
    return {"hidden_size": int(width), "num_hidden_layers": int(layers)}


class Encoder:
    """A transformer encoder in evaluation mode, float32.

    Args:
        network: The module.
        layer: Which hidden state is returned: -1 the last, 0 the embeddings.
        pad_id: Id put behind short texts; masked, so it changes nothing.
    """

    def __init__(self, network: Any, layer: int, pad_id: int, device: DeviceName) -> None:
        self._device = pick_device(device)
        self._network = network.eval().to(self._device)
        self._layer = layer
        self._pad_id = pad_id

    def hidden(self, batch: Sequence[Tokens], length: int) -> NDArray[np.float32]:
        """Return the hidden states ``(B, length, D)``; rows beyond a text's tokens are junk."""
        import torch

        ids = torch.full((len(batch), length), self._pad_id, dtype=torch.long)
        mask = torch.zeros((len(batch), length), dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = torch.from_numpy(tokens.ids)
            mask[row, : len(tokens.ids)] = 1
        with inference():
            output = self._network(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                output_hidden_states=self._layer != -1,
            )
            last = self._layer == -1
            hidden = output.last_hidden_state if last else output.hidden_states[self._layer]
            return np.asarray(hidden.float().cpu().numpy())


def load_network(folder: Path, unread: Sequence[str] = ("pooler",)) -> Any:
    """Return the trained network in a folder, float32; nothing is downloaded.

    Args:
        folder: Folder with configuration and weights.
        unread: Parts of the names of tensors that may be missing, for nothing here reads them.

    Raises:
        WeightsError: A tensor of the network is missing in the file.
    """
    # Read by the hub client when it is first imported; the folder is local in any case.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        network, report = transformers.AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"'{folder}' cannot be loaded: {str(error).splitlines()[0]}") from None
    missing = sorted(k for k in report["missing_keys"] if not any(part in k for part in unread))
    if missing:
        raise WeightsError(f"'{folder}' lacks {len(missing)} tensors, first {missing[0]}")
    return network


def untrained_network(size: str, seed: int) -> Any:
    """Return a BERT of the given size with seeded random weights."""
    from transformers import BertConfig, BertModel

    def build() -> Any:
        values: dict[str, Any] = {**UNTRAINED[size], "pad_token_id": 0}
        return BertModel(BertConfig(**values), add_pooling_layer=False)

    return seeded_module(seed, build)


def check_layer(layer: int, layers: int) -> None:
    """Refuse a layer the network does not have.

    Raises:
        ConfigError: With the range there is.
    """
    if not -(layers + 1) <= layer <= layers:
        raise ConfigError(f"layer = {layer}, expected {-(layers + 1)} to {layers}")
