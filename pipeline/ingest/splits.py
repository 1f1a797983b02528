"""Splits for rows that have no official one: seeded, stratified, and a group never crosses them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..manifest import Splits


def make_splits(rows: Sequence[dict[str, Any]], policy: Splits, column: str | None) -> None:
    """Fill ``split`` and ``split_origin`` of rows whose ``split`` is None.

    Groups are taken in the order of a hash of seed and group, and each goes to the part (test, then
    val) that still lacks rows of the group's most common class; what is left is train. The result
    depends on seed, groups and labels only, not on the order of the rows. A group with an official
    member stays in train, so that no generated part shares it; when that member is in the official
    val or test, the rows are flagged ``group_in_val`` or ``group_in_test``: whoever trains decides.

    Args:
        rows: Mappings with ``group``, ``split``, ``flags`` and the stratification column.
        policy: Shares, seed.
        column: Label column to stratify by, or None.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    bound: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["split"] is not None:
            row["split_origin"] = "official"
            bound[row["group"]].add(row["split"])
        else:
            row["split_origin"] = "generated"
            groups[row["group"]].append(row)
    has_test = any("test" in parts for parts in bound.values())
    shares = {"test": policy.test if has_test else policy.test_without_official or policy.test}
    wanted = _wanted(groups, {**shares, "val": policy.val}, column)
    order = sorted(groups, key=lambda group: _hash(policy.seed, group))
    for group in order:
        members = groups[group]
        stratum = _stratum(members, column)
        part = "train"
        if group not in bound:
            part = next(
                (name for name in ("test", "val") if wanted[name][stratum] >= len(members) / 2),
                "train",
            )
        if part != "train":
            wanted[part][stratum] -= len(members)
        leaks = [f"group_in_{split}" for split in sorted(bound.get(group, set()) - {"train"})]
        for row in members:
            row["split"] = part
            if leaks:
                row["flags"] = [*row["flags"], *leaks]


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
