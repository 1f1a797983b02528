"""MMSA pickles: aligned, unaligned, and SIMS with a label per modality.

``train | valid | test`` → ``id`` (``video$_$clip``), ``regression_labels`` and at least one of
``text`` (N, L, 768), ``text_bert`` (N, 3, L: ids, mask, segments), ``audio``, ``vision``; where
they are there, ``raw_text``, ``audio_lengths``, ``vision_lengths``, ``regression_labels_T/A/V`` and
``annotations``. ``classification_labels`` are deprecated there and not read.

The length of the text is ``text_lengths`` (which our own export adds), else the mask of
``text_bert``. Streams of the same padded length as the text and without given lengths are taken for
aligned: an empty frame beside a word stays a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError
from ..manifest import Task
from ..records import LabelValue, SourceRow
from ._keys import as_text, key_of, unique
from ._labels import OUT_OF_RANGE, in_range, sentiment_range, sentiment_task
from ._padding import Extents, at_least
from ._parsed import ForeignFeature, Options, Parsed
from ._pickled import Part, read_parts
from ._sequences import Stream, as_feature, open_stream

VERSION = 1
FOLDER = False
STREAMS = ("text", "audio", "vision")
_LABELS = {
    "sentiment": "regression_labels",
    "sentiment_text": "regression_labels_T",
    "sentiment_audio": "regression_labels_A",
    "sentiment_vision": "regression_labels_V",
}
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")
_COUNTED = (
    "id",
    "raw_text",
    *STREAMS,
    "text_bert",
    "annotations",
    *_LABELS.values(),
    *(f"{name}_lengths" for name in STREAMS),
)


def read(files: Sequence[Path], options: Options) -> Parsed:
    """Return what one MMSA pickle holds.

    Raises:
        DatasetError: It is none, or its fields disagree.
    """
    path = files[0]
    parts = read_parts(path, "mmsa", ("id", "regression_labels"), _COUNTED)
    here = [name for name in (*STREAMS, "text_bert") if all(name in part.fields for part in parts)]
    if not here:
        hint = "expected at least one of text, text_bert, audio, vision in every split"
        raise DatasetError(f"{path.name}: no features", hint)
    notes: list[str] = []
    tasks, labels, flags = _labels(parts)
    features = _features(path, parts, here, notes)
    lacking = [name for name in ("raw_text", *STREAMS, "text_bert") if name not in here]
    lacking = [name for name in lacking if not all(name in part.fields for part in parts)]
    if lacking:
        notes.append(f"not in this file: {', '.join(lacking)}")
    return Parsed(_rows(parts, labels, flags), features, tasks, notes=notes)


def _features(
    path: Path, parts: Sequence[Part], here: Sequence[str], notes: list[str]
) -> list[ForeignFeature]:
    exact = all(part.fields.get("exact_lengths") is True for part in parts)
    streams = {
        name: open_stream(path, parts, name, _given(path, parts, name), exact=exact)
        for name in STREAMS
        if name in here
    }
    tokens = _token_stream(path, parts) if "text_bert" in here else None
    text = streams.get("text")
    if tokens is not None and text is not None and text.facts.get("lengths") == "zeros":
        _take_extents(text, tokens)
    reference = text or tokens
    for name in ("audio", "vision"):
        if name in streams and reference is not None:
            align(streams[name], reference)
    found = [as_feature(stream) for stream in streams.values()]
    if tokens is not None:
        found.append(as_feature(tokens, columns=_TOKENS, modality="text"))
    for stream in (*streams.values(), *([tokens] if tokens else ())):
        notes.extend(stream.notes)
    return found


def _given(path: Path, parts: Sequence[Part], name: str) -> dict[str, np.ndarray] | None:
    field = f"{name}_lengths"
    if not all(field in part.fields for part in parts):
        return None
    return {part.name: _lengths(path, part, field) for part in parts}


def _lengths(path: Path, part: Part, field: str) -> np.ndarray:
    try:
        found = np.asarray(part.vector(field))
    except ValueError:
        found = np.zeros(0, object)
    numeric = found.shape == (part.size,) and found.dtype.kind in "iuf"
    if not numeric or not np.isfinite(found).all() or (np.abs(found) > 2**31).any():
        raise DatasetError(f"{path.name}: '{field}' of '{part.name}' are not {part.size} lengths")
    return found.astype(np.int64)


def _token_stream(path: Path, parts: Sequence[Part]) -> Stream:
    """Return (N, 3, L) as steps of (id, mask, segment) cut to the mask."""
    raw = open_stream(path, parts, "text_bert")
    blocks: list[np.ndarray | list[np.ndarray]] = []
    extents = []
    for block in raw.blocks:
        if not isinstance(block, np.ndarray) or block.ndim != 3 or block.shape[1] != 3:
            shape = getattr(block, "shape", "rows of their own length")
            raise DatasetError(f"{path.name}: 'text_bert' has shape {shape}, expected (N, 3, L)")
        if not np.isfinite(block).all():
            raise DatasetError(f"{path.name}: 'text_bert' holds NaN or infinities")
        steps = block.transpose(0, 2, 1).astype(np.int32)
        blocks.append(steps)
        extents.append(_mask_extents(block[:, 1] > 0))
    facts = {"padding": _side_of(extents, blocks), "lengths": "mask"}
    return Stream("text_bert", blocks, "end", extents, facts)


def _mask_extents(mask: np.ndarray) -> Extents:
    some = mask.any(axis=1)
    first = np.where(some, mask.argmax(axis=1), 0)
    return Extents(first, np.where(some, mask.shape[1] - mask[:, ::-1].argmax(axis=1), 0))


def _side_of(extents: Sequence[Extents], blocks: Sequence[Any]) -> str:
    pairs = list(zip(extents, blocks, strict=True))
    if any((item.first > 0).any() for item, _ in pairs):
        return "front"
    return "end" if any((item.stop < block.shape[1]).any() for item, block in pairs) else "none"


def _take_extents(text: Stream, tokens: Stream) -> None:
    """Cut the text where its tokens end; rows without a value stay empty."""
    if any(text.length(i) != tokens.length(i) for i in range(len(text.blocks))):
        text.notes.append("text: another length than text_bert, so its zeros tell where it ends")
        return
    text.extents = [
        Extents(np.where(own.lengths > 0, it.first, 0), np.where(own.lengths > 0, it.stop, 0))
        for own, it in zip(text.extents, tokens.extents, strict=True)
    ]
    text.facts = {**text.facts, "lengths": "mask of text_bert"}


def align(stream: Stream, text: Stream) -> None:
    """Widen the steps of a stream that was aligned to the text to those of the text."""
    same = all(
        size is not None and size == text.length(index)
        for index, size in enumerate(stream.length(i) for i in range(len(stream.blocks)))
    )
    if same and stream.facts.get("lengths") == "zeros":
        pairs = zip(stream.extents, text.extents, strict=True)
        stream.extents = [at_least(own, reference) for own, reference in pairs]
        stream.facts = {**stream.facts, "lengths": "zeros, at least the text's"}


def _labels(
    parts: Sequence[Part],
) -> tuple[dict[str, Task], dict[str, list[LabelValue]], list[bool]]:
    fields = {
        task: field
        for task, field in _LABELS.items()
        if all(field in part.fields for part in parts)
    }
    values = {
        task: [value for part in parts for value in part.vector(field)]
        for task, field in fields.items()
    }
    low, high = sentiment_range(values["sentiment"], chinese=len(values) == len(_LABELS))
    labels: dict[str, list[LabelValue]] = {}
    flags = [False] * len(values["sentiment"])
    for task, found in values.items():
        labels[task], outside = in_range(fields[task], found, low, high)
        flags = [one or other for one, other in zip(flags, outside, strict=True)]
    return {task: sentiment_task(low, high) for task in values}, labels, flags


def _rows(
    parts: Sequence[Part], labels: Mapping[str, list[LabelValue]], flags: Sequence[bool]
) -> list[SourceRow]:
    keys = unique(key_of(item) for part in parts for item in part.fields["id"])
    rows: list[SourceRow] = []
    for part in parts:
        for index in range(part.size):
            number = len(rows)
            key, repeated = keys[number]
            marks = [name for name, on in ((OUT_OF_RANGE, flags[number]),) if on]
            marks += ["duplicate_id"] if repeated else []
            raw = {
                field: as_text(part.fields[field][index])
                for field in ("regression_labels", "annotations")
                if field in part.fields
            }
            text = part.fields.get("raw_text")
            rows.append(
                SourceRow(
                    key,
                    text="" if text is None else as_text(text[index]),
                    split=part.split,
                    labels={task: values[number] for task, values in labels.items()},
                    labels_raw=raw,
                    flags=tuple(marks),
                    origin=f"{part.name}[{index}]",
                )
            )
    return rows
