"""Looking at stores from outside: which parts there are, with their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def part_digests(store: Path) -> dict[str, str]:
    """Return the sha256 of every Parquet part that has a commit record, by path in the store."""
    found = {}
    for commit in sorted(store.glob("*/*/*/*/part-*.commit.json")):
        part = commit.with_name(commit.name.replace(".commit.json", ".parquet"))
        found[str(part.relative_to(store))] = hashlib.sha256(part.read_bytes()).hexdigest()
    return found


def commit_inodes(store: Path) -> dict[str, int]:
    """Return the inode of every commit record: a shard that is redone gets another one."""
    paths = sorted(store.glob("*/*/*/*/part-*.commit.json"))
    return {str(path.relative_to(store)): path.stat().st_ino for path in paths}


def leftovers(store: Path) -> list[str]:
    """Return files that are no part of a finished store."""
    return sorted(str(path.relative_to(store)) for path in store.rglob("*.tmp"))
