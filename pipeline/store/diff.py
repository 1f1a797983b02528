"""Comparing two features: by recipe, and by value, row for row, joined by key.

``N`` rows, ``D`` numbers per row once flattened. Comparing takes the memory of a row group of the
one and of two shards of the other, however large the features are.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from . import tensor
from .reader import OutputFolder
from .references import name_of
from .row_groups import Values, iter_row_groups, readable
from .spec import differences

# Shards of both features usually run side by side; the second covers a shifted boundary.
_SHARDS_KEPT = 2


@dataclass(slots=True)
class Diff:
    """What differs between features A and B.

    Attributes:
        a, b: Their full references.
        recipe: ``(path, value in A, value in B)`` of everything that affects values and differs.
        only_a, only_b: Rows whose key the other does not have.
        status: Rows that have a value in one and none in the other.
        compared: Rows with a value in both.
        equal: Of these, rows whose bytes are equal.
        lengths: Of these, rows whose ragged axes have different lengths; not compared further.
        comparable: Whether shapes allow comparing values at all.
        max_abs: Largest absolute difference; None where nothing could be compared.
        mean_abs: Mean over rows of the mean absolute difference.
        mean_cosine: Mean over rows of the cosine of the flattened values, in [-1, 1]; two zero
            vectors count as 1, one zero vector as 0.
        examples: Up to five keys of rows whose values differ.
    """

    a: str
    b: str
    recipe: list[tuple[str, Any, Any]]
    only_a: int = 0
    only_b: int = 0
    status: int = 0
    compared: int = 0
    equal: int = 0
    lengths: int = 0
    comparable: bool = True
    max_abs: float | None = None
    mean_abs: float | None = None
    mean_cosine: float | None = None
    examples: list[str] = field(default_factory=list)

    @property
    def same_values(self) -> bool:
        """Whether both have the same keys, statuses and bytes."""
        return not (self.only_a or self.only_b or self.status) and self.equal == self.compared

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {"same_recipe": not self.recipe, "same_values": self.same_values, **asdict(self)}


def diff_features(a: OutputFolder, b: OutputFolder) -> Diff:
    """Return what differs between two features, of one store or of two.

    Raises:
        StoreError: A part cannot be read.
    """
    recipe = list(differences(_described(a), _described(b)))
    diff = Diff(name_of(a), name_of(b), recipe)
    diff.comparable = _comparable(a, b)
    places = _Places(b)
    totals = _Totals()
    keys_a: set[str] = set()
    for group in iter_row_groups(a):
        values = group.values()
        keys_a.update(group.keys)
        for index, key in enumerate(group.keys):
            if key not in places.ok:
                diff.only_a += 1
            elif group.ok[index] != places.ok[key]:
                diff.status += 1
            elif group.ok[index]:
                _compare(diff, totals, str(key), values[index], places)
    diff.only_b = len(places.ok.keys() - keys_a)
    totals.write(diff)
    return diff


def _described(folder: OutputFolder) -> dict[str, Any]:
    spec = folder.spec
    facts = {"samples": spec["content"], "output": spec["output"]}
    return {**facts, **spec["recipe"]}


def _comparable(a: OutputFolder, b: OutputFolder) -> bool:
    one, other = a.feature.shape, b.feature.shape
    same = len(one) == len(other) and one[1:] == other[1:]
    return same and (a.feature.ragged or b.feature.ragged or one == other)


class _Places:
    """Where each key of a feature lies, and its value, the shards last used kept in memory."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._where: dict[str, tuple[int, int]] = {}
        self._shards: OrderedDict[int, Values] = OrderedDict()
        self.ok: dict[str, bool] = {}
        start: dict[int, int] = {}
        for group in iter_row_groups(folder):
            first = start.setdefault(group.shard, 0)
            for index, key in enumerate(group.keys):
                self._where[key] = (group.shard, first + index)
                self.ok[key] = bool(group.ok[index])
            start[group.shard] = first + len(group.keys)

    def value(self, key: str) -> np.ndarray:
        shard, row = self._where[key]
        if shard not in self._shards:
            while len(self._shards) >= _SHARDS_KEPT:
                self._shards.popitem(last=False)
            self._shards[shard] = self._read(shard)
        self._shards.move_to_end(shard)
        return self._shards[shard][row]

    def _read(self, shard: int) -> Values:
        spec = self._folder.feature
        with readable(self._folder, shard):
            packed = tensor.storage(self._folder.table(shard, ["value"])["value"])
        if spec.ragged:
            return tensor.ragged_to_numpy(packed, spec)
        return tensor.fixed_to_numpy(packed, spec)


@dataclass(slots=True)
class _Totals:
    rows: int = 0
    max_abs: float = 0.0
    sum_abs: float = 0.0
    sum_cosine: float = 0.0

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        self.rows += 1
        # (D,)
        left, right = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
        if left.size:
            distance = np.abs(left - right)
            self.max_abs = max(self.max_abs, float(distance.max()))
            self.sum_abs += float(distance.mean())
        self.sum_cosine += _cosine(left, right)

    def write(self, diff: Diff) -> None:
        if self.rows:
            diff.max_abs = self.max_abs
            diff.mean_abs = self.sum_abs / self.rows
            diff.mean_cosine = self.sum_cosine / self.rows


def _compare(diff: Diff, totals: _Totals, key: str, one: np.ndarray, places: _Places) -> None:
    diff.compared += 1
    if not diff.comparable:
        return
    other = places.value(key)
    if one.shape == other.shape:
        totals.add(one, other)
        if one.dtype == other.dtype and one.tobytes() == other.tobytes():
            diff.equal += 1
            return
    else:
        diff.lengths += 1
    if len(diff.examples) < 5:
        diff.examples.append(key)


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    squares = float(left @ left), float(right @ right)
    if not squares[0] or not squares[1]:
        return float(squares[0] == squares[1])
    # One root of the product, not two: equal vectors give exactly 1.
    return float(left @ right) / math.sqrt(squares[0] * squares[1])


def value_lines(diff: Diff) -> Iterator[str]:
    """Yield the comparison of values as lines for people."""
    yield f"rows only in A {diff.only_a:,} · only in B {diff.only_b:,}"
    yield f"rows with a value in one only {diff.status:,} · in both {diff.compared:,}"
    if not diff.comparable:
        yield "values cannot be compared: the shapes differ"
        return
    yield f"equal rows {diff.equal:,} · of another length {diff.lengths:,}"
    if diff.max_abs is not None:
        cosine = f"mean cosine {diff.mean_cosine:.6f}"
        yield f"largest difference {diff.max_abs:.6g} · mean {diff.mean_abs:.6g} · {cosine}"
    if diff.examples:
        yield f"for example: {', '.join(diff.examples)}"
