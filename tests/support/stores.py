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


def commit_inodes(store: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every commit record: a shard that is redone gets others."""
    paths = sorted(store.glob("*/*/*/*/part-*.commit.json"))
    stats = {str(path.relative_to(store)): path.stat() for path in paths}
    return {name: (found.st_ino, found.st_mtime_ns) for name, found in stats.items()}


def leftovers(store: Path) -> list[str]:
    """Return files that are no part of a finished store."""
    return sorted(str(path.relative_to(store)) for path in store.rglob("*.tmp"))
