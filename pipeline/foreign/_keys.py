"""Keys from the ids of a file: text, one per row, never twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np


def as_text(value: Any) -> str:
    """Return a name, a word or a caption of a file as text.

    Python 2 wrote bytes, and its text comes as latin1: what is valid UTF-8 in there is read so.
    """
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    text = str(value).strip()
    if text.isascii():
        return text
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text


def key_of(identifier: Any) -> str:
    """Return the key of an id: itself, or its parts (video, start, end) joined by ``_``."""
    if isinstance(identifier, np.ndarray | list | tuple):
        return "_".join(as_text(part) for part in np.asarray(identifier, object).ravel())
    return as_text(identifier)


def unique(keys: Iterable[str]) -> list[tuple[str, bool]]:
    """Return each key once, and whether it had to be changed: ``a``, ``a#2``, ``a#3``."""
    wanted = list(keys)
    taken = set(wanted)
    seen: Counter[str] = Counter()
    found = []
    for key in wanted:
        seen[key] += 1
        number = seen[key]
        name = key
        while number > 1 and (name == key or name in taken):
            name = f"{key}#{number}"
            number += 1
        taken.add(name)
        found.append((name, name != key))
    return found
