"""One dataset in, one samples table out; a second call with the same files does next to nothing."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.compute as pc

from ..config import canonical_json, digest
from ..errors import DatasetError
from ..loading import load_module
from ..manifest import Manifest
from ..records import SourceRow
from ..store.layout import SAMPLES_NAME, StoreLayout, read_json, write_json
from ..store.samples import LABEL_PREFIX, SamplesTable, write_samples
from ..store.writer import file_sha256
from .groups import find_groups, group_findings
from .scan import MediaFacts, is_uri, scan_files, scan_images, stat_stamp
from .splits import make_splits

INGEST_VERSION = 3
DATA_ROOT_VARIABLE = "AFFECTFLOW_DATA"
_MISSING = {"missing_file", "path_outside_root", "not_a_file"}

Progress = Callable[[str], None]


def default_root(manifest: Manifest, layout: StoreLayout) -> Path:
    """Return where a dataset lies when no root is given: ``$AFFECTFLOW_DATA/<name>`` or data/."""
    if manifest.reader == "demo":
        return layout.root / "raw" / manifest.name
    return Path(os.environ.get(DATA_ROOT_VARIABLE, "data")) / manifest.name


def ingest_dataset(
    manifest: Manifest,
    root: Path,
    layout: StoreLayout,
    *,
    limit: int | None = None,
    shard_rows: int = 256,
    threads: int = 2,
    progress: Progress = lambda message: None,
) -> SamplesTable:
    """Return the samples table of a dataset, made or found.

    Args:
        manifest: The dataset.
        root: Folder with its files.
        layout: The store.
        limit: Take only the first rows.
        shard_rows: Rows per shard.
        threads: Threads that hash and decode media.
        progress: Told what is going on, one line at a time.

    Raises:
        MissingFiles: Label files are absent.
        DatasetError: Label files are not what the reader expects, or hold no row.
    """
    reader = load_module("datasets", manifest.reader)
    prepare = getattr(reader, "prepare", None)
    if prepare is not None:
        prepare(root, manifest)
    sources = _source_digests(reader, root, manifest)
    memo_key = digest(
        {
            "ingest": INGEST_VERSION,
            "reader": reader.VERSION,
            "manifest": manifest.model_dump(mode="json"),
            "sources": sources,
            "limit": limit,
            "shard_rows": shard_rows,
        }
    )
    memo_file = layout.cache("ingest", manifest.name, f"{memo_key}.json")
    known = _recall(memo_file, root, layout, manifest.name)
    if known is not None:
        return known
    progress(f"reading {manifest.name}")
    read = list(itertools.islice(reader.read(root, manifest), limit))
    if not read:
        raise DatasetError(f"dataset '{manifest.name}' has no rows below '{root}'")
    _check_unique(read)
    progress(f"hashing media of {len(read)} samples")
    stamps = _stamps(root, _media_of(read))
    rows = _with_media(read, root, layout, manifest, threads)
    finish_rows(rows, manifest)
    facts = _facts(rows, manifest, reader, sources)
    table = write_samples(layout, manifest, rows, shard_rows, facts)
    # Stamps from before the files were read: one that changed meanwhile is read again next time.
    memo = {"digest": table.digest, "media": _media_of(read), "stamps": stamps}
    write_json(memo_file, memo)
    return table


def _source_digests(reader: ModuleType, root: Path, manifest: Manifest) -> dict[str, str]:
    files = reader.label_files(root, manifest)
    try:
        return {os.path.relpath(path, root): file_sha256(path) for path in sorted(files)}
    except OSError as error:
        name = os.path.basename(str(error.filename))
        raise DatasetError(f"cannot read '{name}': {error.strerror}", "check it") from None


def _check_unique(rows: Sequence[SourceRow]) -> None:
    repeated = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if repeated:
        raise DatasetError(f"the reader gave {len(repeated)} keys twice, first '{repeated[0]}'")


def _with_media(
    read: Sequence[SourceRow], root: Path, layout: StoreLayout, manifest: Manifest, threads: int
) -> list[dict[str, Any]]:
    cache = layout.cache("media")
    images = (row.image for row in read if row.image is not None and not is_uri(row.image))
    audio = (row.audio for row in read if row.audio is not None and not is_uri(row.audio))
    image_cache = cache / f"{manifest.name}.image.parquet"
    audio_cache = cache / f"{manifest.name}.audio.parquet"
    image_facts = scan_images(root, images, image_cache, threads)
    audio_facts = scan_files(root, audio, audio_cache, threads)
    return [_table_row(row, manifest, image_facts, audio_facts) for row in read]


def _table_row(
    row: SourceRow,
    manifest: Manifest,
    images: Mapping[str, MediaFacts],
    audio: Mapping[str, MediaFacts],
) -> dict[str, Any]:
    image = images.get(row.image or "")
    sound = audio.get(row.audio or "")
    status, reason = row.status, row.reason
    if status == "ok":
        status, reason = _media_status(image, sound)
    filled = {LABEL_PREFIX + task: row.labels.get(task) for task in manifest.tasks}
    return {
        "key": row.key,
        "split": row.split,
        "split_origin": None,
        "text": row.text,
        "image": row.image,
        "audio": row.audio,
        "source": None,
        "group": None,
        "content": None,
        "image_sha256": image.sha256 if image else None,
        "image_phash": image.phash if image else None,
        "image_width": image.width if image else None,
        "image_height": image.height if image else None,
        "image_format": image.format if image else None,
        "audio_sha256": sound.sha256 if sound else None,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "status": status,
        "reason": reason,
        "flags": list(row.flags),
        "origin": row.origin,
        "labels_raw": canonical_json(dict(row.labels_raw)),
        "extra": canonical_json(dict(row.extra)),
        **filled,
    }


def _media_status(*facts: MediaFacts | None) -> tuple[Any, str]:
    for fact in facts:
        if fact is not None and fact.status != "ok":
            status = "missing_file" if fact.status in _MISSING else "decode_error"
            return status, f"{fact.status}: {fact.reason}"
    return "ok", ""


def finish_rows(rows: Sequence[dict[str, Any]], manifest: Manifest) -> None:
    """Fill group and split of rows whose media are known."""
    policy = manifest.splits
    groups = find_groups(rows, transcripts=policy.group_by is None)
    for row, group in zip(rows, groups, strict=True):
        row["group"] = group
    column = LABEL_PREFIX + policy.stratify if policy.stratify else None
    make_splits(rows, policy, column)


def _facts(
    rows: Sequence[Mapping[str, Any]],
    manifest: Manifest,
    reader: ModuleType,
    sources: Mapping[str, str],
) -> dict[str, Any]:
    labels = {
        task: dict(sorted(Counter(str(row[LABEL_PREFIX + task]) for row in rows).items()))
        for task in manifest.tasks
    }
    flags = Counter(flag for row in rows for flag in row["flags"])
    unknown = _not_as_published(manifest, sources)
    return {
        "reader_version": reader.VERSION,
        "ingest_version": INGEST_VERSION,
        "sources": dict(sources),
        "sources_not_as_published": unknown,
        "splits": dict(sorted(Counter(str(row["split"]) for row in rows).items())),
        "labels": labels,
        "flags": dict(sorted(flags.items())),
        "duplicates": group_findings(rows, manifest.tasks, LABEL_PREFIX),
    }


def _not_as_published(manifest: Manifest, sources: Mapping[str, str]) -> list[str]:
    """Return the label files whose name is known and whose digest is none of the known ones."""
    known: dict[str, set[str]] = defaultdict(set)
    for item in manifest.known_files:
        if item.sha256:
            known[os.path.basename(item.name)].add(item.sha256)
    by_name = ((name, known.get(os.path.basename(name))) for name in sorted(sources))
    return [name for name, digests in by_name if digests and sources[name] not in digests]


def _media_of(rows: Sequence[SourceRow]) -> list[str]:
    paths = (path for row in rows for path in (row.image, row.audio))
    return sorted({path for path in paths if path and not is_uri(path)})


def _stamps(root: Path, names: Sequence[str]) -> str:
    return digest([stat_stamp(root, name) for name in names], 32)


def _recall(memo_file: Path, root: Path, layout: StoreLayout, name: str) -> SamplesTable | None:
    """Return the table made earlier from the same files, when none has changed since."""
    memo = read_json(memo_file, ("media", "stamps", "digest"))
    if memo is None or _stamps(root, memo["media"]) != memo["stamps"]:
        return None
    path = layout.samples(name, memo["digest"])
    return SamplesTable(path) if (path / SAMPLES_NAME).is_file() else None


def iter_problem_rows(table: SamplesTable) -> Iterator[dict[str, Any]]:
    """Yield the samples whose status is not ok: key, status, reason, shard."""
    for shard, facts in enumerate(table.shards):
        # Most shards have no such row, and a large table has thousands of shards.
        if set(facts.get("statuses", ("unknown",))) <= {"ok"}:
            continue
        rows = table.table(shard, ["key", "status", "reason"])
        for row in rows.filter(pc.not_equal(rows["status"], "ok")).to_pylist():
            yield {**row, "shard": shard}
