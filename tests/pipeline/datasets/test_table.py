from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.memotion_files import csv_text, save, touch

from affectflow.pipeline.datasets import table
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import Manifest, read_manifest
from affectflow.pipeline.records import SourceRow

TASKS = {
    "mood": {"classes": ["bad", "good"]},
    "tags": {"kind": "multi", "classes": ["a", "b, c", "d"]},
    "score": {"kind": "regression", "range": [-3, 3]},
    "votes": {"kind": "soft", "classes": ["x", "y"]},
}
COLUMNS = {"key": "id", "text": "caption", "image": "file", "split": "part"}


def manifest(path: str | list[str], labels: dict[str, str], **changes: Any) -> Manifest:
    columns = {**COLUMNS, **changes.pop("columns", {}), "labels": labels}
    values = {"path": path, "image_folder": "images", "columns": columns, **changes}
    common = {"name": "own", "title": "Own", "reader": "table", "licence": "mine"}
    return Manifest.model_validate(
        {**common, "obtain": "it is yours", "tasks": TASKS, "table": values}
    )


def rows(root: Path, of: Manifest) -> list[SourceRow]:
    return list(table.read(root, of))


def statuses(found: list[SourceRow]) -> dict[str, int]:
    return dict(Counter(row.status for row in found))


HEADER = ["id", "caption", "file", "part", "mood", "tags", "score"]
LINES = [
    ["k1", "one, with comma", "a.jpg", "train", "good", '["a", "b, c"]', "1.5"],
    ["k2", "NaN", "b.jpg", "dev", "bad", "[]", "-3"],
    ["k3", "", "c.jpg", "test", "", "", ""],
    ["k1", "again", "d.jpg", "train", "good", "", ""],
    ["k5", "x", "e.jpg", "train", "fine", "", ""],
    ["k6", "x", "f.jpg", "later", "good", "", ""],
    ["k7", "x", "g.jpg", "train", "good", "a,b", ""],
    ["k8", "x", "h.jpg", "train", "good", "", "3.5"],
    ["k9", "x", "i.jpg", "train", "good", "", "many"],
    ["k10", "too few"],
    ["", "x", "j.jpg", "train", "good", "", ""],
    ["k12", "<p>x</p>", "", "", "1", "[2]", "0"],
]
LABELS = {"mood": "mood", "tags": "tags", "score": "score"}


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding"),
    [
        ("t.csv", ",", "utf-8"),
        ("t.csv", ";", "utf-8-sig"),
        ("t.tsv", "\t", "utf-16"),
        ("t.txt", "|", "cp1252"),
    ],
)
def test_delimited(tmp_path: Path, name: str, delimiter: str, encoding: str) -> None:
    save(tmp_path / name, csv_text([HEADER, *LINES], delimiter=delimiter), encoding)
    touch(tmp_path / "images", "a.jpg", "b.JPG", "c.png")
    found = rows(tmp_path, manifest(name, LABELS))
    keyed = {row.key: row for row in found}
    assert len(found) == len(keyed) == len(LINES)
    assert statuses(found) == {"ok": 4, "duplicate_row": 1, "bad_row": 7}
    assert keyed["k1"].labels == {"mood": 1, "tags": [0, 1], "score": 1.5}
    assert keyed["k1"].labels_raw["tags"] == '["a", "b, c"]'
    assert keyed["k1"].image == "images/a.jpg"
    assert (keyed["k2"].text, keyed["k2"].split) == ("NaN", "val")
    assert keyed["k2"].image == "images/b.JPG"
    assert keyed["k2"].labels == {"mood": 0, "tags": [], "score": -3.0}
    assert (keyed["k3"].text, keyed["k3"].flags) == ("", ("no_text",))
    assert keyed["k3"].labels == {"mood": None, "tags": None, "score": None}
    assert keyed["k3"].image == "images/c.png"
    assert keyed["k1#2"].status == "duplicate_row"
    assert "mood: got 'fine', expected one of bad, good or a code from 0" in keyed["k5"].reason
    assert "split is 'later'" in keyed["k6"].reason
    assert "expected a JSON list" in keyed["k7"].reason
    assert "expected -3.0 to 3.0" in keyed["k8"].reason
    assert "expected a finite number" in keyed["k9"].reason
    assert keyed[f"{name}:11"].reason == "got 2 fields, expected 7"
    assert "key column 'id' is empty" in keyed[f"{name}:12"].reason
    assert keyed["k12"].labels == {"mood": 1, "tags": [2], "score": 0.0}
    assert (keyed["k12"].image, keyed["k12"].split) == (None, None)
    assert keyed["k12"].flags == ("html",)


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": 1, "caption": "é", "file": "a.jpg", "tags": ["d", "a"], "v": [1, 3]}),
        '{"id": 2, "caption": NaN, "file": null, "tags": null, "v": null, "part": "TRAIN"}',
        "{not json",
        "[1, 2]",
        "",
        '{"id": 2.0, "caption": "same id", "v": [1]}',
        '{"id": "x", "caption": "half \\ud83d", "v": [0.5, -1]}',
        '{"id": {"a": 1}, "caption": "t"}',
        '{"caption": "no id"}',
    ]
    save(tmp_path / "t.jsonl", "\n".join(lines))
    found = rows(tmp_path, manifest("t.jsonl", {"tags": "tags", "votes": "v"}))
    keyed = {row.key: row for row in found}
    assert len(found) == 8
    assert statuses(found) == {"ok": 2, "bad_row": 5, "duplicate_row": 1}
    assert keyed["1"].labels == {"tags": [0, 2], "votes": [1.0, 3.0]}
    assert (keyed["2"].text, keyed["2"].split) == ("", "train")
    assert keyed["2"].flags == ("no_text",)
    assert keyed["2#2"].status == "duplicate_row"
    assert "not JSON" in keyed["t.jsonl:3"].reason
    assert "expected an object" in keyed["t.jsonl:4"].reason
    assert "2 numbers that are not negative" in keyed["x"].reason
    assert "holds a dict" in keyed["t.jsonl:8"].reason


