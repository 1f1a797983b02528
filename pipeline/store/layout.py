"""Where everything lies in a store, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError

SPEC_NAME = "_spec.json"
SAMPLES_NAME = "_samples.json"
# Without these a commit record says nothing, and its shard counts as missing.
COMMIT_KEYS = frozenset({"cell", "rows", "bytes", "sha256", "upstream"})


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """Paths of one store.

    Args:
        root: The store's folder; made when first written to.
    """

    root: Path

    def samples(self, dataset: str, digest: str) -> Path:
        """Return the folder of a samples table."""
        return self.root / "samples" / f"{dataset}@{digest}"

    def output(self, room: str, dataset: str, name: str, fingerprint: str) -> Path:
        """Return the folder of a feature (room ``features``) or table (room ``tables``)."""
        return self.root / room / dataset / name / fingerprint

    def quarantine(self, dataset: str, node: str, fingerprint: str) -> Path:
        """Return the folder of the failed rows of a node."""
        return self.root / "quarantine" / dataset / node / fingerprint

    def cache(self, *parts: str) -> Path:
        """Return a path below the cache, which can be deleted at any time."""
        return self.root.joinpath("cache", *parts)

    @property
    def runs(self) -> Path:
        """Folder of all runs."""
        return self.root / "runs"

    @property
    def llm(self) -> Path:
        """Folder of the language-model ledger."""
        return self.root / "llm"


def part_name(shard: int) -> str:
    """Return the file name of a shard's Parquet file."""
    return f"part-{shard:05d}.parquet"


def commit_name(shard: int) -> str:
    """Return the file name of a shard's commit record."""
    return f"part-{shard:05d}.commit.json"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path; on success it is synced and renamed to ``path``, else removed.

    Raises:
        StoreError: The disk is full or not writable.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        remove_quietly(temporary)


def remove_quietly(path: Path) -> None:
    """Remove a temporary file if it is there; an error here would hide the one that matters."""
    with contextlib.suppress(OSError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: OSError, path: Path) -> StoreError:
    """Return the error that says what is wrong with the disk."""
    cause = error.strerror or str(error)
    return StoreError(
        f"cannot write '{path.name}' in '{path.parent}': {cause}",
        "free space, or pass another --store or --runs; running the same command again goes on "
        "from here",
    )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path, required: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return a JSON object, or None when the file is absent, torn or lacks a required key."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(value, dict) or any(key not in value for key in required):
        return None
    return value


def read_commit(path: Path) -> dict[str, Any] | None:
    """Return a commit record, or None when it is absent, torn or no commit record."""
    return read_json(path, tuple(COMMIT_KEYS))


def read_spec(path: Path) -> dict[str, Any] | None:
    """Return the content of a `_spec.json`, or None when it is absent or damaged."""
    return read_json(path, ("output",))
