from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from support.memotion_files import csv_text, save, touch

from affectflow.pipeline.datasets import memotion2, memotion3
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest
from affectflow.pipeline.records import SourceRow

HEADER2 = [
    "Id",
    "Image url",
    "ocr_text",
    "humour",
    "sarcastic",
    "offensive",
    "motivational",
    "overall_sentiment",
    "classification_based_on",
]
LABELS2 = ["not_funny", "extremely_sarcastic", "slight", "not_motivational", "negative", "x"]
HEADER3 = ["id", "image url", "humour", "sarcastic", "offensive", "motivational"]
HEADER3 = [*HEADER3, "sentiment", "ocr text"]
LABELS3 = ["very_funny", "twisted_meaning", "not_offensive", "motivational", "very_positive"]


def rows(module: ModuleType, root: Path) -> list[SourceRow]:
    manifest = load_manifest(module.__name__.rpartition(".")[2])
    return list(module.read(root, manifest))


def save2(root: Path, train: list[list[str]], val: list[list[str]]) -> None:
    save(root / "memotion_train.csv", csv_text([HEADER2, *train]))
    save(root / "memotion_val.csv", csv_text([HEADER2, *val]))


def test_memotion2_rows(tmp_path: Path) -> None:
    train = [
        ["0", "u", "some, text", *LABELS2],
        ["1", "u", "", *LABELS2],
        ["2", "u", "NA", "not_funny", "general", "slight", "motivational", "neutral", "x"],
        ["0", "u", "again", *LABELS2],
        ["3", "u"],
        ["", "u", "t", *LABELS2],
    ]
    save2(tmp_path, train, [["0", "u", "val text", *LABELS2]])
    touch(tmp_path / "train_images", "0.jpg", "1.png")
    touch(tmp_path / "val_images", "0.JPG")
    found = rows(memotion2, tmp_path)
    keyed = {row.key: row for row in found}
    assert Counter(row.status for row in found) == {"ok": 3, "bad_row": 3, "duplicate_row": 1}
    assert keyed["train_0"].text == "some, text"
    assert keyed["train_0"].image == "train_images/0.jpg"
    assert keyed["train_0"].extra == {"id": "0", "url": "u"}
    assert keyed["train_0"].labels["sarcasm_scale"] == 3
    assert keyed["train_0"].labels["sentiment"] == 0
    assert keyed["train_1"].image == "train_images/1.png"
    assert keyed["train_1"].flags == ("no_text",)
    assert "sarcasm is 'general', expected one of: not_sarcastic, little" in keyed["train_2"].reason
    assert keyed["train_2"].text == "NA"
    assert keyed["train_0#2"].status == "duplicate_row"
    assert keyed["val_0"].image == "val_images/0.JPG"
    assert Counter(row.split for row in found if row.status == "ok") == {"train": 2, "val": 1}


def test_memotion2_private_test_labels_are_absent(tmp_path: Path) -> None:
    save2(tmp_path / "memotion2", [], [["7", "u", "t", *LABELS2]])
    save(tmp_path / "memotion2" / "memotion_test.csv", csv_text([HEADER2[:3], ["8", "u", "t"]]))
    val, test = rows(memotion2, tmp_path)
    assert (val.image, val.split) == ("memotion2/val_images/7.jpg", "val")
    assert (test.key, test.split, test.status) == ("test_8", "test", "ok")
    assert set(test.labels.values()) == {None}


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("header", [HEADER3, list("abcdefgh"), None])
def test_memotion3_rows(tmp_path: Path, delimiter: str, header: list[str] | None) -> None:
    lines = [
        ["1", "u", *LABELS3, "दो, lines\nof text"],
        ["2", "u", *LABELS3, "plain"],
        ["3", "u", *LABELS3],
        ["4", "u", *["very_bad", *LABELS3[1:]], "plain"],
    ]
    home = tmp_path / "memotion3"
    first = [header] if header else []
    save(home / "train.csv", csv_text([*first, *lines], delimiter=delimiter))
    save(home / "val.csv", csv_text([*first, lines[1]], delimiter=delimiter))
    touch(home / "image" / "train", "1.jpg", "2.png")
    found = rows(memotion3, tmp_path)
    keyed = {row.key: row for row in found}
    assert len(found) == 5
    assert Counter(row.status for row in found) == {"ok": 3, "bad_row": 2}
    assert keyed["train_1"].text == "दो, lines\nof text"
    assert keyed["train_1"].image == "memotion3/image/train/1.jpg"
    assert keyed["train_2"].image == "memotion3/image/train/2.png"
    assert keyed["train_2"].labels["sarcasm_scale"] == 2
    assert keyed["train_2"].labels["sentiment"] == 2
    assert "humour is 'very_bad'" in keyed["train_4"].reason
    assert keyed["val_2"].split == "val"
    assert rows(memotion3, home)[0].image == "image/train/1.jpg"


def test_memotion3_known_names_win_over_the_order(tmp_path: Path) -> None:
    header = ["", "text", "id", "sentiment", "motivational", "offensive", "sarcastic", "humor"]
    line = ["0", "t", "5", *reversed(LABELS3)]
    for split in ("train", "val"):
        save(tmp_path / f"{split}.csv", csv_text([header, line]))
    first, second = rows(memotion3, tmp_path)
    assert (first.key, first.text, first.status) == ("train_5", "t", "ok")
    assert first.labels["humour_scale"] == 2
    assert second.key == "val_5"


def test_other_files_are_refused(tmp_path: Path) -> None:
    wide = csv_text([["a", "b", "c"], ["1", "2", "3"]])
    for name in ("memotion_train.csv", "memotion_val.csv", "train.csv", "val.csv"):
        save(tmp_path / name, wide)
    for module in (memotion2, memotion3):
        with pytest.raises(DatasetError, match="has 3 columns: a, b, c; not found: humour"):
            rows(module, tmp_path)
    numeric = [[str(i), "u", "1", "2", "0", "1", "2", "t"] for i in range(4)]
    save(tmp_path / "train.csv", csv_text([HEADER3, *numeric]))
    with pytest.raises(DatasetError, match=r"train\.csv: none of the first 4 rows"):
        rows(memotion3, tmp_path)


@pytest.mark.parametrize(
    ("module", "present", "absent"),
    [
        (memotion2, "memotion_train.csv", "memotion_val.csv"),
        (memotion3, "memotion3/train.csv", "memotion3/val.csv"),
    ],
)
def test_every_missing_file_is_listed(
    tmp_path: Path, module: ModuleType, present: str, absent: str
) -> None:
    manifest = load_manifest(module.__name__.rpartition(".")[2])
    save(tmp_path / present, csv_text([HEADER3]))
    with pytest.raises(MissingFiles) as caught:
        module.label_files(tmp_path, manifest)
    assert len(caught.value.missing) == 1
    assert absent in caught.value.missing[0]
    assert manifest.obtain in str(caught.value)
