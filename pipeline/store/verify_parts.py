"""Checking one committed part: its bytes, its keys, its counts and the causes of its failures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..records import FeatureSpec, child_key
from .layout import StoreLayout, part_name
from .quarantine import quarantine_rows
from .reader import OutputFolder
from .samples import SamplesTable
from .tensor import storage_type
from .writer import file_sha256

COMMIT_FIELDS = {"cell", "rows", "keys", "bytes", "sha256", "upstream"}
STATUSES = ("ok", "absent", "failed")


@dataclass(frozen=True)
class SamplesKeys:
    """The keys that the rows of an output must have, shard by shard.

    Attributes:
        layout: The store.
        table: The samples.
    """

    layout: StoreLayout
    table: SamplesTable
    _known: dict[int, list[str]] = field(default_factory=dict)

    def of(self, folder: OutputFolder, shard: int, commit: Mapping[str, Any]) -> list[str] | None:
        """Return the keys a part must have, in order; None when what says so is not there."""
        if folder.spec["rows"] == "samples":
            return self._samples(shard)
        parent = self._parent(folder, shard, commit)
        if parent is None:
            return None
        rows = pq.read_table(parent, columns=["key", "children"], partitioning=None).to_pylist()
        return [
            child_key(row["key"], child["index"]) for row in rows for child in row["children"] or ()
        ]

    def _samples(self, shard: int) -> list[str]:
        if shard not in self._known:
            self._known[shard] = self.table.table(shard, ["key"])["key"].to_pylist()
        return self._known[shard]

    def _parent(self, folder: OutputFolder, shard: int, commit: Mapping[str, Any]) -> Path | None:
        """Return the part whose children the rows are: the one whose digest the commit names."""
        node = str(folder.spec["rows"])
        wanted = commit["upstream"].get(node)
        for path in sorted(self.layout.output("tables", folder.dataset, node, "").glob("*")):
            found = OutputFolder(path, "tables").commits.get(shard)
            if found is not None and found["sha256"] == wanted:
                return path / part_name(shard)
        return None


def damaged(commit_file: Path, commit: Mapping[str, Any]) -> bool:
    """Return whether the part beside a commit record is missing or has other bytes."""
    part = commit_file.with_name(commit_file.name.replace(".commit.json", ".parquet"))
    try:
        return file_sha256(part) != commit["sha256"]
    except OSError:
        return True


def check_part(
    folder: OutputFolder, shard: int, commit: Mapping[str, Any], keys: SamplesKeys
) -> Iterator[str]:
    """Yield what is wrong with one committed part, nothing when it is sound."""
    path = folder.path / part_name(shard)
    lacking = sorted(COMMIT_FIELDS - set(commit))
    if lacking:
        yield f"the commit record lacks {', '.join(lacking)}"
        return
    try:
        size = path.stat().st_size
        sha = file_sha256(path)
    except OSError as error:
        yield f"the part is committed but cannot be read: {error.strerror}"
        return
    if size != commit["bytes"]:
        yield f"the part has {size} bytes, committed {commit['bytes']}"
        return
    if sha != commit["sha256"]:
        yield "the part's bytes are not those that were committed (sha256 differs)"
        return
    try:
        head = pq.read_table(path, columns=["key", "status", "reason"], partitioning=None)
    except (OSError, pa.ArrowException) as error:
        yield f"cannot be read: {str(error).splitlines()[0]}"
        return
    rows = head.to_pylist()
    found = [row["key"] for row in rows]
    yield from _check_type(folder, path)
    yield from _check_own_keys(found, commit)
    yield from _check_same_keys(found, folder, shard, commit, keys)
    counts = Counter(row["status"] for row in rows)
    if {name: counts[name] for name in STATUSES} != dict(commit["rows"]):
        yield f"rows by status are {dict(counts)}, committed {dict(commit['rows'])}"
    yield from _check_quarantine(folder, shard, rows, keys.layout)


def _check_type(folder: OutputFolder, path: Path) -> Iterator[str]:
    if folder.room != "features":
        return
    spec: FeatureSpec = folder.feature
    kind = pq.read_schema(path).field("value").type
    found = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if found != storage_type(spec):
        yield f"values are stored as {found}, declared {storage_type(spec)}"


def _check_own_keys(found: list[str], commit: Mapping[str, Any]) -> Iterator[str]:
    repeated = [key for key, count in Counter(found).items() if count > 1]
    if repeated:
        yield f"{len(repeated)} keys stand twice, first '{repeated[0]}'"
    if keys_digest(found) != commit["keys"]:
        yield "keys or their order are not those that were committed"


def _check_same_keys(
    found: list[str],
    folder: OutputFolder,
    shard: int,
    commit: Mapping[str, Any],
    keys: SamplesKeys,
) -> Iterator[str]:
    rows = folder.spec["rows"]
    try:
        expected = keys.of(folder, shard, commit)
    except (OSError, pa.ArrowException):
        # The table that says which keys there must be is damaged, which is reported for itself.
        return
    if expected is None:
        yield f"the table '{rows}' that its rows were made from is not there"
    elif found != expected:
        lost, foreign = set(expected) - set(found), set(found) - set(expected)
        what = f"{len(lost)} lost, {len(foreign)} foreign" if lost or foreign else "another order"
        yield f"keys are not those of '{rows}': {what}"


def _check_quarantine(
    folder: OutputFolder, shard: int, rows: Iterable[Mapping[str, Any]], layout: StoreLayout
) -> Iterator[str]:
    output = folder.spec["output"]["name"]
    path = layout.quarantine(folder.dataset, str(folder.spec["node"]), folder.fingerprint)
    failed = Counter((row["key"], row["reason"]) for row in rows if row["status"] == "failed")
    try:
        recorded = Counter(
            (row["key"], row["class"])
            for row in quarantine_rows(path, [shard])
            if row["output"] == output
        )
    except (OSError, pa.ArrowException) as error:
        yield f"its quarantine cannot be read: {str(error).splitlines()[0]}"
        return
    if failed != recorded:
        without, extra = (failed - recorded).total(), (recorded - failed).total()
        yield f"{without} failed rows without a cause in quarantine, {extra} causes without a row"


def keys_digest(keys: Iterable[str]) -> str:
    """Return the digest of keys in their order, as a commit record holds it."""
    whole = hashlib.sha256()
    for key in keys:
        whole.update(key.encode() + b"\n")
    return whole.hexdigest()
