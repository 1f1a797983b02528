"""Scanning media, remembering what was scanned, and which digests change with what."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.corpus import make_corpus, picture, png

from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.ingest import dataset as ingesting
from affectflow.pipeline.ingest import scan as scanning
from affectflow.pipeline.ingest.dataset import ingest_dataset
from affectflow.pipeline.ingest.scan import MediaFacts, scan_files, scan_images
from affectflow.pipeline.manifest import Manifest, load_manifest
from affectflow.pipeline.store.layout import StoreLayout
from affectflow.pipeline.store.samples import SamplesTable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(4):
        (images / f"{index}.png").write_bytes(png(picture(index)))
    return images


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really read."""
    names: list[str] = []
    original = scanning._examine

    def watch(root: Path, path: str, decode: bool) -> MediaFacts:
        names.append(path)
        return original(root, path, decode)

    monkeypatch.setattr(scanning, "_examine", watch)
    return names


def test_facts_of_an_image(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(9)).convert("CMYK").save(folder / "wrong.png", format="JPEG")
    found = scan_images(folder, ["0.png", "wrong.png", "0.png"], tmp_path / "cache.parquet")
    assert list(found) == ["0.png", "wrong.png"]
    fact = found["0.png"]
    assert (fact.status, fact.width, fact.height, fact.format) == ("ok", 40, 48, "png")
    assert fact.phash is not None
    assert len(fact.sha256 or "") == 64
    assert found["wrong.png"].format == "jpeg"


