"""The original MulT pickles: ``{mosi,mosei_senti,iemocap}_data[_noalign].pkl``.

``train | valid | test`` → ``text`` (GloVe, 300-d), ``audio``, ``vision`` (N, L, D), ``labels`` and,
not always, ``id``. Labels are a sentiment (N, 1, 1), or for IEMOCAP no and yes (N, 4, 2) of
neutral, happy, sad and angry: four tasks of their own. ``id`` (N, 3) is video, start and end, in
bytes where Python 2 wrote it; without it the keys are split and number, ``train/00017``.

In aligned files (all streams of one padded length) an empty frame beside a word stays a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..manifest import Task
from ..records import LabelValue, SourceRow
from ._keys import key_of, unique
from ._labels import (
    EMOTIONS,
    OUT_OF_RANGE,
    binary_task,
    in_range,
    is_one_hot_emotions,
    sentiment_range,
    sentiment_task,
)
from ._parsed import Options, Parsed
from ._pickled import Part, read_parts
from ._sequences import as_feature, open_stream
from .mmsa import STREAMS, align

VERSION = 1
FOLDER = False
FIELDS = (*STREAMS, "labels")
_FACES = 371


def read(files: Sequence[Path], options: Options) -> Parsed:
    """Return what one MulT pickle holds.

    Raises:
        DatasetError: It is none, or its fields disagree.
    """
    path = files[0]
    parts = read_parts(path, "mult", FIELDS, (*FIELDS, "id"))
    streams = {name: open_stream(path, parts, name) for name in STREAMS}
    if streams["vision"].blocks[0][0].shape[-1] == _FACES:
        raise DatasetError(f"{path.name}: not laid out as 'mult'", "it looks like --as multibench")
    for name in ("audio", "vision"):
        align(streams[name], streams["text"])
    tasks, labels, outside = _labels(path, parts)
    notes = [note for stream in streams.values() for note in stream.notes]
    notes.append("the columns of audio and vision have no published names; none are recorded")
    rows = rows_of(parts, labels, outside)
    if any("id" not in part.fields for part in parts):
        notes.append("no ids in this file: keys are split and number")
    return Parsed(rows, [as_feature(stream) for stream in streams.values()], tasks, notes=notes)


def label_array(path: Path, part: Part) -> np.ndarray:
    """Return the labels of a split as an array of numbers.

    Raises:
        DatasetError: They are something else.
    """
    try:
        found = np.asarray(part.fields["labels"])
        if found.dtype.kind in "fiubO":
            return found.astype(np.float64)
    except (TypeError, ValueError):
        # The same message for what is no array at all and for an array of something else.
        pass
    raise DatasetError(f"{path.name}: 'labels' of '{part.name}' are not numbers")


def _labels(
    path: Path, parts: Sequence[Part]
) -> tuple[dict[str, Task], dict[str, list[LabelValue]], list[bool]]:
    arrays = [label_array(path, part) for part in parts]
    if all(is_one_hot_emotions(array) for array in arrays):
        return _emotions(np.concatenate(arrays))
    if any(array.size != len(array) for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        expected = "expected (N, 1, 1), or (N, 4, 2) for IEMOCAP"
        raise DatasetError(f"{path.name}: 'labels' have shapes {shapes}", expected)
    values = np.concatenate([array.ravel() for array in arrays]).tolist()
    low, high = sentiment_range(values)
    kept, outside = in_range("labels", values, low, high)
    return {"sentiment": sentiment_task(low, high)}, {"sentiment": kept}, outside


def _emotions(
    labels: np.ndarray,
) -> tuple[dict[str, Task], dict[str, list[LabelValue]], list[bool]]:
    """Return the four tasks of (N, 4, 2); a pair that is no one-hot has no label."""
    valid = (np.isin(labels, (0, 1)).all(axis=2)) & (labels.sum(axis=2) == 1)
    codes = np.where(valid, labels.argmax(axis=2), -1)
    columns: dict[str, list[LabelValue]] = {
        name: [int(code) if code >= 0 else None for code in codes[:, index]]
        for index, name in enumerate(EMOTIONS)
    }
    tasks = {name: binary_task(name) for name in EMOTIONS}
    return tasks, columns, (~valid).any(axis=1).tolist()


def rows_of(
    parts: Sequence[Part],
    labels: dict[str, list[LabelValue]],
    outside: Sequence[bool],
) -> list[SourceRow]:
    """Return a row per sample, in the order of the splits."""
    wanted = [_identifier(part, index) for part in parts for index in range(part.size)]
    keys = unique(wanted)
    rows: list[SourceRow] = []
    for part in parts:
        for index in range(part.size):
            number = len(rows)
            key, repeated = keys[number]
            marks = [OUT_OF_RANGE] if outside[number] else []
            marks += ["duplicate_id"] if repeated else []
            raw = np.asarray(part.fields["labels"][index]).ravel().tolist()
            rows.append(
                SourceRow(
                    key,
                    split=part.split,
                    labels={task: values[number] for task, values in labels.items()},
                    labels_raw={"labels": " ".join(str(item) for item in raw)},
                    flags=tuple(marks),
                    origin=f"{part.name}[{index}]",
                )
            )
    return rows


def _identifier(part: Part, index: int) -> str:
    if "id" in part.fields:
        key = key_of(part.fields["id"][index])
        if key:
            return key
    return f"{part.split}/{index:05d}"
