"""Creak probabilities that the user brings: one file per recording, read onto the rows.

A folder holds, for each recording, a file with the recording's path below the dataset root and
``.csv`` or ``.npy`` in place of its ending: ``wav/03a01Fa.csv`` for ``wav/03a01Fa.wav``. A CSV file
has the columns ``time_s`` and ``creak`` and names them in its first line; an NPY file is an array
``(M, 2)`` of the same. Times are seconds from the beginning of the recording and ascend; creak is a
probability. Between two times values are interpolated linearly; before the first and after the
last a row is 0 and marked invalid.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, RowError
from ...media.paths import confine
from ...weights import digest_of
from .columns import HOP_S, T0_S, interpolate

_ENDINGS = (".npy", ".csv")
_HEADER = ["time_s", "creak"]
Track = NDArray[np.float64]


def digests(folder: Path) -> dict[str, str]:
    """Return path below the folder to sha256 of every creak file.

    Raises:
        ConfigError: There is no such folder, or it holds no such file.
    """
    found = sorted(path for end in _ENDINGS for path in folder.rglob(f"*{end}") if path.is_file())
    if not found:
        raise ConfigError(
            f"covarep.creak_folder: '{folder}' holds no .csv or .npy file",
            "give the folder with one file of creak probabilities per recording",
        )
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in found}


def read_track(folder: Path, audio: str) -> Track:
    """Return times and probabilities ``(M, 2)`` of a recording.

    Args:
        folder: Folder of creak files.
        audio: Path of the recording below the dataset's root.

    Raises:
        RowError: ``no_creak_file``, or ``bad_creak_file`` saying what is wrong with it.
    """
    stem = str(PurePosixPath(audio).with_suffix(""))
    for ending in _ENDINGS:
        try:
            path = confine(folder, stem + ending)
        except RowError:
            continue
        return _checked(_npy(path) if ending == ".npy" else _csv(path), path.name)
    message = f"covarep.creak_folder holds neither '{stem}.csv' nor '{stem}.npy'"
    raise RowError("no_creak_file", message, "add the file, or use creak=h2h1-v1")


def _npy(path: Path) -> Track:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise _bad(path.name, f"cannot be read: {error}") from None


def _csv(path: Path) -> Track:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
        if not lines or [name.strip() for name in lines[0]] != _HEADER:
            raise _bad(path.name, f"first line is not '{','.join(_HEADER)}'")
        rows = [[float(cell) for cell in line] for line in lines[1:]]
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    except (OSError, ValueError, csv.Error) as error:
        raise _bad(path.name, f"cannot be read: {error}") from None


def _checked(track: Track, name: str) -> Track:
    if track.ndim != 2 or track.shape[1:] != (2,) or len(track) == 0:
        raise _bad(name, f"has shape {track.shape}, expected (M, 2) with M at least 1")
    if not np.isfinite(track).all() or (np.diff(track[:, 0]) <= 0).any():
        raise _bad(name, "times must ascend and every value must be finite")
    if track[:, 1].min() < 0 or track[:, 1].max() > 1:
        low, high = track[:, 1].min(), track[:, 1].max()
        raise _bad(name, f"holds {low:g} to {high:g}, expected probabilities from 0 to 1")
    return track


def _bad(name: str, what: str) -> RowError:
    hint = "two columns, time_s and creak, see the documentation of covarep.creak"
    return RowError("bad_creak_file", f"creak file '{name}' {what}"[:300], hint)


def on_rows(track: Track, rows: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return creak and validity of the first ``rows`` rows of a recording, ``(N,)`` each."""
    at = T0_S + HOP_S * np.arange(rows)
    found = interpolate(at, track[:, 0], track[:, 1])
    known = ~np.isnan(found)
    return np.where(known, found, 0.0).astype(np.float32), known
