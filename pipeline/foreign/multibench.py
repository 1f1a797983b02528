"""MultiBench's affect pickles: ``mosi_raw``, ``mosei_raw``, ``humor``, ``sarcasm``.

``train | valid | test`` → ``text``, ``audio``, ``vision`` (N, 50, D) aligned to words and padded at
the front, ``labels`` and, not always, ``id``. As the owners' loader does, all three streams begin
at the first word that has a vector; a sample whose text is all zeros is kept as a row with the
status ``dropped`` and without features.

Labels: sentiment, or humour (0, 1), or sarcasm (by sign), told apart by the name of the dataset or
of the file and by the values. A sentiment stays a number: what the owners' loader makes of it in
its binary mode (below 1 is negative) is left to the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..manifest import Task
from ..records import LabelValue
from ._labels import (
    in_range,
    is_one_hot_emotions,
    number,
    sentiment_range,
    sentiment_task,
)
from ._padding import Extents
from ._parsed import Options, Parsed
from ._pickled import read_parts
from ._sequences import Stream, as_feature, open_stream
from .mmsa import STREAMS
from .mult import FIELDS, label_array, rows_of

VERSION = 1
FOLDER = False
_NAMES = {"humor": "humor", "funny": "humor", "sarcas": "sarcasm", "mustard": "sarcasm"}
_CLASSES = {"humor": ("not_humorous", "humorous"), "sarcasm": ("literal", "sarcastic")}


def read(files: Sequence[Path], options: Options) -> Parsed:
    """Return what one MultiBench pickle holds.

    Raises:
        DatasetError: It is none, or its fields disagree.
    """
    path = files[0]
    parts = read_parts(path, "multibench", FIELDS, (*FIELDS, "id"))
    arrays = [label_array(path, part) for part in parts]
    if any(is_one_hot_emotions(array) for array in arrays):
        raise DatasetError(f"{path.name}: not laid out as 'multibench'", "it looks like --as mult")
    if any(array.size != len(array) for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise DatasetError(f"{path.name}: 'labels' have shapes {shapes}, expected (N, 1, 1)")
    streams = {name: open_stream(path, parts, name) for name in STREAMS}
    notes = [note for stream in streams.values() for note in stream.notes]
    notes += _begin_with_text(streams)
    values = np.concatenate([array.ravel() for array in arrays]).tolist()
    name, task = _task(f"{options.dataset} {path.name}".lower(), values)
    labels, outside = _codes(task, name, values)
    rows = rows_of(parts, {name: labels}, outside)
    spoken = np.concatenate([extents.lengths > 0 for extents in streams["text"].extents])
    rows = [
        row
        if some
        else replace(row, status="dropped", reason="its text is all zeros", flags=("no_text",))
        for row, some in zip(rows, spoken, strict=True)
    ]
    if any("id" not in part.fields for part in parts):
        notes.append("no ids in this file: keys are split and number")
    notes.append(f"labels are read as the task '{name}'")
    features = [as_feature(stream) for stream in streams.values()]
    return Parsed(rows, features, {name: task}, notes=notes)


def _begin_with_text(streams: dict[str, Stream]) -> list[str]:
    """Let audio and vision begin and end with the text's steps where all have one length."""
    text = streams["text"]
    notes = []
    for name in ("audio", "vision"):
        stream = streams[name]
        lengths = [stream.length(index) for index in range(len(stream.blocks))]
        if None in lengths or lengths != [text.length(i) for i in range(len(text.blocks))]:
            continue
        cut = 0
        extents = []
        for own, words in zip(stream.extents, text.extents, strict=True):
            both = (own.lengths > 0) & (words.lengths > 0)
            cut += int((both & ((own.first < words.first) | (own.stop > words.stop))).sum())
            first, stop = np.where(both, words.first, 0), np.where(both, words.stop, 0)
            extents.append(Extents(first, stop))
        stream.extents = extents
        stream.facts = {**stream.facts, "lengths": "the text's", "rows_cut_to_text": cut}
        if cut:
            notes.append(f"{name}: in {cut} rows, frames before or behind the text were left out")
    return notes


def _task(names: str, values: Sequence[float]) -> tuple[str, Task]:
    kind = next((task for part, task in _NAMES.items() if part in names), None)
    found = {value for value in map(number, values) if value is not None}
    if kind is None and found <= {0.0, 1.0}:
        kind = "humor"
    if kind is None and found <= {-1.0, 1.0}:
        kind = "sarcasm"
    if kind is not None:
        return kind, Task(classes=_CLASSES[kind], metric="accuracy")
    low, high = sentiment_range(values)
    return "sentiment", sentiment_task(low, high)


def _codes(task: Task, name: str, values: Sequence[float]) -> tuple[list[LabelValue], list[bool]]:
    if task.kind == "regression":
        low, high = task.range or (-3.0, 3.0)
        return in_range("labels", values, low, high)
    if name == "humor":
        kept, outside = in_range("labels", values, 0, 1)
        codes: list[LabelValue] = [int(value) if value in (0.0, 1.0) else None for value in kept]
        return codes, [o or v is None for o, v in zip(outside, codes, strict=True)]
    found = [number(value) for value in values]
    return [None if value is None else int(value > 0) for value in found], [False] * len(found)
