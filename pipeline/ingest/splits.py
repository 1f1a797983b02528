"""Splits for rows that have no official one: seeded, stratified, and a group never crosses them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..manifest import Splits
from .weighed_splits import kept_together, weighed_parts

# Up to so many groups they are weighed against each other; of more, each is a small step.
_FEW_GROUPS = 500


def make_splits(rows: Sequence[dict[str, Any]], policy: Splits, column: str | None) -> None:
    """Fill ``split`` and ``split_origin`` of rows whose ``split`` is None.

    Groups are near-duplicates; with ``policy.group_by`` also all rows of a speaker or the like. The
    result depends on seed, groups and labels only, not on the order of the rows:

    - Near-duplicates, or more than 500 groups, are taken in the order of a hash of seed and group.
      Each goes to the part (test, then val) that still lacks rows of the group's most common class;
      what is left is train.
    - Up to 500 groups of a speaker each are weighed, see `weighed_parts`.

    A group with an official member stays in train, so that no generated part shares it; when that
    member is in the official val or test, the rows are flagged ``group_in_val`` or
    ``group_in_test``: whoever trains decides.

    Args:
        rows: Mappings with ``group``, ``split``, ``flags`` and the stratification column; where
            the policy groups by a field, also ``extra`` and ``status``.
        policy: Shares, seed, what is kept together.
        column: Label column to stratify by, or None.

    Raises:
        DatasetError: No usable row has the field that the policy groups by.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    bound: dict[str, set[str]] = defaultdict(set)
    field = policy.group_by
    names = kept_together(rows, field) if field else [row["group"] for row in rows]
    for row, group in zip(rows, names, strict=True):
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
    weighed = field is not None and len(groups) <= _FEW_GROUPS
    parts = (weighed_parts if weighed else _by_stratum)(ordered, bound, shares, column)
    for group, members in groups.items():
        leaks = [f"group_in_{split}" for split in sorted(bound.get(group, set()) - {"train"})]
        for row in members:
            row["split"] = parts.get(group, "train")
            if leaks:
                row["flags"] = [*row["flags"], *leaks]


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


def _stratum(members: Sequence[Mapping[str, Any]], column: str | None) -> str:
    if column is None:
        return ""
    counts = Counter(str(row[column]) for row in members)
    return min(counts, key=lambda name: (-counts[name], name))


def _hash(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
