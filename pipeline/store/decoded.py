"""Random access to a compressed feature: a decoded copy of its values, mapped like the original.

```
<cache>/views/<dataset>/<feature>/<fingerprint>/part-00000-<digest of the part>.bin
```

A file holds the values of a shard's rows that are ok, back to back, and nothing else. It is made
when first asked for, whole or not at all, and named by the part it was decoded from, so that a
part that was written again is decoded again. Two processes that need the same file both make it
and one replaces the other's with the same bytes. The folder can be deleted at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import StoreError
from . import tensor
from .layout import part_name, written_whole
from .reader import OutputFolder
from .row_groups import RowGroup, iter_row_groups, readable
from .view import View


def open_decoded(folder: OutputFolder, cache: Path) -> View:
    """Return a view of the decoded copy, which is made where it is not there yet.

    Raises:
        StoreError: A part is damaged, or the copy cannot be written or has another size.
    """
    home = cache / "views" / folder.dataset / folder.name / folder.fingerprint
    files = {
        shard: home / f"part-{shard:05d}-{str(commit.get('sha256', ''))[:16]}.bin"
        for shard, commit in folder.commits.items()
    }
    width = tensor.row_bytes(folder.feature)
    keys: list[np.ndarray] = [np.zeros(0, object)]
    columns = [(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for shard, path in files.items():
        found, lengths = head(folder, shard)
        ends = np.cumsum(lengths * width)
        _ensure(folder, shard, path, int(ends[-1]) if len(ends) else 0)
        keys.append(found)
        shards = np.full(len(found), shard, np.int32)
        columns.append((shards, ends - lengths * width, lengths))
    shards, offsets, lengths = map(np.concatenate, zip(*columns, strict=True))
    return View(folder, np.concatenate(keys), shards, offsets, lengths, files)


def head(folder: OutputFolder, shard: int) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and lengths of a shard's rows that are ok."""
    with readable(folder, shard):
        table = folder.table(shard, ["key", "status", "n"])
    ok = np.asarray(table["status"].to_pylist(), object) == "ok"
    lengths = np.asarray(table["n"].to_numpy(), np.int64)
    return np.asarray(table["key"].to_pylist(), object)[ok], lengths[ok]


def _ensure(folder: OutputFolder, shard: int, path: Path, size: int) -> None:
    """Decode one shard unless its copy is there with the right size."""
    if path.is_file() and path.stat().st_size == size:
        return
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        for group in iter_row_groups(folder, shards=[shard]):
            write_values(group, file)
    if path.stat().st_size != size:
        name = f"{folder.dataset}/{folder.name}/{folder.fingerprint}/{part_name(shard)}"
        raise StoreError(f"'{name}' decodes to another size than its rows say", "`pipeline verify`")


def write_values(group: RowGroup, file: BinaryIO) -> None:
    """Write the values of a row group's rows that are ok, back to back."""
    values = group.values()
    if isinstance(values, list):
        file.writelines(value.tobytes() for value, ok in zip(values, group.ok, strict=True) if ok)
    else:
        file.write(np.ascontiguousarray(values[group.ok]).tobytes())
