"""Seeded arrays of any `FeatureSpec`: the whole pipeline runs without weights.

A value is a pure function of the sample's key, its text or media name, what was read upstream and
the seed. Failures can be asked for, so that engines can be tested against them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..config import StageConfig, canonical_json
from ..errors import RowAbsent, RowError
from ..records import FeatureSpec, Row
from ..stage import BaseStage

if TYPE_CHECKING:
    from ..records import Value


class Config(StageConfig):
    """What is made, and what goes wrong.

    Attributes:
        feature: Name of the feature.
        shape: Per sample; None for a ragged first axis.
        ragged_min, ragged_max: Smallest and largest length of the ragged axis.
        reads: Stages whose tables are read; their text goes into the value.
        fail_every: About one key in this many fails (chosen by a hash of the key); 0 for none.
        fail_keys: Keys that fail.
        fail_in: ``load`` fails the row; ``compute`` fails the whole batch the row is in, which the
            engine has to bisect; ``output`` returns a `Failure` in place of the value.
        absent_keys: Keys that are reported as absent.
        delay_ms: Pause per row in `compute`.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size", "delay_ms"})

    feature: str = Field(default="fake", min_length=1)
    modality: Literal["text", "image", "audio"] = "text"
    shape: tuple[int | None, ...] = (8,)
    dtype: Literal["float16", "float32", "float64", "int16", "int32", "int64", "uint8"] = "float16"
    compression: Literal["none", "zstd", "lz4"] = "none"
    ragged_min: int = Field(default=0, ge=0)
    ragged_max: int = Field(default=12, ge=0)
    seed: int = 0
    reads: tuple[str, ...] = ()
    fail_every: int = Field(default=0, ge=0)
    fail_keys: tuple[str, ...] = ()
    fail_in: Literal["load", "compute", "output"] = "load"
    absent_keys: tuple[str, ...] = ()
    delay_ms: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if not self.shape or None in self.shape[1:]:
            raise ValueError("shape needs at least one axis; only the first may be ragged (null)")
        if self.ragged_max < self.ragged_min:
            raise ValueError("ragged_max must not be below ragged_min")
        return self


@dataclass(frozen=True, slots=True)
class Item:
    """What identifies a value: the key and everything the sample holds of its modality."""

    key: str
    content: str


def profile(name: str) -> dict[str, Any]:
    """Return the configuration of a profile; the same for both."""
    return {}


def tiny() -> dict[str, Any]:
    """Return a configuration for contract tests."""
    return {"shape": (None, 4), "ragged_min": 1, "seed": 3, "modality": "image"}


class Extractor(BaseStage[Config, Item]):
    """Makes arrays from a hash."""

    NAME = "fake"
    VERSION = 1

    def reads(self) -> tuple[str, ...]:
        """Return the configured names."""
        return self.config.reads

    def outputs(self) -> tuple[FeatureSpec, ...]:
        """Return the one configured feature."""
        config = self.config
        return (
            FeatureSpec(
                config.feature,
                config.modality,
                config.shape,
                config.dtype,
                compression=config.compression,
            ),
        )

    def identity(self) -> Mapping[str, Any]:
        """Return that nothing here was learned."""
        return {"weights": {"kind": "seeded_random", "seed": self.config.seed, "untrained": True}}

    def warnings(self) -> tuple[str, ...]:
        """Say that the values are made up."""
        return (f"fake: '{self.config.feature}' holds seeded random values",)

    def load(self, row: Row) -> Item:
        """Return the key and the content the value depends on."""
        name = {"image": row.sample.image, "audio": row.sample.audio}.get(self.config.modality, "")
        if name is None or row.key in self.config.absent_keys:
            raise RowAbsent(f"no_{self.config.modality}", "the sample has no such modality")
        upstream = [_content(row.read(stage)) for stage in self.config.reads]
        if self.config.fail_in == "load":
            self._fail_if_asked(row.key)
        return Item(row.key, canonical_json([row.sample.text, name, upstream]))

    def compute(self, items: Sequence[Item]) -> Sequence[Mapping[str, Value]]:
        """Return the arrays, or fail as configured."""
        if self.config.delay_ms:
            time.sleep(self.config.delay_ms * len(items) / 1000)
        if self.config.fail_in == "compute":
            for item in items:
                self._fail_if_asked(item.key)
        return [{self.config.feature: self._value_or_failure(item)} for item in items]

    def _value_or_failure(self, item: Item) -> Value:
        from ..records import Failure

        try:
            if self.config.fail_in == "output":
                self._fail_if_asked(item.key)
        except RowError as error:
            return Failure.of(error)
        return self._value(item)

    def _fail_if_asked(self, key: str) -> None:
        every = self.config.fail_every
        if key in self.config.fail_keys or (every and _hash([key]) % every == 0):
            raise RowError("asked_to_fail", f"'{key}' was configured to fail", "nothing to do")

    def _value(self, item: Item) -> np.ndarray:
        config = self.config
        generator = np.random.default_rng(_hash([item.key, item.content, config.seed]))
        length = int(generator.integers(config.ragged_min, config.ragged_max + 1))
        shape = tuple(length if size is None else size for size in config.shape)
        if np.issubdtype(np.dtype(config.dtype), np.integer):
            return generator.integers(0, 100, size=shape).astype(config.dtype)
        return generator.standard_normal(shape).astype(config.dtype)


def _hash(parts: Sequence[Any]) -> int:
    return int.from_bytes(hashlib.sha256(canonical_json(parts).encode()).digest()[:8], "big")


def _content(columns: Mapping[str, Any]) -> dict[str, str]:
    """Return what is hashed of an upstream row: its text, and the digest of its image."""
    found = {"text": str(columns.get("text", ""))}
    image = columns.get("image")
    if isinstance(image, bytes):
        found["image"] = hashlib.sha256(image).hexdigest()
    return found
