"""CLIP features of image and text: unit vectors in one space, optionally one vector per token.

Features: ``clip_image`` (D,), ``clip_text`` (D,), ``clip.truncated`` (1,), and with ``tokens`` also
``clip_image_tokens`` (patches, width) and ``clip_text_tokens`` (N, width). A sample whose image
cannot be read still gets its text, and the other way round. Radford et al. 2021.

``D`` joint width, ``S`` image side, ``N`` text positions that exist.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...config import StageConfig
from ...errors import ConfigError, RowAbsent, RowError
from ...media.images import DECODE_POLICY
from ...records import Failure, FeatureSpec, Row
from ...stage import BaseStage, Resources
from ...weights import entry, identity_of, identity_of_folder, locate_file
from .._device import (
    DeviceName,
    resources_for,
    seeded_identity,
    seeded_module,
    untrained_warning,
)
from .._inputs import ImageSource, TextSource, read_image, read_text, stages_read
from .._packages import require
from .images import ResizeMode, prepare_image
from .network import LENGTH_STEP, Towers, architecture_of, build, check_activation, trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...records import Value


class Config(StageConfig):
    """Which towers, which inputs, what is stored.

    Attributes:
        model: Name of the architecture in open_clip.
        tag: Name of the weights in open_clip; says which activation they were trained with.
        weights: Name in the catalogue of weights.
        file: A file with weights of your own; ``weights`` is then only a label.
        quick_gelu: Whether the towers use QuickGELU, as OpenAI's weights need.
        resize_mode: ``shortest`` cuts the middle out, ``longest`` pads, ``squash`` distorts.
        tokens: Also store one vector per patch and per text position.
        dtype: Stored type of the vectors; tokens are stored as float16. Computing is in float32.
        allow_untrained: Use random weights from ``seed`` instead of reading any.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "device", "file"})

    model: str = "ViT-B-32"
    tag: str = "openai"
    weights: str = "clip-vit-b-32-openai"
    file: str | None = None
    quick_gelu: bool = True
    image_source: ImageSource = "inpainted"
    text_source: TextSource = "clean"
    resize_mode: ResizeMode = "shortest"
    tokens: bool = False
    dtype: Literal["float16", "float32"] = "float32"
    allow_untrained: bool = False
    seed: int = Field(default=0, ge=0)
    device: DeviceName = "auto"
    batch_size: int = Field(default=32, ge=1)


