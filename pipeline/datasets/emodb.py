"""EMO-DB: acted emotions of ten German speakers; the labels are in the file names.

A name like ``03a01Fa.wav`` is speaker 03, sentence a01, emotion F (Freude, happiness), take a.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest
from ..records import SourceRow
from ._marks import class_code
from ._named_audio import recordings, rows

VERSION = 1

_FOLDERS = ("wav", "", "emodb/wav", "EMO-DB/wav")
_NAME = re.compile(r"(\d{2})([ab]\d{2})([WLEAFTN])([a-z]?)")
_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}


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
    classes = manifest.tasks["emotion"].classes

    def make(key: str, place: str, match: re.Match[str]) -> SourceRow:
        speaker, sentence, letter, take = match.groups()
        code = class_code(_EMOTIONS[letter], classes, "emotion")
        return SourceRow(
            key=key,
            audio=place,
            labels={"emotion": code},
            labels_raw={"emotion": letter},
            flags=("no_text",),
            origin=place,
            extra={"speaker": speaker, "sentence": sentence, "take": take},
        )

    yield from rows(root, label_files(root, manifest), _NAME, make)
