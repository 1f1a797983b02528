"""``shard-000000.tar`` …: WebDataset's naming convention, ``<key>.npy`` and ``<key>.json``.

WebDataset cuts a member's name at its first dot, and keys hold dots and slashes. Every byte of a
key outside ``A-Z a-z 0-9 _ -`` is therefore written as ``%XX``; `key_of` turns it back, and the
JSON holds the key as it is. Rows without a value have a ``.json`` with status and reason only.
The bytes of a shard depend on its rows only.
"""

from __future__ import annotations

import io
import json
import tarfile
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from .source import Batch, ExportSource

MAX_SHARD_BYTES = 512 * 2**20
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def write(source: ExportSource, folder: Path) -> None:
    """Write one feature."""
    shards = _Shards(folder)
    try:
        for batch in source.batches():
            for index in range(len(batch.rows)):
                shards.add(safe_name(batch.rows[index].key), _members(batch, index))
    finally:
        shards.close()


def safe_name(key: str) -> str:
    """Return a key as a member name without dots and slashes."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in key.encode())


def key_of(name: str) -> str:
    """Return the key that `safe_name` wrote."""
    return urllib.parse.unquote(name, errors="strict")


def _members(batch: Batch, index: int) -> dict[str, bytes]:
    row = batch.rows[index]
    facts: dict[str, Any] = {
        **batch.head(index),
        "feature": batch.spec.name,
        "dtype": batch.spec.dtype,
    }
    members = {}
    if row.value is not None:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, row.value, allow_pickle=False)
        members["npy"] = buffer.getvalue()
        facts["shape"] = list(row.value.shape)
    members["json"] = json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()
    return members


class _Shards:
    """Tar files of bounded size, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = 0
        self._bytes = 0
        self._open()

    def _open(self) -> None:
        path = self._folder / f"shard-{self._index:06d}.tar"
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._bytes = 0

    def add(self, name: str, members: dict[str, bytes]) -> None:
        """Write the members of one sample side by side in one shard."""
        size = sum(len(data) for data in members.values())
        if self._bytes and self._bytes + size > MAX_SHARD_BYTES:
            self.close()
            self._index += 1
            self._open()
        self._bytes += size
        for extension, data in members.items():
            # Owner and time stay 0, so that the same rows give the same bytes.
            facts = tarfile.TarInfo(f"{name}.{extension}")
            facts.size = len(data)
            self._tar.addfile(facts, io.BytesIO(data))

    def close(self) -> None:
        """End the current shard."""
        self._tar.close()