@dataclass(frozen=True, slots=True)
class Item:
    """One sample, each modality prepared or failed on its own.

    Attributes:
        image: Network input ``(3, S, S)`` float32.
        text: Token ids ``(N,)`` int64 with start and end token.
        truncated: Whether the text had more tokens than fit.
    """

    image: NDArray[np.float32] | Failure
    text: NDArray[np.int64] | Failure
    truncated: bool = False


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile: ``offline`` has random weights, ``paper`` OpenAI's."""
    return {"allow_untrained": name != "paper"}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests."""
    return {
        "model": "tiny",
        "allow_untrained": True,
        "seed": 1,
        "tokens": True,
        "device": "cpu",
    }


class Extractor(BaseStage[Config, Item]):
    """Image and text to vectors of one space."""

    NAME = "clip"
    VERSION = 1
    LIBRARIES = ("torch", "open_clip_torch", "pillow", "ftfy", "regex")
    CITATION = "Radford et al. 2021, CLIP"

    def reads(self) -> tuple[str, ...]:
        """Return the stages that prepare text and image, unless the originals are asked for."""
        return stages_read(self.config.text_source, self.config.image_source)

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the features; sizes come from open_clip's own configuration of the model."""
        sizes, dtype = self._architecture, self.config.dtype
        width = int(sizes["embed_dim"])
        specs = (
            FeatureSpec("clip_image", "image", (width,), dtype),
            FeatureSpec("clip_text", "text", (width,), dtype),
            FeatureSpec("clip.truncated", "text", (1,), "uint8", compression="zstd"),
        )
        if not self.config.tokens:
            return specs
        vision, text = sizes["vision_cfg"], sizes["text_cfg"]
        patches = (int(vision["image_size"]) // int(vision["patch_size"])) ** 2
        return (
            *specs,
            FeatureSpec("clip_image_tokens", "image", (patches, int(vision["width"]))),
            FeatureSpec("clip_text_tokens", "text", (None, int(text["width"]))),
        )

    @functools.cached_property
    def _architecture(self) -> dict[str, Any]:
        return architecture_of(self.config.model)

    def identity(self) -> Mapping[str, Any]:
        """Return the weights' digest or the seed, the towers' sizes and the preprocessing."""
        require("torch", "open_clip", "ftfy", "regex")
        return {
            "weights": self._weights(),
            "architecture": self._architecture,
            "normalised": True,
            "decode_policy": DECODE_POLICY,
            "length_step": LENGTH_STEP,
        }

    def _weights(self) -> dict[str, Any]:
        config = self.config
        if config.allow_untrained:
            return seeded_identity(config.seed, config.model)
        if config.file is not None:
            return identity_of_folder(config.weights, [Path(config.file)])
        known = entry(config.weights)
        model, quick = known.options.get("model"), known.options.get("quick_gelu")
        if known.kind != "open_clip" or model != config.model.removesuffix("-quickgelu"):
            raise ConfigError(f"weights '{known.name}' are for {model}, not for {config.model}")
        if quick is not None and quick != config.quick_gelu:
            raise ConfigError(
                f"weights '{known.name}' were trained with quick_gelu={quick}, "
                f"got quick_gelu={config.quick_gelu}",
                f"--set clip.quick_gelu={str(quick).lower()}",
            )
        return identity_of(known)

    def warnings(self) -> tuple[str, ...]:
        """Say so when the weights are random."""
        if not self.config.allow_untrained:
            return ()
        return (untrained_warning(self.NAME, self.config.model, self.config.seed),)

    def resources(self) -> Resources:
        """Return about what ViT-B/32 takes."""
        return resources_for(self.config.device, memory_gb=2.5)

    def open(self) -> None:
        """Build the towers and the tokenizer."""
        import open_clip

        config, architecture = self.config, self._architecture
        if config.allow_untrained:
            network = seeded_module(config.seed, lambda: build(architecture, config.quick_gelu))
        else:
            self._weights()
            check_activation(config.model, config.tag, config.quick_gelu)
            path = Path(config.file) if config.file else locate_file(config.weights)
            network = trained(architecture, config.quick_gelu, path)
        self._towers = Towers(network, config.tokens, config.device)
        self._side = int(architecture["vision_cfg"]["image_size"])
        self._context = int(architecture["text_cfg"].get("context_length", 77))
        self._tokenizer: Any = open_clip.SimpleTokenizer(context_length=self._context)

    def load(self, row: Row) -> Item:
        """Return the prepared image and text; what is wrong with one leaves the other.

        Raises:
            RowError: Neither can be used.
        """
        problems: list[RowError] = []
        image: NDArray[np.float32] | Failure
        text: NDArray[np.int64] | Failure
        truncated = False
        try:
            pixels = read_image(row, self.config.image_source)
            image = prepare_image(pixels, self._side, self.config.resize_mode)
        except RowError as error:
            problems.append(error)
            image = Failure.of(error)
        try:
            text, truncated = self._ids(read_text(row, self.config.text_source))
        except RowError as error:
            problems.append(error)
            text = Failure.of(error)
        if len(problems) == 2:
            raise next((one for one in problems if not isinstance(one, RowAbsent)), problems[0])
        return Item(image, text, truncated)

    def _ids(self, text: str) -> tuple[NDArray[np.int64], bool]:
        tokenizer = self._tokenizer
        ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        truncated = len(ids) > self._context
        if truncated:
            ids = [*ids[: self._context - 1], tokenizer.eot_token_id]
        return np.asarray(ids, dtype=np.int64), truncated

    def compute(self, items: Sequence[Item]) -> Sequence[Mapping[str, Value]]:
        """Return the features of a batch; each tower runs over the items that have its input."""
        results: list[dict[str, Value]] = [{} for _ in items]
        images = {n: i.image for n, i in enumerate(items) if not isinstance(i.image, Failure)}
        texts = {n: i.text for n, i in enumerate(items) if not isinstance(i.text, Failure)}
        if images:
            found = self._towers.images(list(images.values()))
            self._fill(results, list(images), "clip_image", found)
        if texts:
            found = self._towers.texts(list(texts.values()))
            self._fill(results, list(texts), "clip_text", found)
        for item, result in zip(items, results, strict=True):
            result["clip.truncated"] = np.asarray([item.truncated], dtype=np.uint8)
            self._fill_failures(item, result)
        return results

    def _fill(
        self,
        results: list[dict[str, Value]],
        places: Sequence[int],
        name: str,
        found: Sequence[tuple[NDArray[np.float32], ...]],
    ) -> None:
        for place, (pooled, *tokens) in zip(places, found, strict=True):
            results[place][name] = pooled.astype(self.config.dtype)
            if tokens:
                results[place][f"{name}_tokens"] = tokens[0].astype(np.float16)

    def _fill_failures(self, item: Item, result: dict[str, Value]) -> None:
        if isinstance(item.image, Failure):
            for name in ("clip_image", "clip_image_tokens"):
                result[name] = item.image
        if isinstance(item.text, Failure):
            for name in ("clip_text", "clip_text_tokens", "clip.truncated"):
                result[name] = item.text
        if not self.config.tokens:
            result.pop("clip_image_tokens", None)
            result.pop("clip_text_tokens", None)
