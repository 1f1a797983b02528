"""Stage `clean_text`: the caption cleaned by named, versioned rules, beside the raw one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from ..config import StageConfig
from ..errors import RowAbsent
from ..records import Failure, OutputSpec, Row, TableSpec
from ..stage import BaseStage, Resources, library_version
from ..text.cleaning import CLEANING_VERSION, CleaningOptions, clean, rule_names

if TYPE_CHECKING:
    from ..records import Value

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("raw", pa.string()),
        ("no_text", pa.bool_()),
        ("rules", pa.map_(pa.string(), pa.int32())),
        ("flags", pa.list_(pa.string())),
    ]
)


class Config(CleaningOptions, StageConfig):
    """Which rules apply, and what becomes of a sample whose text is empty afterwards.

    Attributes:
        no_text: ``empty`` keeps the empty text, ``placeholder`` puts ``placeholder`` in its place,
            ``skip`` makes the row absent.
        placeholder: Stored as it is, without cleaning.
    """

    no_text: Literal["empty", "placeholder", "skip"] = "empty"
    placeholder: str = Field(default="no text", min_length=1, max_length=200)
    batch_size: int = Field(default=512, ge=1)


class Stage(BaseStage[Config, str]):
    """Cleans captions."""

    NAME: ClassVar[str] = "clean_text"
    VERSION: ClassVar[int] = 1
    LIBRARIES: ClassVar[tuple[str, ...]] = ("ftfy", "emoji", "regex")

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return the table of texts."""
        return (TableSpec(self.NAME, SCHEMA),)

    def identity(self) -> Mapping[str, Any]:
        """Return version and order of the rules."""
        return {"version": CLEANING_VERSION, "rules": list(rule_names(self.config.mode))}

    def libraries(self) -> dict[str, str]:
        """Return the versions of what the mode's rules use."""
        used = ("regex",) if self.config.mode == "author" else self.LIBRARIES
        return {name: library_version(name) for name in used}

    def resources(self) -> Resources:
        """Return the memory of the emoji tables."""
        return Resources(memory_gb=0.3)

    def load(self, row: Row) -> str:
        """Return the raw caption."""
        return row.sample.text

    def compute(self, items: Sequence[str]) -> Sequence[Mapping[str, Value]]:
        """Return clean and raw text with the count of every rule."""
        return [{self.NAME: self._columns(raw)} for raw in items]

    def _columns(self, raw: str) -> Value:
        cleaned = clean(raw, self.config)
        empty = not cleaned.text
        flags, text = list(cleaned.flags), cleaned.text
        if empty and self.config.no_text == "skip":
            return Failure.of(RowAbsent("no_text", "nothing is left of the text after cleaning"))
        if empty and self.config.no_text == "placeholder":
            flags, text = [*flags, "placeholder"], self.config.placeholder
        # Pairs, not a mapping: every version of pyarrow takes them for a map column.
        counts = [(name, count) for name, count in sorted(cleaned.counts.items())]
        return {"text": text, "raw": raw, "no_text": empty, "rules": counts, "flags": flags}


def profile(name: str) -> dict[str, Any]:
    """Return the configuration that a profile asks for.

    The published cleaner deletes every non-Latin caption, so it is never a profile's choice.
    """
    return {}
