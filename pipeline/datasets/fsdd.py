"""Free Spoken Digit Dataset: recordings called ``{digit}_{speaker}_{number}.wav``.

The owners' split: numbers 0 to 4 of each digit and speaker are the test set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest
from ..records import SourceRow
from ._named_audio import recordings, rows

VERSION = 1

_FOLDERS = ("recordings", "", "free-spoken-digit-dataset/recordings")
_NAME = re.compile(r"(\d)_([A-Za-z]+)_(\d+)")
_TEST_BELOW = 5


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the recordings, whose names are the labels.

    Raises:
        MissingFiles: There are none.
    """
    return recordings(root, manifest, _FOLDERS)


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per recording.

    Raises:
        MissingFiles: There are none.
    """
    yield from rows(root, label_files(root, manifest), _NAME, _row)


def _row(key: str, place: str, match: re.Match[str]) -> SourceRow:
    digit, speaker, number = match.groups()
    return SourceRow(
        key=key,
        audio=place,
        # Other rows are left to be divided into train and val.
        split="test" if int(number) < _TEST_BELOW else None,
        labels={"digit": int(digit)},
        labels_raw={"digit": digit},
        flags=("no_text",),
        origin=place,
        extra={"speaker": speaker, "number": int(number)},
    )
