"""MELD: utterances of a television series with emotion and sentiment, official splits.

Recordings, where the user has them, are called ``dia<dialogue>_utt<utterance>`` and lie in
``audio/train``, ``audio/val`` and ``audio/test``; a row without one has text only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ..errors import MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._csv import open_table
from ._marks import Keys, bad_row, below, class_code, find_base, guarded, text_of, whole_number
from ._named_audio import EXTENSIONS

VERSION = 1

_FILES = {
    "train": "train_sent_emo.csv",
    "val": "dev_sent_emo.csv",
    "test": "test_sent_emo.csv",
}
# The test labels are sometimes kept apart.
_NEEDED = ("train", "val")
_FOLDERS = ("MELD", "data/MELD", "MELD.Raw")
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the CSV files that are there; those of the training and validation rows must be.

    Raises:
        MissingFiles: One of these is not there.
    """
    base = find_base(root, _FOLDERS, _FILES.values())
    missing = [_FILES[split] for split in _NEEDED if not (base / _FILES[split]).is_file()]
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return [base / name for name in _FILES.values() if (base / name).is_file()]


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per utterance, in the order of the files.

    Raises:
        MissingFiles: See `label_files`.
        DatasetError: A file has other columns.
    """
    splits = {name: split for split, name in _FILES.items()}
    keys = Keys()
    for path in label_files(root, manifest):
        maker = _Maker(root, path.parent, splits[path.name], manifest)
        with open_table(path, wanted=_COLUMNS) as table:
            for record in table.records:
                origin = f"{path.name}:{record.line}"
                if record.problem:
                    yield keys.admit(bad_row(origin, record.problem))
                    continue
                cells = dict(zip(table.header, record.fields, strict=False))
                yield keys.admit(guarded(origin, "", partial(maker.row, cells, origin)))


class _Maker:
    def __init__(self, root: Path, base: Path, split: str, manifest: Manifest) -> None:
        self._root, self._base, self._split = root, base, split
        self._tasks = manifest.tasks

    def row(self, cells: Mapping[str, str], origin: str) -> SourceRow:
        """Return the row of one utterance."""
        dialogue = whole_number(cells["Dialogue_ID"], "Dialogue_ID")
        utterance = whole_number(cells["Utterance_ID"], "Utterance_ID")
        name = f"dia{dialogue}_utt{utterance}"
        text, flags = text_of(cells["Utterance"])
        return SourceRow(
            key=f"{self._split}/{name}",
            text=text,
            audio=self._audio(name),
            split=self._split,
            labels={task: self._label(cells, task) for task in ("emotion", "sentiment")},
            labels_raw={task: cells[task.title()] for task in ("emotion", "sentiment")},
            flags=flags,
            origin=origin,
            extra={"speaker": cells["Speaker"], "dialogue": dialogue, "utterance": utterance},
        )

    def _label(self, cells: Mapping[str, str], task: str) -> int:
        return class_code(cells[task.title()], self._tasks[task].classes, task)

    def _audio(self, name: str) -> str | None:
        for extension in EXTENSIONS:
            path = self._base / "audio" / self._split / f"{name}{extension}"
            if path.is_file():
                return below(self._root, path)
        return None
