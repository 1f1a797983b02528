"""What Memotion 2 and 3 share: one delimited file per split, images named by id."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from ..errors import DatasetError, MissingFiles
from ..manifest import Manifest
from ..records import SourceRow
from ._captions import text_flags
from ._csv import DelimitedTable, Record, open_table
from ._images import IMAGE_EXTENSIONS, ImageFolders
from ._marks import bad_row, below
from ._memotion_labels import COLUMNS, Vocabularies, label

# Field to the names it goes by, in the order of the Memotion 3 files.
_SYNONYMS = {
    "id": ("id", "ids", "image_id", "meme_id", "image_name"),
    "url": ("image_url", "url", "image_link", "link"),
    "humour": ("humour", "humor"),
    "sarcasm": ("sarcasm", "sarcastic"),
    "offensive": ("offensive", "offense"),
    "motivational": ("motivational", "motivation"),
    "overall_sentiment": ("overall_sentiment", "sentiment", "overall"),
    "text": ("text", "ocr_text", "ocr", "text_ocr", "caption"),
}
FIELDS = tuple(_SYNONYMS)
_REQUIRED = frozenset(FIELDS) - {"url"}
_NAMES = frozenset(name for names in _SYNONYMS.values() for name in names)


def find_files(
    root: Path, manifest: Manifest, homes: tuple[str, ...], names: Mapping[str, str]
) -> dict[str, Path]:
    """Return split to label file; ``test`` may be absent, its labels are private.

    Args:
        root: As the user gave it.
        manifest: The dataset.
        homes: Folders below the root that may hold the files.
        names: Split to file name.

    Raises:
        MissingFiles: The file of another split is absent.
    """
    home = next((home for home in homes if (root / home / names["train"]).is_file()), homes[0])
    files = {split: root / home / name for split, name in names.items()}
    missing = [
        f"{posixpath.join(home, names[split])} (labels and texts, split {split}) below {root}"
        for split, path in files.items()
        if split != "test" and not path.is_file()
    ]
    if missing:
        raise MissingFiles(manifest.name, missing, manifest.obtain)
    return {split: path for split, path in files.items() if path.is_file()}


def rows(
    path: Path, split: str, root: Path, image_folder: str, vocabulary: Vocabularies
) -> Iterator[SourceRow]:
    """Yield one row per record of one split's file.

    Columns are mapped by the names in the header; where these are not known, by the order of the
    Memotion 3 files, and then every record must have eight fields.

    Args:
        path: The label file.
        split: Its split; part of the keys, because ids may start again in each split.
        root: The dataset's root.
        image_folder: Folder of the images beside the file.
        vocabulary: See `_memotion_labels.vocabularies`.

    Raises:
        DatasetError: Neither the names nor the number of columns are as expected.
    """
    home = below(root, path.parent)
    images = ImageFolders(root, [posixpath.join(home, image_folder)])
    with open_table(path, wanted=_NAMES, num_fields=None) as table:
        columns, has_header = _columns(path, table, split, vocabulary)
        first = () if has_header else (Record(1, table.first),)
        for record in chain(first, table.records):
            origin = f"{path.name}:{record.line}"
            if record.problem:
                yield bad_row(origin, record.problem)
                continue
            cells = {name: record.fields[index] for name, index in columns.items()}
            yield _row(origin, cells, split, images, vocabulary)


def _columns(
    path: Path, table: DelimitedTable, split: str, vocabulary: Vocabularies
) -> tuple[dict[str, int], bool]:
    names = [re.sub(r"\W+", "_", name.lower()).strip("_") for name in table.header]
    found = {
        field: names.index(name)
        for field, synonyms in _SYNONYMS.items()
        for name in reversed(synonyms)
        if names.count(name) == 1
    }
    required = _REQUIRED - set(COLUMNS) if split == "test" else _REQUIRED
    if required <= set(found):
        return found, True
    if len(names) == len(FIELDS):
        is_data = all(
            not cell or cell in vocabulary[column]
            for column, cell in zip(COLUMNS, names[2:7], strict=True)
        )
        return {field: index for index, field in enumerate(FIELDS)}, not is_data
    raise DatasetError(
        f"{path.name} has {len(names)} columns: {', '.join(name[:40] for name in table.header)}; "
        f"not found: {', '.join(sorted(required - set(found)))}",
        f"expected a header with these names, or the columns {', '.join(FIELDS)} in this order",
    )


def _row(
    origin: str,
    cells: Mapping[str, str],
    split: str,
    images: ImageFolders,
    vocabulary: Vocabularies,
) -> SourceRow:
    name = cells["id"].strip()
    if not name:
        return bad_row(origin, "the id is empty")
    stem, extension = posixpath.splitext(name)
    file_name = name if extension.lower() in IMAGE_EXTENSIONS else f"{name}.jpg"
    text = cells["text"] if cells["text"].strip() else ""
    row = SourceRow(
        key=f"{split}_{name if file_name != name else stem}",
        text=text,
        image=images.find(file_name),
        split=split,
        flags=text_flags(text),
        origin=origin,
        extra={"id": name, **({"url": cells["url"]} if "url" in cells else {})},
    )
    return label(row, {column: cells[column] for column in COLUMNS if column in cells}, vocabulary)
