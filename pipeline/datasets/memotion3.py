"""Memotion 3 (De-Factify 2 workshop at AAAI-23): Hindi-English memes.

Layout accepted below ``root`` or below ``root/memotion3``: ``train.csv`` and ``val.csv``, separated
by commas or tabs, with one header row and eight fields: id, image URL, humour, sarcastic,
offensive, motivational, sentiment, text. Known header names decide which column is which, otherwise
this order does. Texts may hold line breaks. Images lie in ``image/<split>/<id>.jpg``. ``test.csv``
is read where it is there; its labels are private. Keys are ``<split>_<id>``.
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

_HOMES = ("memotion3", "", "memotion_3")
_FILES = {"train": "train.csv", "val": "val.csv", "test": "test.csv"}


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
        rows = _defactify.rows(path, split, root, f"image/{split}", vocabulary)
        yield from (keys.admit(row) for row in refuse_foreign(rows, path.name))
