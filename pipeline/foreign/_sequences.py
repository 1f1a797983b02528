"""Padded sequences of a pickle as a feature without padding.

``N`` rows, ``L`` padded length (each split has its own), ``D`` width.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DatasetError
from ..records import Failure, FeatureSpec
from ._padding import Extents, Side, content, of_lengths, padding_side, side_of_lengths, trimmed
from ._parsed import EMPTY, ForeignFeature, Treated, finite, stored_dtype
from ._pickled import Part, sequences

Modality = Literal["text", "image", "audio"]
# A feature's modality is one of three; faces and gestures are pictures.
MODALITIES: dict[str, Modality] = {"text": "text", "audio": "audio", "vision": "image"}
# Above this share of rows padded on the other side, the user is told.
_UNCLEAR = 0.05


@dataclass(slots=True)
class Stream:
    """One field over all splits.

    Attributes:
        name: Field and feature name.
        blocks: Per split (N, L, D), (N, D), or N arrays (n, D).
        side: Padded side.
        extents: Per split the valid steps; empty for (N, D).
        facts: What was found.
        notes: What the user should know.
    """

    name: str
    blocks: list[np.ndarray | list[np.ndarray]]
    side: Side = "none"
    extents: list[Extents] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_vector(self) -> bool:
        """Whether each sample has one vector."""
        return all(isinstance(block, np.ndarray) and block.ndim == 2 for block in self.blocks)

    def length(self, index: int) -> int | None:
        """Return L of a split, or None where rows have lengths of their own."""
        block = self.blocks[index]
        return block.shape[1] if isinstance(block, np.ndarray) and block.ndim == 3 else None


def open_stream(
    path: Path,
    parts: Sequence[Part],
    name: str,
    given: Mapping[str, np.ndarray] | None = None,
    *,
    exact: bool = False,
) -> Stream:
    """Return a field with its padding found.

    Args:
        path: The file, for messages.
        parts: The splits.
        name: The field.
        given: Split name to lengths (N,), where the file gives them.
        exact: Whether a sequence of zeros with a length is a value, not an absence.

    Raises:
        DatasetError: The splits differ in width, or rows are no numbers.
    """
    stream = Stream(name, [sequences(part, name, path) for part in parts])
    widths = {_width(block) for block in stream.blocks}
    if len(widths) > 1:
        raise DatasetError(f"{path.name}: '{name}' has widths {sorted(widths)} in its splits")
    vectors = [isinstance(block, np.ndarray) and block.ndim == 2 for block in stream.blocks]
    if any(vectors) and not all(vectors):
        raise DatasetError(f"{path.name}: '{name}' is a sequence in some splits and not in others")
    if stream.is_vector:
        return stream
    _find_padding(stream, given, [part.name for part in parts], exact)
    return stream


def _width(block: np.ndarray | list[np.ndarray]) -> int:
    return int(block.shape[-1]) if isinstance(block, np.ndarray) else int(block[0].shape[-1])


def _find_padding(
    stream: Stream, given: Mapping[str, np.ndarray] | None, names: Sequence[str], exact: bool
) -> None:
    found = [_content(block) for block in stream.blocks]
    # Rows with lengths of their own are taken as they are; the others are padded.
    padded = [index for index in range(len(found)) if stream.length(index) is not None]
    stream.extents = found
    stream.facts = {"padding": "none", "lengths": "arrays"}
    if not padded:
        return
    blocks = [(found[index], stream.length(index) or 0) for index in padded]
    if given is None:
        stream.side, against = padding_side(blocks)
    else:
        lengths = [given[names[index]] for index in padded]
        stream.side, against = side_of_lengths(blocks, lengths)
    if exact:
        stream.side, against = "end", 0.0
    source = "zeros" if given is None else "given"
    stream.facts = {"padding": stream.side, "lengths": source, "unclear_share": round(against, 4)}
    if against > _UNCLEAR:
        share = f"{100 * against:.0f} %"
        stream.notes.append(
            f"{stream.name}: {share} of the rows speak against {stream.side} padding"
        )
    for index, (own, size) in zip(padded, blocks, strict=True):
        if given is None:
            stream.extents[index] = trimmed(own, size, stream.side)
        else:
            kept = _by_lengths(stream, given[names[index]], own, size, exact)
            stream.extents[index] = kept


def _content(block: np.ndarray | list[np.ndarray]) -> Extents:
    if isinstance(block, np.ndarray):
        return content(block)
    return Extents(np.zeros(len(block), np.int64), np.array([len(row) for row in block]))


def _by_lengths(
    stream: Stream, lengths: np.ndarray, found: Extents, size: int, exact: bool
) -> Extents:
    kept = of_lengths(lengths, size, stream.side)
    # A sequence of zeros only says nothing, whatever length it was given.
    filled = (found.lengths > 0) | (exact & (lengths > 0))
    beyond = int(((lengths < 0) | (lengths > size)).sum())
    cut = int(((found.lengths > 0) & ((found.first < kept.first) | (found.stop > kept.stop))).sum())
    if beyond:
        stream.notes.append(f"{stream.name}: {beyond} given lengths lie outside 0 to {size}")
    if cut:
        stream.notes.append(f"{stream.name}: {cut} rows hold values beyond their given length")
    stream.facts["rows_with_values_beyond_length"] = (
        stream.facts.get("rows_with_values_beyond_length", 0) + cut
    )
    return Extents(np.where(filled, kept.first, 0), np.where(filled, kept.stop, 0))


def as_feature(
    stream: Stream, *, columns: tuple[str, ...] = (), modality: Modality | None = None
) -> ForeignFeature:
    """Return a stream as a feature: ``(None, D)``, or ``(D,)`` where samples have one vector."""
    width = _width(stream.blocks[0])
    source = _dtype(stream)
    dtype = stored_dtype(source)
    shape = (width,) if stream.is_vector else (None, width)
    kind = modality or MODALITIES[stream.name]
    # Numbers of 32 random bits do not compress; token ids and masks do.
    codec: Literal["zstd", "none"] = "zstd" if dtype == "int32" else "none"
    spec = FeatureSpec(stream.name, kind, shape, dtype, compression=codec, columns=columns)
    starts = list(accumulate((len(block) for block in stream.blocks), initial=0))

    def raw(row: int) -> np.ndarray:
        index = bisect_right(starts, row) - 1
        place = row - starts[index]
        if stream.is_vector:
            return np.asarray(stream.blocks[index][place])
        extents = stream.extents[index]
        steps = slice(int(extents.first[place]), int(extents.stop[place]))
        return np.asarray(stream.blocks[index][place])[steps]

    def value(row: int) -> np.ndarray | Failure:
        found = raw(row)
        return finite(found, dtype) if len(found) else EMPTY

    treated = count_treated(raw, starts[-1], dtype)
    facts = {"source_dtype": str(source), **stream.facts}
    return ForeignFeature(spec, value, treated, facts)


def _dtype(stream: Stream) -> np.dtype[Any]:
    kinds = [
        block.dtype if isinstance(block, np.ndarray) else np.result_type(*block)
        for block in stream.blocks
    ]
    return np.result_type(*kinds)


def count_treated(raw: Any, rows: int, dtype: str) -> Treated:
    """Return how many values of ``rows`` rows are not finite in ``dtype``."""
    treated = Treated()
    with np.errstate(over="ignore"):
        for row in range(rows):
            treated.count(np.asarray(raw(row)).astype(dtype, copy=False))
    return treated
