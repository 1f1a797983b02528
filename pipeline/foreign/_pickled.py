"""Pickles of the shape ``{train, valid, test} → {field → array}``, which three formats share.

``N`` samples of a split, ``L`` padded length, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError
from ..unpickle import load_pickle
from ._recognise import check_not, describe

SPLITS = {
    "train": "train",
    "valid": "val",
    "val": "val",
    "dev": "val",
    "validation": "val",
    "test": "test",
}
_ORDER = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Part:
    """One split of a file.

    Attributes:
        name: As the file calls it.
        split: ``train``, ``val`` or ``test``.
        fields: Field to what the file holds; unchecked but for their number of samples.
        size: N.
    """

    name: str
    split: str
    fields: Mapping[str, Any]
    size: int

    def vector(self, field: str) -> list[Any]:
        """Return a field as N Python values; a trailing axis of size 1 is dropped."""
        value = self.fields[field]
        return [_single(item) for item in value]


def _single(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.reshape(()).item()
    return value.item() if isinstance(value, np.generic) else value


def read_parts(path: Path, form: str, needed: Sequence[str], counted: Sequence[str]) -> list[Part]:
    """Return the splits of a pickle, train first.

    Args:
        path: The file.
        form: Format that was asked for.
        needed: Fields that every split must have.
        counted: Fields that have one entry per sample, where they are there.

    Raises:
        DatasetError: It is no such pickle; the message says what it looks like.
    """
    check_not(path, form)
    data = load_pickle(path, encoding="latin1")
    parts = list(_parts(path, form, data, needed, counted))
    if not parts:
        raise DatasetError(f"{path.name}: none of its splits holds a sample")
    parts.sort(key=lambda part: _ORDER.index(part.split))
    twice = [part.split for part in parts]
    if len(set(twice)) < len(twice):
        names = ", ".join(part.name for part in parts)
        raise DatasetError(f"{path.name}: two of its splits mean the same: {names}")
    return parts


def _parts(
    path: Path, form: str, data: Any, needed: Sequence[str], counted: Sequence[str]
) -> Iterator[Part]:
    if not isinstance(data, dict) or not any(as_name(name) in SPLITS for name in data):
        hint = f"expected a dict of splits (train, valid, test); {describe(data, form)}"
        raise DatasetError(f"{path.name}: not laid out as '{form}'", hint)
    unknown = sorted(as_name(name) for name in data if as_name(name) not in SPLITS)
    if unknown:
        raise DatasetError(
            f"{path.name}: unknown split {', '.join(map(repr, unknown))}",
            f"known: {', '.join(SPLITS)}",
        )
    for name, fields in data.items():
        where = f"{path.name}: split '{as_name(name)}'"
        if not isinstance(fields, dict):
            raise DatasetError(f"{where} is a {type(fields).__name__}, expected fields by name")
        lacking = [field for field in needed if field not in fields]
        if lacking:
            raise DatasetError(
                f"{where} lacks {', '.join(lacking)}; it has {', '.join(sorted(map(str, fields)))}",
                describe(data, form),
            )
        sizes = {field: _size(where, field, fields[field]) for field in counted if field in fields}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{field} {size}" for field, size in sizes.items())
            raise DatasetError(f"{where}: its fields have unequal lengths: {listed}")
        size = next(iter(sizes.values()), 0)
        if size:
            yield Part(as_name(name), SPLITS[as_name(name)], fields, size)


def as_name(name: Any) -> str:
    """Return a key of the file's outer dict as text."""
    return name.decode("latin1") if isinstance(name, bytes) else str(name)


def _size(where: str, field: str, value: Any) -> int:
    if isinstance(value, np.ndarray) and value.ndim:
        return len(value)
    if isinstance(value, list | tuple):
        return len(value)
    raise DatasetError(f"{where}: '{field}' is a {type(value).__name__}, expected an array")


def sequences(part: Part, field: str, path: Path) -> np.ndarray | list[np.ndarray]:
    """Return a field as numbers: (N, L, D), (N, D), or N arrays (n, D) of lengths of their own.

    Raises:
        DatasetError: It is something else.
    """
    value = part.fields[field]
    where = f"{path.name}: '{field}' of '{part.name}'"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        if value.ndim not in (2, 3) or 0 in value.shape[1:]:
            raise DatasetError(f"{where} has shape {value.shape}, expected (N, L, D) or (N, D)")
        return value
    try:
        rows = [np.asarray(row) for row in value]
    except ValueError:
        raise DatasetError(f"{where}: a row is no array of numbers") from None
    bad = next((row for row in rows if row.ndim not in (1, 2) or row.dtype.kind not in "fiu"), None)
    if bad is not None:
        raise DatasetError(f"{where}: a row has shape {bad.shape} and type {bad.dtype}")
    shapes = {row.shape for row in rows}
    if len(shapes) == 1 and 0 not in rows[0].shape:
        return np.stack(rows)
    if any(row.ndim != 2 for row in rows) or len({shape[1] for shape in shapes}) > 1:
        raise DatasetError(f"{where}: its rows differ in width")
    return rows
