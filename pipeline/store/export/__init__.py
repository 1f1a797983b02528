"""Exporting features to the forms that other tools read: one folder per feature, written whole.

```
<out>/_export.json                      what was exported, from which fingerprints
<out>/<dataset>/samples.parquet         key, split, group, source, labels
<out>/<dataset>/<feature>/spec.json     shape, dtype, recipe, licence, citation
<out>/<dataset>/<feature>/…             the format's files, see its module
```

The module path is the registry: a format is a module of this folder with
``write(source: ExportSource, folder: Path) -> None``. `mmsa` puts several features into one file
and is called for itself.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ...errors import StoreError, UsageError, unknown_name
from ..api import Store
from ..feature import SPLITS
from ..layout import disk_error, write_json
from ..reader import OutputFolder
from ..references import name_of
from ..samples import LABEL_PREFIX
from .source import ExportSource

MARKER = "_export.json"
# Name on the command line to module; parquet-lists says the same as lists.
FORMATS = {
    "lists": "lists",
    "parquet-lists": "lists",
    "npy": "npy",
    "hf": "hugging_face",
    "webdataset": "webdataset",
    "csv": "delimited",
}
_SAMPLE_COLUMNS = ("key", "split", "group", "source")


def export_features(
    store: Store,
    folders: Sequence[OutputFolder],
    form: str,
    out: Path,
    *,
    split: str | None = None,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Write features to ``out``, all of them or nothing.

    Args:
        store: Where they are.
        folders: The features.
        form: One of `FORMATS`.
        out: Folder to make.
        split: Only this split's rows.
        force: Replace an earlier export. Any other folder that is not empty is never replaced.

    Returns:
        Per feature: its reference, folder below ``out``, rows and rows with a value.

    Raises:
        UsageError: The format or split is unknown, or there is no feature to export.
        StoreError: ``out`` is in the way, or the disk is full.
        MissingDependency: The format needs a package that is not installed.
    """
    if form not in FORMATS:
        raise UsageError(unknown_name("format", form, FORMATS))
    if split is not None and split not in SPLITS:
        raise UsageError(unknown_name("split", split, SPLITS))
    if not folders:
        raise UsageError("there is no feature to export", "`pipeline features list`")
    check_target(out, force)
    module = importlib.import_module(f"{__name__}.{FORMATS[form]}")
    with folder_written_whole(out) as temporary:
        done = []
        for name, folder in _named(folders):
            source = ExportSource(store.open_feature(folder), split)
            target = temporary / folder.dataset / name
            target.mkdir(parents=True)
            module.write(source, target)
            write_json(target / "spec.json", folder.spec)
            place = f"{folder.dataset}/{name}"
            rows = {"rows": source.rows, "ok": source.rows_ok}
            done.append({"feature": name_of(folder), "folder": place, **rows})
        for dataset in sorted({folder.dataset for folder in folders}):
            _write_samples(store, dataset, temporary / dataset / "samples.parquet")
        write_json(temporary / MARKER, {"format": form, "split": split, "features": done})
    return done


def _named(folders: Iterable[OutputFolder]) -> list[tuple[str, OutputFolder]]:
    """Return each feature with the name of its folder below the dataset's."""
    named: dict[tuple[str, str], OutputFolder] = {}
    for folder in folders:
        name = folder.name if folder.spec["rows"] == "samples" else f"{folder.name}.augmented"
        other = named.setdefault((folder.dataset, name), folder)
        if other.fingerprint != folder.fingerprint:
            both = f"{name_of(other)} and {name_of(folder)}"
            raise UsageError(f"{both} would lie in one folder", "export them one by one")
    return [(name, folder) for (_, name), folder in named.items()]


def _write_samples(store: Store, dataset: str, path: Path) -> None:
    samples = store.samples(dataset)
    labels = [f"{LABEL_PREFIX}{task}" for task in samples.tasks]
    pq.write_table(samples.table([*_SAMPLE_COLUMNS, *labels]), path, compression="zstd")


def check_target(out: Path, force: bool) -> None:
    """Refuse a place for an export that holds something else, or an earlier one without force.

    Raises:
        StoreError: Saying what is there.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise StoreError(f"'{out}' is a file, expected a folder to make", "pass another --out")
    if not any(out.iterdir()):
        return
    if not (out / MARKER).is_file():
        raise StoreError(
            f"'{out}' is not empty and is no earlier export, so it is left as it is",
            "pass another --out",
        )
    if not force:
        raise StoreError(f"'{out}' holds an earlier export", "pass --force or another --out")


@contextmanager
def folder_written_whole(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out`` on success and is removed otherwise.

    Raises:
        StoreError: The disk is full or not writable.
    """
    stamp = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = out.parent / f".{out.name}.{stamp}.tmp"
    old = out.parent / f".{out.name}.{stamp}.old.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            os.replace(out, old)
        os.replace(temporary, out)
    except OSError as error:
        if old.exists() and not out.exists():
            os.replace(old, out)
        raise disk_error(error, out) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