def test_further_columns_are_kept_as_text(tmp_path: Path) -> None:
    save(tmp_path / "t.csv", "id,caption,file,part,who\na,x,,,12\nb,y,,,\n")
    found = rows(tmp_path, manifest("t.csv", {}, columns={"extra": {"speaker": "who"}}))
    assert [row.extra for row in found] == [{"speaker": "12"}, {"speaker": ""}]
    assert rows(tmp_path, manifest("t.csv", {}))[0].extra == {}


def test_half_a_surrogate_pair_can_be_stored(tmp_path: Path) -> None:
    save(tmp_path / "t.jsonl", '{"id": "a\\ud83d", "caption": "b\\ud83d", "part": "", "file": ""}')
    (row,) = rows(tmp_path, manifest("t.jsonl", {}))
    assert (row.key, row.text, row.flags) == ("a?", "b?", ("bad_unicode",))


def test_parquet(tmp_path: Path) -> None:
    columns = {
        "id": [1.0, 2.0, None],
        "caption": ["x", None, "y"],
        "file": ["a.jpg", "https://example.org/b.jpg", "../c.jpg"],
        "part": ["training", "valid", "test"],
        "tags": [["a"], [], None],
        "mood": [1, None, 5],
        "unused": [b"1", b"2", b"3"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = rows(tmp_path, manifest("t.parquet", {"tags": "tags", "mood": "mood"}))
    assert [row.key for row in found] == ["1", "2", "t.parquet:3"]
    assert statuses(found) == {"ok": 2, "bad_row": 1}
    assert found[0].labels == {"tags": [0], "mood": 1}
    assert found[1].labels == {"tags": [], "mood": None}
    assert (found[1].text, found[1].image) == ("", "https://example.org/b.jpg")
    without_key = manifest("t.parquet", {"mood": "mood"}, columns={"key": None})
    found = rows(tmp_path, without_key)
    assert [row.key for row in found] == ["a.jpg", "https://example.org/b.jpg", "../c.jpg"]
    assert "mood: got 5, expected one of bad, good or a code from 0 to 1" in found[2].reason
    only_text = manifest("t.parquet", {}, columns={"key": None, "image": None})
    assert [row.key for row in rows(tmp_path, only_text)] == ["t:1", "t:2", "t:3"]


def test_label_map_and_split_map(tmp_path: Path) -> None:
    lines = [
        ["k1", "t", "", "A", "0"],
        ["k2", "t", "", "B", "1.0"],
        ["k3", "t", "", "A", "2"],
        ["k4", "t", "", "A", "good"],
        ["k5", "t", "", "train", "1"],
    ]
    save(tmp_path / "t.csv", csv_text([HEADER[:5], *lines]))
    mapped = manifest(
        "t.csv",
        {"mood": "mood"},
        label_map={"mood": {"0": "good", "1": "bad"}},
        split_map={"A": "train", "B": "test"},
    )
    found = rows(tmp_path, mapped)
    assert [row.labels.get("mood") for row in found] == [1, 0, None, 1, None]
    assert [row.split for row in found] == ["train", "test", None, "train", None]
    assert "got '2', expected one of 0, 1, bad, good" in found[2].reason
    assert "expected one of A, B" in found[4].reason


def test_several_files_share_their_keys(tmp_path: Path) -> None:
    save(tmp_path / "a.csv", csv_text([HEADER, LINES[0]]))
    save(tmp_path / "b.csv", csv_text([HEADER, LINES[0], LINES[1]]))
    of = manifest(["a.csv", "b.csv"], LABELS)
    assert [row.key for row in rows(tmp_path, of)] == ["k1", "k1#2", "k2"]
    assert table.label_files(tmp_path, of) == [tmp_path / "a.csv", tmp_path / "b.csv"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delimiter": ";"}, "one column only when split at ';'.*id,caption,file,part"),
        ({"columns": {"text": "captoin"}}, "no column 'captoin'; nearest: 'caption'"),
        ({"columns": {"text": "zzzz"}}, "no column 'zzzz'; its columns: 'id'"),
        ({"columns": {"extra": {"who": "captoin"}}}, "no column 'captoin'; nearest: 'caption'"),
        ({"labels": {"mood": "moood"}}, "no column 'moood'; nearest: 'mood'"),
        ({"labels": {"anger": "mood"}}, "names the task 'anger'"),
        ({"label_map": {"mood": {"0": "angry"}}}, r"label_map\.mood leads to angry"),
        ({"split_map": {"a": "training"}}, "split_map leads to training"),
        ({"format": "jsonl"}, "the line is not JSON"),
        ({"format": "parquet"}, "cannot be read as Parquet"),
        ({"path": "../t.csv"}, "leaves the root"),
        ({"path": "/etc/passwd"}, "not relative to the root"),
        ({"path": "t.xlsx"}, "format of t.xlsx cannot be told"),
        ({"encoding": "klingon"}, "cannot be decoded as klingon"),
    ],
)
def test_wrong_files_and_mappings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    text = csv_text([HEADER, *LINES])
    save(tmp_path / "root" / "t.csv", text)
    save(tmp_path / "root" / "t.xlsx", text)
    save(tmp_path / "t.csv", text)
    values: dict[str, Any] = {"path": "t.csv", "labels": {"mood": "mood"}, **changes}
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path / "root", manifest(**values))


