"""Captions to estimate for: from a file, or the training rows of a store."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import DatasetError, StoreError


def captions_of_file(path: Path) -> list[str]:
    """Return the captions in a text file (one per line) or a JSONL file.

    A JSONL line is a string or an object with ``text`` and, perhaps, ``split``; rows that are not
    for training are left out.

    Raises:
        DatasetError: The file cannot be read, or a line is not what is expected.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"captions file '{path.name}' cannot be read: {error}") from None
    lines = [line for line in lines if line.strip()]
    if path.suffix.lower() != ".jsonl":
        return [line.strip() for line in lines]
    found = (_of_json(line, f"{path.name}:{number}") for number, line in enumerate(lines, 1))
    return [caption for caption in found if caption is not None]


def _of_json(line: str, where: str) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        raise DatasetError(f"{where}: the line is not JSON") from None
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return value["text"] if value.get("split", "train") == "train" else None
    raise DatasetError(f"{where}: expected a string or an object with 'text'")


def captions_of_store(store: Path, dataset: str) -> tuple[list[str], str]:
    """Return the captions of a store's original training rows, and where they come from.

    The text of `clean_text` is taken when that stage has run, because that is what is sent.

    Raises:
        StoreError: The store holds no samples of the dataset.
    """
    import pyarrow.parquet as pq

    folder = _newest(store / "samples", f"{dataset}@*")
    if folder is None:
        raise StoreError(
            f"the store holds no samples of '{dataset}'",
            "run `pipeline run extract` once, or pass --captions FILE",
        )
    columns = ["key", "split", "text", "source"]
    texts: dict[str, str] = {}
    for part in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(part, columns=columns).to_pylist():
            if row["split"] == "train" and row["source"] is None:
                texts[row["key"]] = row["text"] or ""
    cleaned = _newest(store / "tables" / dataset / "clean_text", "*")
    if cleaned is None:
        return list(texts.values()), "raw text of the samples table; the cleaner has not run"
    for part in sorted(cleaned.glob("part-*.parquet")):
        for row in pq.read_table(part, columns=["key", "text"]).to_pylist():
            if row["key"] in texts:
                texts[row["key"]] = row["text"] or ""
    return [text for text in texts.values() if text.strip()], "clean text"


def _newest(folder: Path, pattern: str) -> Path | None:
    found = [path for path in folder.glob(pattern) if any(path.glob("part-*.parquet"))]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
