"""Folding captions to a form in which equal sayings are equal, and a set of folded captions.

Two captions that differ only in what a cleaner removes (case, spaces, punctuation, watermark
hosts, URLs, handles) fold to the same text, so a leak is seen through a watermark.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable

import numpy as np

from ..text.cleaning import CleaningOptions, clean

_SPACE = re.compile(r"\s+")
_NOISE = re.compile(
    r"https?://\S+|www\.\S+|\S+@\S+\.\S+|@\w+|\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|io|me|co|tv|in|uk)\b",
    re.IGNORECASE,
)


def fold_case(text: str) -> str:
    """Return ``text`` without differences of case and of white space."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()


def fold_caption(text: str) -> str:
    """Return the letters, marks and digits of ``text`` in lower case, words apart by one space."""
    bare = _NOISE.sub(" ", fold_case(text)).replace("'", "").replace("’", "")
    kept = (mark if unicodedata.category(mark)[0] in "LMN" else " " for mark in bare)
    return _SPACE.sub(" ", "".join(kept)).strip()


class Corpus:
    """All captions of a dataset, as sorted 8-byte hashes (8 MB for a million rows).

    Args:
        rows: ``(key, split, text)`` of every row; the keys are not kept.
    """

    def __init__(self, rows: Iterable[tuple[str, str, str]]) -> None:
        hashes = {True: array("Q"), False: array("Q")}
        for _, split, text in rows:
            for folded in _forms(text or ""):
                hashes[split == "train"].append(_hash(folded))
        self._train = np.unique(np.frombuffer(hashes[True], dtype=np.uint64))
        self._held_out = np.unique(np.frombuffer(hashes[False], dtype=np.uint64))

    @property
    def digest(self) -> str:
        """16 hex digits that change when a caption or its side of the split changes."""
        parts = (self._train.tobytes(), b"|", self._held_out.tobytes())
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    def owner(self, text: str) -> str | None:
        """Return ``held_out`` or ``train`` when a caption says the same as ``text``."""
        values = [np.uint64(_hash(folded)) for folded in _forms(text)]
        if any(_contains(self._held_out, value) for value in values):
            return "held_out"
        return "train" if any(_contains(self._train, value) for value in values) else None


def _forms(text: str) -> set[str]:
    """Return the text folded as it is and as features see it, after cleaning."""
    cleaned = clean(text, CleaningOptions()).text
    return {fold_caption(text), fold_caption(cleaned)} - {""}


def _hash(folded: str) -> int:
    whole = hashlib.sha256(folded.encode("utf-8", "replace")).digest()
    return int.from_bytes(whole[:8], "big")


def _contains(values: np.ndarray, value: np.uint64) -> bool:
    place = int(np.searchsorted(values, value))
    return place < len(values) and values[place] == value