def test_doubled_columns_are_refused_where_mapped(tmp_path: Path) -> None:
    save(tmp_path / "t.csv", csv_text([[*HEADER, "mood"], [*LINES[0], "bad"]]))
    with pytest.raises(DatasetError, match="2 columns called 'mood'"):
        rows(tmp_path, manifest("t.csv", LABELS))
    assert len(rows(tmp_path, manifest("t.csv", {}))) == 1


def test_missing_and_empty_files(tmp_path: Path) -> None:
    save(tmp_path / "a.csv", "")
    with pytest.raises(DatasetError, match=r"a\.csv is empty"):
        rows(tmp_path, manifest("a.csv", LABELS))
    save(tmp_path / "a.jsonl", "\n")
    with pytest.raises(DatasetError, match=r"a\.jsonl: the file is empty"):
        rows(tmp_path, manifest("a.jsonl", LABELS))
    with pytest.raises(MissingFiles) as caught:
        rows(tmp_path, manifest(["a.csv", "b.csv", "c/d.csv"], LABELS))
    assert len(caught.value.missing) == 2
    assert "it is yours" in str(caught.value)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    outside = save(tmp_path / "secret.csv", csv_text([HEADER, LINES[0]]))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "t.csv").symlink_to(outside)
    with pytest.raises(DatasetError, match="leaves the root"):
        rows(tmp_path / "root", manifest("t.csv", LABELS))


def test_a_manifest_file_of_the_users_own(tmp_path: Path) -> None:
    text = """
name: my_memes
title: Mine
reader: table
licence: mine
obtain: ask me
tasks: {mood: {classes: [bad, good]}}
table:
  path: t.csv
  columns: {text: caption, image: file, labels: {mood: mood}}
"""
    path = save(tmp_path / "mine.yaml", text)
    save(tmp_path / "t.csv", csv_text([HEADER, *LINES[:2]]))
    found = rows(tmp_path, read_manifest(path))
    assert [(row.key, row.labels) for row in found] == [
        ("a.jpg", {"mood": 1}),
        ("b.jpg", {"mood": 0}),
    ]


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    lines = "\n".join(f"k{number},t,,train,good" for number in range(200_000))
    save(tmp_path / "t.csv", "id,caption,file,part,mood\n" + lines)
    stream = table.read(tmp_path, manifest("t.csv", {"mood": "mood"}))
    first = next(stream)
    (tmp_path / "t.csv").write_bytes(b"")
    assert first.key == "k0"
    # What was buffered still comes; the end of the file is gone, so it was not read in advance.
    assert sum(1 for _ in stream) < 100_000
