"""Saying what a file looks like when it is not what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"


def check_not(path: Path, form: str) -> None:
    """Refuse files that are plainly no pickle, before they are read.

    Raises:
        DatasetError: Naming the format that the file looks like.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None
    if head.startswith(HDF5_MAGIC):
        raise DatasetError(f"{path.name}: not '{form}', it is an HDF5 file", "try --as csd")
    if head.startswith(_ZIP_MAGIC):
        hint = "unpack it, or obtain the pickle itself"
        raise DatasetError(f"{path.name}: not '{form}', it is a zip archive", hint)


def describe(data: Any, asked: str) -> str:
    """Return what unpickled data look like, for an error's hint.

    Args:
        data: What was in the file.
        asked: Format that it was taken for.
    """
    form = looks_like(data)
    if form == asked:
        return f"it is laid out as {form} otherwise"
    if form is not None:
        return f"it looks like --as {form}"
    if isinstance(data, dict):
        names = ", ".join(repr(name) for name in list(data)[:6])
        return f"it is a dict of {len(data)} with keys {names}{', …' if len(data) > 6 else ''}"
    return f"it is a {type(data).__name__}"


def looks_like(data: Any) -> str | None:
    """Return the name of the format that unpickled data have, or None.

    MulT and MultiBench pickles share their fields. Told apart are MultiBench's 371-d faces and
    IEMOCAP's (N, 4, 2) labels; of the others it says ``mult``.
    """
    for part in _splits(data):
        names = set(part)
        if "regression_labels" in names or "text_bert" in names:
            return "mmsa"
        if {"text", "audio", "vision", "labels"} <= names:
            vision = part["vision"]
            faces = isinstance(vision, np.ndarray) and vision.ndim == 3 and vision.shape[2] == 371
            return "multibench" if faces else "mult"
    return None


def _splits(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        for part in data.values():
            if isinstance(part, dict):
                yield part