def test_every_failure_has_its_class(folder: Path, tmp_path: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(png(picture(1))[:-300])
    (folder / "folder.png").mkdir()
    names = ["empty.png", "cut.png", "folder.png", "absent.png", "../secret.png"]
    (tmp_path / "secret.png").write_bytes(png(picture(2)))
    found = scan_images(folder, names, tmp_path / "cache.parquet")
    assert {name: fact.status for name, fact in found.items()} == {
        "empty.png": "empty_file",
        "cut.png": "decode_error",
        "folder.png": "not_a_file",
        "absent.png": "missing_file",
        "../secret.png": "path_outside_root",
    }
    # What was read is identified even where it cannot be decoded.
    assert found["cut.png"].sha256 is not None
    assert found["../secret.png"].sha256 is None


def test_only_changed_files_are_read_again(
    folder: Path, tmp_path: Path, examined: list[str]
) -> None:
    names, cache = [f"{index}.png" for index in range(4)], tmp_path / "cache.parquet"
    first = scan_images(folder, names, cache)
    assert sorted(examined) == names
    examined.clear()
    assert scan_images(folder, names, cache) == first
    assert examined == []
    (folder / "2.png").write_bytes(png(picture(50)))
    found = scan_images(folder, names, cache)
    assert examined == ["2.png"]
    assert found["2.png"].sha256 != first["2.png"].sha256


def test_a_change_that_keeps_size_and_time_is_seen(
    folder: Path, tmp_path: Path, examined: list[str]
) -> None:
    path, cache = folder / "0.png", tmp_path / "cache.parquet"
    before, times = path.read_bytes(), path.stat()
    scan_images(folder, ["0.png"], cache)
    examined.clear()
    path.write_bytes(before[:-1] + b"!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    scan_images(folder, ["0.png"], cache)
    assert examined == ["0.png"]


def test_a_missing_file_is_looked_for_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.parquet"
    assert scan_images(folder, ["late.png"], cache)["late.png"].status == "missing_file"
    (folder / "late.png").write_bytes(png(picture(5)))
    assert scan_images(folder, ["late.png"], cache)["late.png"].status == "ok"


def test_facts_of_other_files_stay_in_the_cache(
    folder: Path, tmp_path: Path, examined: list[str]
) -> None:
    cache = tmp_path / "cache.parquet"
    scan_images(folder, ["0.png"], cache)
    scan_images(folder, ["1.png"], cache)
    examined.clear()
    scan_images(folder, ["0.png", "1.png"], cache)
    assert examined == []


def test_a_broken_cache_is_an_empty_cache(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.parquet"
    cache.write_bytes(b"PAR1 this is not Parquet")
    assert scan_images(folder, ["0.png"], cache)["0.png"].status == "ok"
    assert pq.read_table(cache).num_rows == 1


def test_other_files_are_hashed_and_not_decoded(folder: Path, tmp_path: Path) -> None:
    (folder / "clip.wav").write_bytes(b"no sound at all")
    found = scan_files(folder, ["clip.wav", "absent.wav"], tmp_path / "cache.parquet")
    assert (found["clip.wav"].status, found["clip.wav"].width) == ("ok", None)
    assert found["absent.wav"].status == "missing_file"


class Corpus:
    """A dataset on disk that can be ingested again and again into one store."""

    def __init__(self, folder: Path, rows: int = 24) -> None:
        self.root = folder / "data"
        self.path = make_corpus(self.root, rows, images=True)
        self.layout = StoreLayout(folder / "store")
        self.told: list[str] = []

    def ingest(self, change: dict[str, Any] | None = None, **options: Any) -> SamplesTable:
        manifest = load_manifest(str(self.path))
        if change:
            manifest = Manifest.model_validate({**manifest.model_dump(), **change})
        self.told.clear()
        options = {"shard_rows": 10, **options}
        return ingest_dataset(
            manifest, self.root, self.layout, progress=self.told.append, **options
        )

    def edit(self, old: str, new: str) -> None:
        path = self.root / "rows.csv"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def test_the_second_call_reads_nothing(corpus: Corpus, examined: list[str]) -> None:
    first = corpus.ingest()
    assert (first.num_rows, len(first.shards)) == (24, 3)
    assert len(examined) == 24
    stamps = {path: path.stat().st_mtime_ns for path in corpus.layout.root.rglob("*")}
    examined.clear()
    assert corpus.ingest() == first
    assert (examined, corpus.told) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in corpus.layout.root.rglob("*")} == stamps


def test_a_changed_picture_gives_new_samples(corpus: Corpus, examined: list[str]) -> None:
    first = corpus.ingest()
    examined.clear()
    (corpus.root / "images" / "0007.png").write_bytes(png(picture(77)))
    second = corpus.ingest()
    assert examined == ["images/0007.png"]
    assert second.digest != first.digest
    assert second.content != first.content
    # Only the shard with that picture is another one.
    same = [a["content"] == b["content"] for a, b in zip(first.shards, second.shards, strict=True)]
    assert same == [False, True, True]


def test_a_picture_that_vanishes_is_seen(corpus: Corpus) -> None:
    corpus.ingest()
    (corpus.root / "images" / "0003.png").unlink()
    assert corpus.ingest().info["statuses"] == {"missing_file": 1, "ok": 23}


def test_labels_and_splits_change_no_feature(corpus: Corpus) -> None:
    first = corpus.ingest()
    corpus.edit("0000.png,sad", "0000.png,glad")
    relabelled = corpus.ingest()
    split = corpus.ingest({"splits": {"val": 0.3, "test": 0.2, "seed": 1}})
    assert len({first.digest, relabelled.digest, split.digest}) == 3
    assert first.content == relabelled.content == split.content
    assert split.info["splits"] != first.info["splits"]


@pytest.mark.parametrize(
    ("old", "new"), [("row-0001,", "row-0001b,"), (" number 1,", " number one,")]
)
def test_keys_and_captions_change_features(corpus: Corpus, old: str, new: str) -> None:
    first = corpus.ingest()
    corpus.edit(old, new)
    assert corpus.ingest().content != first.content


def test_the_cut_into_shards_is_part_of_the_content(corpus: Corpus) -> None:
    assert corpus.ingest(shard_rows=8).content != corpus.ingest(shard_rows=12).content


def test_limit_takes_the_first_rows(corpus: Corpus) -> None:
    table = corpus.ingest(limit=5)
    assert table.all_rows(["key"])["key"].to_pylist() == [f"row-{i:04d}" for i in range(5)]


def test_the_cache_can_be_deleted_at_any_time(corpus: Corpus) -> None:
    first = corpus.ingest()
    for path in sorted(corpus.layout.cache().rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert corpus.ingest() == first


def test_near_duplicates_lie_in_one_split(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, rows=40)
    pixels = picture(3)
    for index in range(20, 30):
        # Ten copies of one picture, each with a few other bytes.
        copy = pixels.copy()
        copy[0, index % 40] = 255
        (corpus.root / "images" / f"{index:04d}.png").write_bytes(png(copy))
    table = corpus.ingest().all_rows(["key", "group", "split"]).to_pylist()
    copies = [
        item for item in table if item["key"] in {f"row-{i:04d}" for i in [3, *range(20, 30)]}
    ]
    assert len(copies) == 11
    assert len({item["group"] for item in copies}) == 1
    assert len({item["split"] for item in copies}) == 1


def test_no_row_and_no_file_are_errors(corpus: Corpus) -> None:
    (corpus.root / "rows.csv").write_text("id,caption,picture,mood\n", "utf-8")
    with pytest.raises(DatasetError, match="has no row"):
        corpus.ingest()
    (corpus.root / "rows.csv").unlink()
    with pytest.raises(MissingFiles, match=r"rows.csv"):
        corpus.ingest()


def test_a_reader_that_repeats_keys_is_refused(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ingesting.load_module("datasets", "table")
    original = reader.read

    def twice(root: Path, manifest: Manifest) -> Any:
        yield from original(root, manifest)
        yield from original(root, manifest)

    monkeypatch.setattr(reader, "read", twice)
    with pytest.raises(DatasetError, match="24 keys twice, first 'row-0000'"):
        corpus.ingest()


def test_a_full_disk_leaves_no_samples_table(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from affectflow.pipeline.errors import StoreError
    from affectflow.pipeline.store import samples

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(samples.pq, "write_table", full)
    with pytest.raises(StoreError, match="No space left on device"):
        corpus.ingest()
    monkeypatch.undo()
    assert list(corpus.layout.root.glob("samples/*/_samples.json")) == []
    assert corpus.ingest().num_rows == 24


def test_label_values_come_back(corpus: Corpus) -> None:
    rows = corpus.ingest().all_rows(["label.mood", "image_phash", "image_width"])
    assert rows["label.mood"].to_pylist() == [index % 2 for index in range(24)]
    assert rows["image_width"].to_pylist() == [40] * 24
    assert np.asarray(rows["image_phash"].to_pylist(), np.uint64).dtype == np.uint64


def test_speakers_of_emodb_and_of_a_table_are_not_parted(tmp_path: Path) -> None:
    (tmp_path / "emodb" / "wav").mkdir(parents=True)
    # Everybody says the same sentences.
    lines = ["id,file,who,mood,said"]
    for speaker in range(3, 13):
        for sentence in range(12):
            name = f"{speaker:02d}a{sentence:02d}{'FNW'[sentence % 3]}a.wav"
            (tmp_path / "emodb" / "wav" / name).write_bytes(name.encode())
            lines.append(f"{name},wav/{name},{speaker},{sentence % 3},the sentence {sentence}")
    (tmp_path / "emodb" / "mine.csv").write_text("\n".join(lines))
    own: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "reader": "table",
        "licence": "mine",
        "obtain": "it is mine",
        "tasks": {"mood": {"classes": ["a", "b", "c"]}},
        "splits": {"val": 0.1, "test": 0.2, "stratify": "mood", "group_by": "speaker"},
        "table": {
            "path": "mine.csv",
            "columns": {
                "key": "id",
                "audio": "file",
                "text": "said",
                "labels": {"mood": "mood"},
                "extra": {"speaker": "who"},
            },
        },
    }
    for manifest in (load_manifest("emodb"), Manifest.model_validate(own)):
        layout = StoreLayout(tmp_path / manifest.name)
        table = ingest_dataset(manifest, tmp_path / "emodb", layout)
        parts: dict[str, set[str]] = {}
        for row in table.table(0, ["split", "extra"]).to_pylist():
            parts.setdefault(json.loads(row["extra"])["speaker"], set()).add(row["split"])
        assert sorted(part for (part,) in parts.values()) == ["test"] * 2 + ["train"] * 7 + ["val"]
    absent = own | {"splits": {**own["splits"], "group_by": "singer"}}
    with pytest.raises(DatasetError, match="no row has a field 'singer'; there are: speaker"):
        ingest_dataset(Manifest.model_validate(absent), tmp_path / "emodb", StoreLayout(tmp_path))
