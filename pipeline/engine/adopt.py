"""Adopting: a shard computed under another fingerprint whose rows and recipe are the same.

When one file of a dataset changes, the fingerprint changes for all of it, but most shards have the
same rows as before. Their parts are linked into the new folder instead of being computed again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..store.layout import commit_name, part_name, read_commit, write_json, written_whole
from ..store.writer import file_sha256
from .plan import Plan, PlannedNode, expected_cell


class Adopter:
    """Finds and links parts made under other fingerprints of the same node."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def adopt(self, planned: PlannedNode, shard: int, upstream: Mapping[str, str]) -> bool:
        """Link the parts of one cell; return whether there was something to link.

        Args:
            planned: The node.
            shard: The shard that is wanted.
            upstream: Digests of the parts that the cell reads: another digest means other input.
        """
        cell = expected_cell(self._plan, planned, shard)
        found = planned.elsewhere.get(cell)
        if found is None:
            return False
        fingerprint, old_shard = found
        commits = []
        for _, folder in planned.outputs:
            commit = _usable(folder.parent / fingerprint, old_shard, cell, upstream)
            if commit is None:
                return False
            commits.append(commit)
        self._link_quarantine(planned, fingerprint, old_shard, shard)
        for (_, folder), commit in zip(planned.outputs, commits, strict=True):
            link(folder.parent / fingerprint / part_name(old_shard), folder / part_name(shard))
            write_json(folder / commit_name(shard), {**commit, "adopted_from": fingerprint})
        return True

    def _link_quarantine(
        self, planned: PlannedNode, fingerprint: str, old_shard: int, shard: int
    ) -> None:
        old = planned.quarantine.parent / fingerprint / part_name(old_shard)
        new = planned.quarantine / part_name(shard)
        if old.exists():
            link(old, new)
        else:
            new.unlink(missing_ok=True)


def _usable(
    folder: Path, shard: int, cell: str, upstream: Mapping[str, str]
) -> dict[str, Any] | None:
    commit = read_commit(folder / commit_name(shard))
    part = folder / part_name(shard)
    if commit is None or commit["cell"] != cell or commit["upstream"] != dict(upstream):
        return None
    # A damaged part must not spread to another fingerprint, so its bytes are read once.
    if not part.exists() or file_sha256(part) != commit["sha256"]:
        return None
    return commit


def link(source: Path, target: Path) -> None:
    """Put a file at ``target`` too, as a hard link where the file system can, else as a copy."""
    with written_whole(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
