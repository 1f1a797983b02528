"""Token embeddings of any Hugging Face encoder, stored ragged: only positions that exist.

Features: ``bert`` (N tokens, width), ``bert.ids`` (N,), ``bert.truncated`` (1,), and with
``pooled`` also ``bert.pooled`` (width,). An empty text is its special tokens. The papers' model is
BERT base, Devlin et al. 2019; offline it is all-MiniLM-L6-v2.

``B`` batch, ``N`` tokens of a text, ``T`` padded length, ``D`` width.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...config import StageConfig
from ...errors import WeightsError
from ...records import FeatureSpec, Row
from ...stage import BaseStage, Resources
from ...weights import entry, identity_of, identity_of_folder, locate
from .._device import DeviceName, resources_for, seeded_identity, untrained_warning
from .._inputs import TextSource, read_text, stages_read
from .._packages import require
from .encoder import (
    UNTRAINED,
    Encoder,
    architecture_of,
    check_layer,
    files_of,
    load_network,
    untrained_network,
)
from .tokenizers import HashTokenizer, PretrainedTokenizer, Tokenizer, Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...records import Value

# Texts of one batch are padded to the same multiple of this, whatever else is in the batch.
LENGTH_STEP = 8


class Config(StageConfig):
    """Which encoder, which text, what is stored.

    Attributes:
        model: Name in the catalogue of weights; with ``folder`` only a label.
        folder: A folder that holds a model of your own, saved with `save_pretrained`.
        revision: If given, the catalogue's revision must be this one.
        layer: Hidden state to store: -1 the last, 0 the embeddings.
        pooled: Also store one vector per text: the mean over its tokens, or the first token.
        max_length: Tokens per text at most, special tokens included.
        dtype: Stored type; computing is in float32.
        allow_untrained: Build the architecture ``untrained_size`` with random weights from
            ``seed`` and a hash of words for a tokenizer, instead of reading any weights.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "device", "folder"})

    model: str = Field(default="all-MiniLM-L6-v2", min_length=1)
    folder: str | None = None
    revision: str | None = None
    text_source: TextSource = "clean"
    layer: int = -1
    pooled: Literal["none", "mean", "cls"] = "none"
    max_length: int = Field(default=128, ge=3, le=8192)
    dtype: Literal["float16", "float32"] = "float16"
    allow_untrained: bool = False
    untrained_size: Literal["base", "tiny"] = "base"
    seed: int = Field(default=0, ge=0)
    device: DeviceName = "auto"
    batch_size: int = Field(default=32, ge=1)


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile: ``offline`` or ``paper``."""
    return {"model": "bert-base-uncased" if name == "paper" else "all-MiniLM-L6-v2"}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests: no weights, a network of two small layers."""
    return {
        "allow_untrained": True,
        "untrained_size": "tiny",
        "seed": 1,
        "max_length": 24,
        "pooled": "mean",
        "device": "cpu",
    }


class Extractor(BaseStage[Config, Tokens]):
    """Text to token embeddings."""

    NAME = "bert"
    VERSION = 1
    LIBRARIES = ("torch", "transformers", "tokenizers")
    CITATION = "Devlin et al. 2019, BERT"

    def reads(self) -> tuple[str, ...]:
        """Return the stage that cleans texts, unless raw text is asked for."""
        return stages_read(text=self.config.text_source)

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the features; the width comes from the model's own configuration."""
        width, dtype = self._architecture["hidden_size"], self.config.dtype
        specs = (
            FeatureSpec("bert", "text", (None, width), dtype),
            FeatureSpec("bert.ids", "text", (None,), "int32", compression="zstd"),
            FeatureSpec("bert.truncated", "text", (1,), "uint8", compression="zstd"),
        )
        if self.config.pooled == "none":
            return specs
        return (*specs, FeatureSpec("bert.pooled", "text", (width,), dtype))

    def identity(self) -> Mapping[str, Any]:
        """Return digests of weights and tokenizer, or the seed."""
        require("torch", "transformers")
        check_layer(self.config.layer, self._architecture["num_hidden_layers"])
        return {"weights": self._weights(), "length_step": LENGTH_STEP}

    def _weights(self) -> dict[str, Any]:
        config = self.config
        if config.allow_untrained:
            return seeded_identity(config.seed, self._architecture)
        if config.folder is not None:
            return identity_of_folder(config.model, files_of(Path(config.folder)))
        known = entry(config.model)
        if config.revision is not None and config.revision != known.revision:
            message = f"'{config.model}' is revision {known.revision}, not {config.revision}"
            raise WeightsError(message, "leave revision out, or pass a folder with your own")
        if known.kind != "transformers":
            raise WeightsError(f"weights '{config.model}' are of kind {known.kind}, not an encoder")
        return identity_of(known)

    @functools.cached_property
    def _architecture(self) -> dict[str, int]:
        if self.config.allow_untrained:
            return UNTRAINED[self.config.untrained_size]
        return architecture_of(self._folder())

    def _folder(self) -> Path:
        if self.config.folder is not None:
            return Path(self.config.folder)
        return locate(self.config.model)

    def warnings(self) -> tuple[str, ...]:
        """Say so when the weights are random."""
        if not self.config.allow_untrained:
            return ()
        name = f"BERT ({self.config.untrained_size}) with hashed words"
        return (untrained_warning(self.NAME, name, self.config.seed),)

    def resources(self) -> Resources:
        """Return about what a base model takes."""
        return resources_for(self.config.device, memory_gb=2.0)

    def open(self) -> None:
        """Load tokenizer and network."""
        config = self.config
        check_layer(config.layer, self._architecture["num_hidden_layers"])
        network: Any
        if config.allow_untrained:
            vocabulary = UNTRAINED[config.untrained_size]["vocab_size"]
            self._tokenizer: Tokenizer = HashTokenizer(vocabulary)
            network = untrained_network(config.untrained_size, config.seed)
        else:
            network = load_network(self._folder())
            self._tokenizer = PretrainedTokenizer(self._folder())
        self._encoder = Encoder(network, config.layer, self._tokenizer.pad_id, config.device)

    def load(self, row: Row) -> Tokens:
        """Return the token ids of the row's text."""
        text = read_text(row, self.config.text_source)
        return self._tokenizer.encode(text, self.config.max_length)

    def bucket(self, item: Tokens) -> Hashable:
        """Return the padded length."""
        return self._padded(item)

    def _padded(self, item: Tokens) -> int:
        return min(-(-len(item.ids) // LENGTH_STEP) * LENGTH_STEP, self.config.max_length)

    def compute(self, items: Sequence[Tokens]) -> Sequence[Mapping[str, Value]]:
        """Return the features of a batch."""
        length = max(self._padded(item) for item in items)
        hidden = self._encoder.hidden(items, length)
        return [self._features(item, hidden[row]) for row, item in enumerate(items)]

    def _features(self, item: Tokens, hidden: NDArray[np.float32]) -> dict[str, Value]:
        valid = hidden[: len(item.ids)]
        values: dict[str, Value] = {
            "bert": valid.astype(self.config.dtype),
            "bert.ids": item.ids,
            "bert.truncated": np.asarray([item.truncated], dtype=np.uint8),
        }
        if self.config.pooled != "none":
            pooled = valid.mean(axis=0) if self.config.pooled == "mean" else valid[0]
            values["bert.pooled"] = pooled.astype(self.config.dtype)
        return values
