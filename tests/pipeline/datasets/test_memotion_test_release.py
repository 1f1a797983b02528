from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.memotion_files import KAGGLE_HEADER, LABELS, csv_text, save, touch

from affectflow.pipeline.datasets import memotion
from affectflow.pipeline.datasets._memotion_labels import BadLabel, parse_submission
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest
from affectflow.pipeline.records import SourceRow

MANIFEST = load_manifest("memotion")


def rows(root: Path, **options: Any) -> list[SourceRow]:
    return list(memotion.read(root, MANIFEST.model_copy(update={"options": options})))


TEST_HEADER = "Image_name,Image_URL,OCR_extracted_text,corrected_text"


def release(root: Path, home: str, truth_name: str, answers: list[list[str]]) -> None:
    train = csv_text([KAGGLE_HEADER, ["0", "train.jpg", "", "t", *LABELS]])
    save(root / "memotion_dataset_7k" / "labels.csv", train)
    lines = [f'{name}.jpg,u,ocr,a "quoted text {name}' for name in "abcdef"]
    save(root / home / "2000_testdata.csv", "\n".join([TEST_HEADER.replace(",", ", "), *lines]))
    save(root / home / truth_name, csv_text([["Image_name", " Labels"], *answers]))
    touch(root / home / "2000_data", "a.jpg", "b.png")


@pytest.mark.parametrize("home", ["memotion_test_dataset_7k", "memotion_test_data/test_data"])
@pytest.mark.parametrize("truth_name", ["Meme_groundTruth.csv", "Meme_groundTruth .csv"])
def test_release(tmp_path: Path, home: str, truth_name: str) -> None:
    answers = [
        ["a.jpg", "-1_0110_0210"],
        ["b.jpg", "1_110_210"],
        ["c.jpg", "0_1000_0000"],
        ["d.jpg", "2_0000_0000"],
        ["e.jpg", "0_0001_0002"],
        ["stranger.jpg", "0_0000_0000"],
        ["a.jpg", "0_0000_0000"],
        ["too", "many", "fields"],
    ]
    release(tmp_path, home, truth_name, answers)
    found = [row for row in rows(tmp_path) if row.key != "train.jpg"]
    keyed = {row.key: row for row in found}
    assert Counter(row.status for row in found) == {"ok": 4, "bad_row": 5}
    assert {row.split for row in found} == {"test"}
    assert keyed["a.jpg"].labels == {
        "sentiment": 0,
        "sentiment_strength": None,
        "humour": 0,
        "humour_scale": 0,
        "sarcasm": 1,
        "sarcasm_scale": 2,
        "offensive": 1,
        "offensive_scale": 1,
        "motivational": 0,
        "motivational_scale": 0,
    }
    assert keyed["a.jpg"].text == 'a "quoted text a'
    assert keyed["a.jpg"].image == f"{home}/2000_data/a.jpg"
    assert keyed["b.jpg"].image == f"{home}/2000_data/b.png"
    assert {**keyed["b.jpg"].labels, "sentiment": 0} == keyed["a.jpg"].labels
    assert keyed["b.jpg"].flags == ("labels_padded",)
    assert keyed["b.jpg"].labels_raw == {"Labels": "1_110_210"}
    assert keyed["c.jpg"].flags == ("binary_scale_conflict",)
    assert keyed["c.jpg"].extra["conflicting_emotions"] == ["humour"]
    assert "sentiment '2'" in keyed["d.jpg"].reason
    assert "motivational" in keyed["e.jpg"].reason
    assert keyed["f.jpg"].flags == ("no_labels",)
    assert keyed["f.jpg"].labels == {}
    assert "is not in 2000_testdata.csv" in keyed["stranger.jpg"].reason
    assert "already answered" in keyed[f"{truth_name}:8"].reason
    assert "got 3 fields" in keyed[f"{truth_name}:9"].reason
    assert len(memotion.label_files(tmp_path, MANIFEST)) == 3
    assert len(rows(tmp_path, test=False)) == 1


def test_release_without_truth_or_texts(tmp_path: Path) -> None:
    release(tmp_path, "memotion_test_dataset_7k", "Meme_groundTruth.csv", [])
    folder = tmp_path / "memotion_test_dataset_7k"
    (folder / "Meme_groundTruth.csv").unlink()
    found = rows(tmp_path)
    assert Counter(row.status for row in found) == {"ok": 7}
    assert sum("no_labels" in row.flags for row in found) == 6
    (folder / "2000_testdata.csv").rename(folder / "Meme_groundTruth.csv")
    with pytest.raises(MissingFiles, match="2000_testdata"):
        rows(tmp_path)
    (folder / "Meme_groundTruth.csv").rename(folder / "2000_testdata.csv")
    save(folder / "Meme_groundTruth.csv", "a;b\n")
    with pytest.raises(DatasetError, match="expected Image_name, Labels"):
        rows(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "1_0000", "1_00000_0000", "x_0000_0000", "1__0000", "1_2000_0"]
)
def test_label_strings_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(BadLabel):
        parse_submission(text)


def test_zeros_in_front_are_restored() -> None:
    full, none, _ = parse_submission("0_0001_0001")
    short, flags, _ = parse_submission("0_1_1")
    assert full == short
    assert (none, flags) == ((), ("labels_padded",))
