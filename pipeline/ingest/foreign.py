"""Features that others computed, written into a store once: samples table, features, facts.

```
file(s) ─► sha256 ─► known already? ─► foreign/<format>.py ─► samples/ ─► features/, shard by shard
```

The fingerprint of an imported feature is made of the digests of its files, the reader's version
and the keys. Importing again finds every shard committed and does nothing; after a kill it goes on
with the shards that are missing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DatasetError, StoreError, UsageError, unknown_name
from ..foreign._known import PUBLISHED
from ..foreign._parsed import ForeignFeature, Options, Parsed
from ..loading import load_module, names
from ..records import Failure
from ..store.layout import (
    SAMPLES_NAME,
    StoreLayout,
    part_name,
    read_json,
)
from ..store.reader import OutputFolder, list_outputs
from ..store.samples import SamplesTable, write_samples
from ..store.writer import file_sha256
from .foreign_features import FeatureWriter, Progress, value_of
from .foreign_rows import manifest_of, sample_rows, table_facts

IMPORT_VERSION = 1
SHARD_ROWS = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9_\-]{0,63}")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote or found.

    Attributes:
        dataset: Name of the dataset in the store.
        samples: Folder name of its samples table.
        fingerprint: Fingerprint of all its features.
        written: Shards written now; 0 when everything was there.
        facts: What stands in every `_spec.json` under ``import``: files, rows, features, notes.
    """

    dataset: str
    samples: str
    fingerprint: str
    written: int
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        head = {"dataset": self.dataset, "samples": self.samples, "fingerprint": self.fingerprint}
        return {**head, "shards_written": self.written, **self.facts}


def format_names() -> list[str]:
    """Return the formats there are."""
    return names("foreign")


def import_features(
    paths: Sequence[Path],
    form: str,
    layout: StoreLayout,
    *,
    dataset: str | None = None,
    folds: Mapping[str, Sequence[str]] | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Progress = lambda message: None,
) -> Imported:
    """Write the features in foreign files into a store, or find them there.

    Args:
        paths: The file; for formats of several files those, or their folder.
        form: Name of the format.
        layout: The store.
        dataset: Name it gets; by default that of the published file, else the file's own.
        folds: Split name to video ids, for formats without splits.
        shard_rows: Rows per shard.
        progress: Told what is going on, one line at a time.

    Raises:
        UsageError: The format is unknown, or it takes one file.
        DatasetError: A path does not exist, or the files are not what the format says; the message
            says what they look like.
        StoreError: The store has other samples under that name.
    """
    reader = _reader(form, dataset)
    files = _files(paths, reader, form)
    if folds and not getattr(reader, "TAKES_FOLDS", False):
        raise UsageError(f"--splits is for formats without splits; '{form}' has its own")
    progress(f"hashing {len(files)} files")
    sources = _digests(files)
    name = dataset or default_name(paths, sources)
    recipe = _recipe(form, reader, sources, folds or {}, shard_rows)
    known = _known_import(layout, name, recipe)
    if known is not None:
        return known
    progress(f"reading {', '.join(path.name for path in files[:3])}")
    parsed = reader.read(files, Options(name, dict(folds or {})))
    _check(parsed, name)
    table = _samples(layout, parsed, name, form, shard_rows)
    facts = _facts(parsed, form, files, sources, table)
    write = FeatureWriter(layout, table, parsed, recipe, facts, progress)
    return Imported(name, table.path.name, write.fingerprint, write.run(), facts)


def _reader(form: str, dataset: str | None) -> ModuleType:
    if form not in format_names():
        raise UsageError(unknown_name("foreign format", form, format_names()))
    if dataset is not None and not _NAME.fullmatch(dataset):
        raise UsageError(f"'{dataset}' cannot name a dataset", "use a-z, 0-9, '_' and '-'")
    return load_module("foreign", form)


def default_name(paths: Sequence[Path], sources: Mapping[str, str]) -> str:
    """Return the name of a published file's dataset, else one made of the file's or folder's."""
    published = [PUBLISHED[sha].dataset for sha in sources.values() if sha in PUBLISHED]
    if published:
        return published[0]
    first = paths[0].absolute()
    one = len(paths) == 1
    stem = (first.name if first.is_dir() else first.stem) if one else first.parent.name
    folded = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem)
    return folded.lower().strip("_")[:64] or "imported"


