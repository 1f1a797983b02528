"""Random access to a small feature of a fixed shape: one mapped file of nothing but its values.

```
<cache>/views/<dataset>/<feature>/<fingerprint>/whole-<digest of the parts>.bin    (N, *shape)
```

Rows lie one behind the other whatever their shard, the first at the beginning of a page: a batch is
one gather, and wide rows are copied between addresses that are aligned alike, which the C library
does more than twice as fast as between others. The file is made when first asked for, whole or not
at all; it costs the disk as much as the feature, so large features are read where they lie. The
folder can be deleted at any time.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from ..config import digest
from ..errors import StoreError
from . import tensor
from .decoded import head, open_decoded, write_values
from .layout import written_whole
from .reader import OutputFolder
from .row_groups import iter_row_groups
from .view import View, open_view

MAPPED_BYTES = 4 << 30
"""Features up to this size are mapped when batches are made, and get a file of their own here.

Mapped pages count as resident once they were touched, though the system takes them back when it
needs room: ten thousand samples of regions may do so, a hundred thousand may not.
"""


def open_any(folder: OutputFolder, cache: Path) -> View:
    """Return the fastest view of a feature, compressed or not.

    Args:
        folder: The feature.
        cache: Folder below which copies are kept. An uncompressed feature is read where it lies if
            there is no room, or no right to write.

    Raises:
        StoreError: A part is damaged, or is compressed and its copy cannot be written.
    """
    spec = folder.feature
    size = folder.counts()["ok"] * tensor.row_bytes(spec)
    small = not spec.ragged and 0 < size <= MAPPED_BYTES
    if spec.compression != "none":
        return open_whole(folder, cache) if small else open_decoded(folder, cache)
    # Opened in any case: it finds parts whose values do not fill their pages.
    view = open_view(folder)
    if small and (_made(folder, cache, size) or _room_for(size, cache)):
        return open_whole(folder, cache)
    return view


def open_whole(folder: OutputFolder, cache: Path) -> View:
    """Return a view of the one file, which is made where it is not there yet.

    Raises:
        StoreError: A part is damaged, or the file cannot be written or has another size.
    """
    heads = [head(folder, shard)[0] for shard in folder.commits]
    keys = np.concatenate([np.zeros(0, object), *heads])
    width, count = tensor.row_bytes(folder.feature), len(keys)
    if not _made(folder, cache, count * width):
        _write(folder, _path(folder, cache), count * width)
    offsets = np.arange(count, dtype=np.int64) * width
    # Of a fixed shape, every row counts as one entry.
    lengths, shards = np.ones(count, np.int64), np.zeros(count, np.int32)
    return View(folder, keys, shards, offsets, lengths, {0: _path(folder, cache)})


def _path(folder: OutputFolder, cache: Path) -> Path:
    parts = {str(shard): commit.get("sha256") for shard, commit in folder.commits.items()}
    home = cache / "views" / folder.dataset / folder.name / folder.fingerprint
    return home / f"whole-{digest(parts)}.bin"


def _made(folder: OutputFolder, cache: Path, size: int) -> bool:
    path = _path(folder, cache)
    return path.is_file() and path.stat().st_size == size


def _room_for(size: int, cache: Path) -> bool:
    """Return whether the cache may be written and the disk would keep as much again free."""
    there = next(path for path in (cache, *cache.parents) if path.exists())
    allowed = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return allowed and shutil.disk_usage(there).free > 2 * size


def _write(folder: OutputFolder, path: Path, size: int) -> None:
    with written_whole(path) as temporary:
        with open(temporary, "wb") as file:
            for group in iter_row_groups(folder):
                write_values(group, file)
        if temporary.stat().st_size != size:
            name = f"{folder.dataset}/{folder.name}/{folder.fingerprint}"
            message = f"'{name}' holds values of another size than its rows say"
            raise StoreError(message, "`pipeline verify`")
