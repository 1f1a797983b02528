"""Groups of near-duplicates, and what disagrees inside them.

Two samples are in one group when their image bytes are equal, their perceptual hashes differ in at
most six bits, their normalised captions are equal, or one was made from the other.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .phash import near_pairs

PHASH_DISTANCE = 6
# Captions this short ("me", "lol") are shared by memes that have nothing else in common.
MIN_CAPTION_LETTERS = 8


class Unions:
    """Disjoint sets of the numbers 0..n-1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """Return the smallest member of the item's set."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low


def fold_caption(text: str) -> str:
    """Return a caption reduced to its letters and digits, lower case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def find_groups(rows: Sequence[Mapping[str, Any]], *, transcripts: bool = True) -> list[str]:
    """Return a group name per row: the key of the group's first row, hashed short.

    Args:
        rows: Mappings with ``key``, ``text``, ``image_sha256``, ``image_phash``, ``source``; of
            recordings also ``audio``, and of their intervals ``audio_sha256``, ``start_s``,
            ``end_s``.
        transcripts: Whether equal captions join rows with a recording too. Where many speak the
            same sentences, they would join them all.
    """
    unions = Unions(len(rows))
    _join_equal(unions, (row["image_sha256"] for row in rows))
    read = (row if transcripts or row["audio"] is None else None for row in rows)
    captions = (fold_caption(row["text"]) if row else "" for row in read)
    _join_equal(unions, (text if len(text) >= MIN_CAPTION_LETTERS else None for text in captions))
    # Clips are measured with their whole recording: apart, one would tell of the other.
    _join_equal(unions, (row["audio_sha256"] if _is_clip(row) else None for row in rows))
    by_key = {row["key"]: index for index, row in enumerate(rows)}
    for index, row in enumerate(rows):
        if row["source"] in by_key:
            unions.join(index, by_key[row["source"]])
    hashed = [index for index, row in enumerate(rows) if row["image_phash"] is not None]
    if hashed:
        values = np.array([rows[index]["image_phash"] for index in hashed], dtype=np.uint64)
        for one, other in near_pairs(values, PHASH_DISTANCE):
            unions.join(hashed[one], hashed[other])
    return [_name(rows[unions.find(index)]["key"]) for index in range(len(rows))]


def _join_equal(unions: Unions, values: Iterable[Hashable]) -> None:
    first: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if value is not None and first.setdefault(value, index) != index:
            unions.join(first[value], index)


def _is_clip(row: Mapping[str, Any]) -> bool:
    return row.get("start_s") is not None or row.get("end_s") is not None


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def group_findings(
    rows: Sequence[Mapping[str, Any]], tasks: Iterable[str], prefix: str
) -> dict[str, Any]:
    """Return what the groups say about the data; clips of one recording are no duplicates.

    Returns:
        ``groups`` with more than one member, ``rows`` in them, ``conflicts`` per task (groups whose
        members carry different labels), ``shared_between_splits`` and up to 20 ``examples``.
    """
    members: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if not _is_clip(row):
            members[row["group"]].append(row)
    several = {name: group for name, group in members.items() if len(group) > 1}
    conflicts = {
        task: sum(_disagree(group, prefix + task) for group in several.values()) for task in tasks
    }
    shared = [group for group in several.values() if len({row["split"] for row in group}) > 1]
    examples = [[row["key"] for row in group[:4]] for group in list(several.values())[:20]]
    return {
        "groups": len(several),
        "rows": sum(len(group) for group in several.values()),
        "conflicts": conflicts,
        "shared_between_splits": len(shared),
        "examples": examples,
    }


def _disagree(group: Sequence[Mapping[str, Any]], column: str) -> bool:
    return len({str(row[column]) for row in group if row[column] is not None}) > 1