def _files(paths: Sequence[Path], reader: ModuleType, form: str) -> list[Path]:
    lost = [f"'{path}'" for path in paths if not path.exists()]
    if not paths:
        raise UsageError("no file to import was named", "pipeline features import FILE --as FORMAT")
    if lost:
        raise DatasetError(f"there is no {', '.join(lost)}", "pass the file that was obtained")
    if not reader.FOLDER:
        if len(paths) != 1 or not paths[0].is_file():
            raise UsageError(f"'{form}' takes one file, got {', '.join(map(str, paths))}")
        return [paths[0]]
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        wanted = [it for it in inside if not path.is_dir() or it.suffix.lower() in reader.SUFFIXES]
        found += [item for item in wanted if item.is_file()]
    if not found:
        suffixes = ", ".join(reader.SUFFIXES)
        raise DatasetError(f"no {suffixes} file in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """Return sha256 by folder and name of each file."""
    found: dict[str, str] = {}
    for path in files:
        name = f"{path.absolute().parent.name}/{path.name}" if len(files) > 1 else path.name
        if name in found:
            raise DatasetError(f"two of the files are called '{name}'", "pass one of them")
        try:
            found[name] = file_sha256(path)
        except OSError as error:
            raise DatasetError(f"cannot read '{path.name}': {error.strerror}") from None
    return found


def _recipe(
    form: str,
    reader: ModuleType,
    sources: Mapping[str, str],
    folds: Mapping[str, Sequence[str]],
    shard_rows: int,
) -> dict[str, Any]:
    """Return everything that affects what an import writes."""
    # What a file is called says which table it is in one format, and nothing in the others.
    named = getattr(reader, "NAMES_MATTER", False)
    identity = dict(sorted(sources.items())) if named else sorted(sources.values())
    return {
        "stage": f"import.{form}",
        "version": [IMPORT_VERSION, reader.VERSION],
        "parameters": {"folds": {split: list(ids) for split, ids in folds.items()}},
        "identity": {"sources": identity, "shard_rows": shard_rows},
        "libraries": {},
        "rows": "samples",
        "upstream": {},
    }


def _known_import(layout: StoreLayout, name: str, recipe: Mapping[str, Any]) -> Imported | None:
    """Return a complete earlier import of the same files, without reading them again."""
    same = [
        folder
        for folder in list_outputs(layout, "features", name)
        if folder.spec.get("recipe") == recipe and "import" in folder.spec
    ]
    if not same:
        return None
    spec = same[0].spec
    table = SamplesTable(layout.samples(name, spec["samples"]))
    wanted = {str(item["name"]) for item in spec["import"]["features"]}
    whole = [folder.name for folder in same if _is_whole(folder)]
    if read_json(table.path / SAMPLES_NAME) is None or not wanted <= set(whole):
        return None
    return Imported(name, table.path.name, spec["fingerprint"], 0, dict(spec["import"]))


def _is_whole(folder: OutputFolder) -> bool:
    sizes = {
        shard: (folder.path / part_name(shard)).stat().st_size
        for shard in folder.commits
        if (folder.path / part_name(shard)).is_file()
    }
    committed = {shard: commit.get("bytes") for shard, commit in folder.commits.items()}
    return len(sizes) == folder.num_shards and sizes == committed


def _check(parsed: Parsed, name: str) -> None:
    if not parsed.rows:
        raise DatasetError(f"'{name}' holds no sample")
    keys = Counter(row.key for row in parsed.rows)
    twice = [key for key, count in keys.items() if count > 1]
    if twice or "" in keys:
        shown = f"'{twice[0]}'" if twice else "an empty one"
        raise DatasetError(f"'{name}': ids are not unique, first {shown}")


def _samples(
    layout: StoreLayout, parsed: Parsed, name: str, form: str, shard_rows: int
) -> SamplesTable:
    """Write the samples table, unless the store has other samples under that name.

    It is made aside and moved, because its digest is known only when it is written.
    """
    manifest = manifest_of(parsed, name, form)
    rows = sample_rows(parsed, manifest)
    aside = StoreLayout(layout.cache("import", f"{name}-{os.getpid()}"))
    try:
        made = write_samples(aside, manifest, rows, shard_rows, table_facts(parsed, rows, form))
        target = layout.samples(name, made.digest)
        others = [
            path.parent.name
            for path in target.parent.glob(f"{name}@*/{SAMPLES_NAME}")
            if path.parent.name != target.name
        ]
        if others:
            message = f"the store has other samples of '{name}': {', '.join(sorted(others))}"
            raise StoreError(message, "pass another --dataset or --store")
        if read_json(target / SAMPLES_NAME) is None:
            # What a killed import left there has no record, and nobody reads it.
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made.path, target)
    finally:
        shutil.rmtree(aside.root, ignore_errors=True)
    return SamplesTable(target)


def _facts(
    parsed: Parsed,
    form: str,
    files: Sequence[Path],
    sources: Mapping[str, str],
    table: SamplesTable,
) -> dict[str, Any]:
    """Return what `_spec.json` and the command say about an import, as JSON."""
    published = {name: PUBLISHED.get(sha) for name, sha in sources.items()}
    return {
        "format": form,
        "files": [
            {
                "name": name,
                "sha256": sha,
                "published_as": known.place if (known := published[name]) else None,
                "bytes": path.stat().st_size,
            }
            for (name, sha), path in zip(sources.items(), files, strict=True)
        ],
        "rows": len(parsed.rows),
        "splits": table.info["splits"],
        "statuses": table.info["statuses"],
        "labels": table.info["labels_by_split"],
        "flags": table.info["flags"],
        "features": [_feature_facts(parsed, feature) for feature in parsed.features],
        "notes": list(parsed.notes),
    }


def _feature_facts(parsed: Parsed, feature: ForeignFeature) -> dict[str, Any]:
    lengths = [0] * len(parsed.rows)
    for index, row in enumerate(parsed.rows):
        value = value_of(feature, index, row.status)
        if not isinstance(value, Failure):
            lengths[index] = len(value) if feature.spec.ragged else 1
    some = np.array([length for length in lengths if length], np.int64)
    return {
        "name": feature.spec.name,
        "shape": list(feature.spec.shape),
        "dtype": feature.spec.dtype,
        "ok": len(some),
        "absent": len(lengths) - len(some),
        "length_mean": round(float(some.mean()), 2) if len(some) else 0.0,
        "length_max": int(some.max(initial=0)),
        "treated": feature.treated.to_json(),
        **feature.facts,
    }
