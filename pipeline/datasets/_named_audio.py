"""Datasets whose labels are in the names of their recordings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._marks import Keys, below, guarded, wrong

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")


def recordings(root: Path, manifest: Manifest, folders: Sequence[str]) -> list[Path]:
    """Return the audio files of the first folder that has any, sorted by name.

    Args:
        root: The dataset's root.
        manifest: The dataset.
        folders: Folders below root in order of preference; ``""`` is root itself.

    Raises:
        MissingFiles: No folder holds a recording.
    """
    for folder in folders:
        base = root / folder
        if not base.is_dir():
            continue
        found = [path for path in base.iterdir() if path.suffix.lower() in EXTENSIONS]
        if found:
            return sorted(found)
    wanted = " or ".join(f"'{folder}/'" if folder else "the root" for folder in folders)
    raise MissingFiles(
        manifest.name, [f"recordings ({', '.join(EXTENSIONS)}) in {wanted}"], manifest.obtain
    )


def rows(
    root: Path,
    paths: Sequence[Path],
    pattern: re.Pattern[str],
    make: Callable[[str, str, re.Match[str]], SourceRow],
) -> Iterator[SourceRow]:
    """Yield one row per recording; a name that does not fit the pattern is a bad row.

    Args:
        root: The dataset's root.
        paths: The recordings.
        pattern: What the whole stem of a name must match.
        make: Makes a row of key, path below root and match.
    """
    keys = Keys()
    for path in paths:
        place = below(root, path)

        def row(path: Path = path, place: str = place) -> SourceRow:
            match = pattern.fullmatch(path.stem)
            if match is None:
                raise wrong(f"the name '{path.name}' does not follow the dataset's scheme")
            return make(path.name, place, match)

        yield keys.admit(guarded(place, path.name, row))
