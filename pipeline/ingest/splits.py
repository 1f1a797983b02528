"""Splits for rows that have no official one: seeded, stratified, and a group never crosses them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DatasetError
from ..manifest import Splits
from .groups import Unions

# Up to so many groups they are weighed against each other; of more, each is a small step.
_FEW_GROUPS = 500


def make_splits(rows: Sequence[dict[str, Any]], policy: Splits, column: str | None) -> None:
    """Fill ``split`` and ``split_origin`` of rows whose ``split`` is None.

    Groups are near-duplicates; with ``policy.group_by`` also all rows of a speaker or the like. The
    result depends on seed, groups and labels only, not on the order of the rows:

    - Near-duplicates, or more than 500 groups, are taken in the order of a hash of seed and group.
      Each goes to the part (test, then val) that still lacks rows of the group's most common class;
      what is left is train.
    - Few groups of one speaker each are weighed: a part begins with the first in that order that
      does not exceed it, and takes whichever brings it closest to its share of each class, as long
      as one does. Every part that is asked for has a group while one remains for train.

    A group with an official member stays in train, so that no generated part shares it; when that
    member is in the official val or test, the rows are flagged ``group_in_val`` or
    ``group_in_test``: whoever trains decides.

    Args:
        rows: Mappings with ``group``, ``split``, ``flags``, ``extra`` where the policy groups by a
            field of it, and the stratification column.
        policy: Shares, seed, what is kept together.
        column: Label column to stratify by, or None.

    Raises:
        DatasetError: No row has the field that the policy groups by.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    bound: dict[str, set[str]] = defaultdict(set)
    for row, group in zip(rows, _kept_together(rows, policy.group_by), strict=True):
        if row["split"] is not None:
            row["split_origin"] = "official"
            bound[group].add(row["split"])
        else:
            row["split_origin"] = "generated"
            groups[group].append(row)
    has_test = any("test" in parts for parts in bound.values())
    test = policy.test if has_test else policy.test_without_official or policy.test
    shares = {"test": test, "val": policy.val}
    ordered = {name: groups[name] for name in sorted(groups, key=lambda g: _hash(policy.seed, g))}
    weighed = policy.group_by is not None and len(groups) <= _FEW_GROUPS
    parts = (_weighed if weighed else _by_stratum)(ordered, bound, shares, column)
    for group, members in groups.items():
        leaks = [f"group_in_{split}" for split in sorted(bound.get(group, set()) - {"train"})]
        for row in members:
            row["split"] = parts.get(group, "train")
            if leaks:
                row["flags"] = [*row["flags"], *leaks]


def _kept_together(rows: Sequence[Mapping[str, Any]], field: str | None) -> list[str]:
    """Return a name per row, equal where rows may not be parted."""
    if field is None:
        return [row["group"] for row in rows]
    unions, first = Unions(len(rows)), dict[tuple[str, str], int]()
    known: set[str] = set()
    for index, row in enumerate(rows):
        extra = json.loads(row["extra"])
        known |= set(extra)
        names = [("group", str(row["group"]))]
        if extra.get(field) not in (None, ""):
            names.append(("field", str(extra[field])))
        for name in names:
            unions.join(first.setdefault(name, index), index)
    if field not in known:
        there = f"; there are: {', '.join(sorted(known))}" if known else ""
        message = f"splits.group_by: no row has a field '{field}'{there}"
        raise DatasetError(message, "of a table, map it: table.columns.extra")
    sets = [unions.find(index) for index in range(len(rows))]
    least: dict[int, str] = {}
    for root, row in zip(sets, rows, strict=True):
        least[root] = min(least.get(root, row["group"]), row["group"])
    return [least[root] for root in sets]


def _by_stratum(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    bound: Mapping[str, set[str]],
    shares: Mapping[str, float],
    column: str | None,
) -> dict[str, str]:
    """Return the part of each group that does not stay in train."""
    found: dict[str, str] = {}
    wanted = _wanted(groups, shares, column)
    for group, members in groups.items():
        if group in bound:
            continue
        stratum = _stratum(members, column)
        for part in shares:
            if wanted[part][stratum] >= len(members) / 2:
                found[group] = part
                wanted[part][stratum] -= len(members)
                break
    return found


def _weighed(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    bound: Mapping[str, set[str]],
    shares: Mapping[str, float],
    column: str | None,
) -> dict[str, str]:
    """Return the part of each group that does not stay in train, groups weighed by their rows."""
    found: dict[str, str] = {}
    sizes = {group: _classes(members, column) for group, members in groups.items()}
    whole: Counter[str] = sum(sizes.values(), Counter())
    names = sorted(whole)
    left = [group for group in groups if group not in bound]
    in_train = any(group in groups or "train" in parts for group, parts in bound.items())
    for part, share in shares.items():
        lacking = share * np.array([whole[name] for name in names], float)
        begun = share == 0
        while len(left) > (0 if in_train else 1):
            table = np.array([[sizes[group][name] for name in names] for group in left], float)
            distances = ((lacking - table) ** 2).sum(1)
            best = int(distances.argmin())
            if begun and distances[best] >= (lacking**2).sum():
                break
            if not begun:
                fitting = np.flatnonzero(table.sum(1) <= lacking.sum())
                best = int(fitting[0]) if len(fitting) else best
            begun = True
            lacking = lacking - table[best]
            found[left.pop(best)] = part
    return found


def _wanted(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    shares: Mapping[str, float],
    column: str | None,
) -> dict[str, Counter[str]]:
    sizes: Counter[str] = Counter()
    for members in groups.values():
        sizes[_stratum(members, column)] += len(members)
    return {
        part: Counter({name: round(size * share) for name, size in sizes.items()})
        for part, share in shares.items()
    }


def _classes(members: Sequence[Mapping[str, Any]], column: str | None) -> Counter[str]:
    return Counter("" if column is None else str(row[column]) for row in members)


def _stratum(members: Sequence[Mapping[str, Any]], column: str | None) -> str:
    counts = _classes(members, column)
    return min(counts, key=lambda name: (-counts[name], name))


def _hash(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
