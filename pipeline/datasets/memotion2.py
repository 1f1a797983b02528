"""Memotion 2 (De-Factify workshop at AAAI-22): 7,000 training and 1,500 validation memes.

Layout accepted below ``root`` or below ``root/memotion2``: ``memotion_train.csv`` and
``memotion_val.csv`` with the columns ``Id``, ``ocr_text`` and the five labels (any order, any
delimiter), images in ``train_images/`` and ``val_images/`` called ``<Id>.jpg`` or ``.png``.
``memotion_test.csv`` with ``test_images/`` is read where it is there; its labels are private, so
they are absent. Keys are ``<split>_<Id>``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest
from ..records import SourceRow
from . import _defactify
from ._marks import Keys
from ._memotion_labels import refuse_foreign, vocabularies

VERSION = 1

_HOMES = ("", "memotion2", "memotion_2")
_FILES = {"train": "memotion_train.csv", "val": "memotion_val.csv", "test": "memotion_test.csv"}


def label_files(root: Path, manifest: Manifest) -> list[Path]:
    """Return the files whose content decides the rows.

    Raises:
        MissingFiles: The file of the train or val split is absent.
    """
    return list(_defactify.find_files(root, manifest, _HOMES, _FILES).values())


def read(root: Path, manifest: Manifest) -> Iterator[SourceRow]:
    """Yield one row per record, split by split.

    Raises:
        MissingFiles: See `label_files`.
        DatasetError: A file is of another kind than its name says.
    """
    keys = Keys()
    vocabulary = vocabularies(manifest)
    for split, path in _defactify.find_files(root, manifest, _HOMES, _FILES).items():
        rows = _defactify.rows(path, split, root, f"{split}_images", vocabulary)
        yield from (keys.admit(row) for row in refuse_foreign(rows, path.name))
