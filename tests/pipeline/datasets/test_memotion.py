from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.memotion_files import (
    HTML,
    KAGGLE_HEADER,
    LABELS,
    ORGANISERS_HEADER,
    csv_text,
    organisers_lines,
    resaved,
    save,
    touch,
)
from support.shared import SHARED, needs_shared

from affectflow.pipeline.datasets import memotion
from affectflow.pipeline.errors import ConfigError, DatasetError, MissingFiles
from affectflow.pipeline.manifest import Manifest, load_manifest
from affectflow.pipeline.records import SourceRow

HOME = "memotion_dataset_7k"


def manifest(**options: Any) -> Manifest:
    return load_manifest("memotion").model_copy(update={"options": options})


def rows(root: Path, **options: Any) -> list[SourceRow]:
    return list(memotion.read(root, manifest(**options)))


def statuses(found: Iterable[SourceRow]) -> Mapping[str, int]:
    return Counter(row.status for row in found)


def by_key(found: Iterable[SourceRow]) -> dict[str, SourceRow]:
    return {row.key: row for row in found}


def kaggle(root: Path, lines: list[list[str]], header: list[str] | None = None) -> Path:
    text = csv_text([header or KAGGLE_HEADER, *lines])
    return save(root / HOME / "labels.csv", text)


# --- kaggle ------------------------------------------------------------------------------------


def test_kaggle_defects(tmp_path: Path) -> None:
    kaggle(
        tmp_path,
        [
            ["0", "image_1.jpg", "seen", "corrected, with comma", *LABELS],
            ["1", "image_2.JPG", "seen", "", *LABELS],
            ["2", "image_3.png", "", "", *LABELS],
            ["3", "image_4.png", "seen", "#NAME?", *LABELS],
            ["4", "image_5.png", "#NAME?", "#NAME?", *LABELS],
            ["5", "image_6.png", "", HTML, *LABELS],
            ["6", "image_7.jpe", "", "null", *LABELS],
            ["7", "image_8.bmp", "", "NaN", "", "", "", "", "positive"],
            ["8", "image_9.jpg", "", "x", "hilarious", "general", "slight", "maybe", "neutral"],
            ["9", "image_1.jpg", "seen", "again", *LABELS],
            ["10", "image_11.jpg", "too few"],
            ["11", "", "", "no name", *LABELS],
            ["12", "image_13.jpg", "", "two\nlines", *LABELS],
        ],
    )
    found = rows(tmp_path)
    keyed = by_key(found)

    assert len(found) == len(keyed) == 13
    assert statuses(found) == {"ok": 9, "bad_row": 3, "duplicate_row": 1}
    assert keyed["image_1.jpg"].text == "corrected, with comma"
    assert (keyed["image_2.JPG"].text, keyed["image_2.JPG"].flags) == ("seen", ("text_from_ocr",))
    assert (keyed["image_3.png"].text, keyed["image_3.png"].flags) == ("", ("no_text",))
    assert keyed["image_4.png"].text == "seen"
    assert keyed["image_4.png"].flags == ("spreadsheet_error", "text_from_ocr")
    assert keyed["image_4.png"].extra == {"text_ocr": "seen", "text_corrected": "#NAME?"}
    assert keyed["image_5.png"].text == ""
    assert keyed["image_5.png"].flags == ("spreadsheet_error", "no_text")
    assert keyed["image_6.png"].text == HTML
    assert keyed["image_6.png"].flags == ("html",)
    assert keyed["image_7.jpe"].text == "null"
    assert keyed["image_8.bmp"].text == "NaN"
    assert keyed["image_8.bmp"].labels["humour"] is None
    assert keyed["image_8.bmp"].labels["sentiment"] == 2
    assert "motivational is 'maybe', expected one of: not_mot" in keyed["image_9.jpg"].reason
    assert keyed["image_1.jpg#2"].status == "duplicate_row"
    assert "labels.csv:2" in keyed["image_1.jpg#2"].reason
    assert keyed["labels.csv:12"].reason == "got 3 fields, expected 9"
    assert keyed["labels.csv:13"].reason == "the image name is empty"
    assert keyed["image_13.jpg"].text == "two\nlines"
    assert all(row.split is None for row in found)


def test_kaggle_labels(tmp_path: Path) -> None:
    strong = ["hilarious", "not_sarcastic", "slight", "motivational", "very_negative"]
    weak = ["not_funny", "very_twisted", "not_offensive", "not_motivational", "neutral"]
    kaggle(
        tmp_path,
        [
            ["0", "a.jpg", "", "t", *strong],
            ["1", "b.jpg", "", "t", *weak],
        ],
    )
    first, second = rows(tmp_path)
    assert first.labels == {
        "sentiment": 0,
        "sentiment_strength": 0,
        "humour": 1,
        "humour_scale": 3,
        "sarcasm": 0,
        "sarcasm_scale": 0,
        "offensive": 1,
        "offensive_scale": 1,
        "motivational": 1,
        "motivational_scale": 1,
    }
    assert first.labels_raw["humour"] == "hilarious"
    assert (second.labels["sentiment"], second.labels["sentiment_strength"]) == (1, 2)
    assert (second.labels["sarcasm"], second.labels["sarcasm_scale"]) == (1, 3)
    assert set(first.labels) == set(load_manifest("memotion").tasks)


def test_kaggle_copies_without_emotions(tmp_path: Path) -> None:
    header = ["", "image_name", "text_ocr", "text_corrected", "overall_sentiment"]
    kaggle(tmp_path, [["0", "a.jpg", "", "t", "very_positive"]], header)
    (row,) = rows(tmp_path)
    assert row.status == "ok"
    assert row.labels["humour"] is row.labels["humour_scale"] is None
    assert row.labels["sentiment_strength"] == 4


def test_images_are_found_by_name_in_any_case_and_extension(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.png", "d.jpg", "../e.jpg", "F.JPG"]
    kaggle(tmp_path, [[str(i), name, "", "t", *LABELS] for i, name in enumerate(names)])
    touch(tmp_path / HOME / "images", "a.jpg", "b.JPG", "c.jpeg", "f.jpg", "unasked.png")
    found = rows(tmp_path)
    assert [row.image for row in found] == [
        f"{HOME}/images/a.jpg",
        f"{HOME}/images/b.JPG",
        f"{HOME}/images/c.jpeg",
        f"{HOME}/images/d.jpg",
        "../e.jpg",
        f"{HOME}/images/f.jpg",
    ]
    assert [row.key for row in found] == names


def test_root_may_be_the_folder_itself_and_have_a_bom(tmp_path: Path) -> None:
    text = csv_text([KAGGLE_HEADER, ["0", "a.jpg", "", "é", *LABELS]])
    path = save(tmp_path / HOME / "labels.csv", text, "utf-8-sig")
    touch(tmp_path / HOME / "images", "a.jpg")
    (row,) = rows(tmp_path / HOME)
    assert (row.image, row.text) == ("images/a.jpg", "é")
    assert memotion.label_files(tmp_path / HOME, manifest()) == [path]


def test_other_files_under_the_kaggle_name_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "labels.csv", "a\n1\n")
    with pytest.raises(DatasetError, match=r"labels\.csv has no column image_name"):
        rows(tmp_path)
    numeric = [[str(i), f"{i}.jpg", "", "t", "1", "2", "0", "0", "3"] for i in range(5)]
    save(tmp_path / "labels.csv", csv_text([KAGGLE_HEADER, *numeric]))
    with pytest.raises(DatasetError, match="none of the first 5 rows can be used"):
        rows(tmp_path)


def test_another_delimiter_is_detected(tmp_path: Path) -> None:
    text = csv_text([KAGGLE_HEADER, ["0", "a.jpg", "", "x, y", *LABELS]], delimiter=";")
    save(tmp_path / "labels.csv", text)
    assert [row.text for row in rows(tmp_path)] == ["x, y"]


# --- organisers --------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", ORGANISERS_HEADER + "\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_raw_family_takes_quotes_literally(tmp_path: Path, header: str, line_end: str) -> None:
    raw = header + "\n".join(organisers_lines()) + "\n"
    save(tmp_path / "data_7000_new.csv", raw.replace("\n", line_end))
    found = rows(tmp_path)
    assert statuses(found) == {"ok": 10}
    assert [row.text for row in found[:3]] == [
        'he said "wait" twice',
        'a 6" ruler',
        '"opening quote only',
    ]
    assert [row.labels["sentiment_strength"] for row in found] == [0, 1, 2, 3, 4] * 2
    assert found[0].extra["url"] == "http://example.org/0"


@pytest.mark.parametrize(
    "header",
    [None, ORGANISERS_HEADER, ORGANISERS_HEADER.replace("Overall_Sentiment", "Motivational")],
)
def test_resaved_family_is_recovered(tmp_path: Path, header: str | None) -> None:
    raw = "\n".join(organisers_lines()) + "\n"
    text = resaved(raw, header)
    # The copy must have the defect: rows swallowed into cells with line breaks.
    naive = list(csv.reader(text.splitlines(keepends=True)))
    assert len(naive) < 10
    save(tmp_path / "data_7000_new.csv", text)
    found = rows(tmp_path)
    assert statuses(found) == {"ok": 10}
    assert [row.key for row in found] == [f"{number}_meme.jpg" for number in range(10)]
    assert [row.labels["sentiment_strength"] for row in found] == [0, 1, 2, 3, 4] * 2


def test_organisers_duplicate_glued_and_short_rows(tmp_path: Path) -> None:
    lines = organisers_lines()
    glued = lines[3] + lines[4]
    short = lines[5].rsplit(",", 1)[0]
    unknown = lines[6].replace("funny", "amusing")
    no_text = "n_meme.jpg,http://example.org/n,,," + ",".join(LABELS)
    raw = "\n".join([*lines[:3], lines[1], glued, short, unknown, no_text, *lines[7:]])
    save(tmp_path / "data_7000_new.csv", raw)
    found = rows(tmp_path)
    keyed = by_key(found)
    assert statuses(found) == {"ok": 7, "bad_row": 3, "duplicate_row": 1}
    assert keyed["1_meme.jpg#2"].status == "duplicate_row"
    assert keyed["data_7000_new.csv:5"].reason == "got 17 fields, expected 9"
    assert keyed["data_7000_new.csv:6"].reason == "got 8 fields, expected 9"
    assert "humour is 'amusing'" in keyed["6_meme.jpg"].reason
    assert keyed["n_meme.jpg"].flags == ("no_text",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data1,Sentiment,Humor,Offensive_or_not\n1,2,0,1\n", "numeric re-export"),
        ("\n".join(organisers_lines()).replace(",", ";"), "do not have nine fields"),
        ("\n".join(line + ",image" for line in organisers_lines()), "do not have nine fields"),
        ("", "is empty"),
        ("a.jpg,u,o,c,1,2,0,1,2\n" * 3, "none of the first 3 rows"),
    ],
)
def test_other_files_of_the_same_name_are_refused(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "data_7000_new.csv", text)
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path)


def test_a_cut_download_costs_its_last_row(tmp_path: Path) -> None:
    lines = organisers_lines()
    whole = "\n".join([*lines, lines[5].replace("5_meme", "cut")]).encode()
    cut = whole[: whole.rindex("ü".encode()) + 1]
    (tmp_path / "data_7000_new.csv").write_bytes(cut)
    found = rows(tmp_path)
    assert statuses(found) == {"ok": 10, "bad_row": 1}
    assert found[5].text == "ünïcode words"


def test_layout_option(tmp_path: Path) -> None:
    save(tmp_path / "data_7000_new.csv", "\n".join(organisers_lines()))
    kaggle(tmp_path, [["0", "a.jpg", "", "t", *LABELS]])
    touch(tmp_path / "memes", "0_meme.jpg")
    assert len(rows(tmp_path)) == len(rows(tmp_path, layout="kaggle")) == 1
    found = rows(tmp_path, layout="organisers", images=["memes"])
    assert len(found) == 10
    assert found[0].image == "memes/0_meme.jpg"
    with pytest.raises(ConfigError, match="layout"):
        rows(tmp_path, layout="other")
    with pytest.raises(ConfigError, match="unknown key 'lay'"):
        rows(tmp_path, lay="kaggle")


def test_missing_files_say_where_and_how(tmp_path: Path) -> None:
    touch(tmp_path, "unrelated.txt")
    with pytest.raises(MissingFiles) as caught:
        memotion.label_files(tmp_path, manifest())
    assert f"{HOME}/labels.csv" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert manifest().obtain in str(caught.value)


# --- real data ---------------------------------------------------------------------------------


@pytest.mark.real_data
@needs_shared("data/memotion")
def test_real_layouts_agree() -> None:
    root = SHARED / "data" / "memotion"
    ours = rows(root)
    raw = rows(root, layout="organisers")
    assert statuses(ours) == {"ok": 5464}
    assert statuses(raw) == {"ok": 5462}
    assert Counter(flag for row in ours for flag in row.flags)["html"] == 5
    listing = {f"{HOME}/images/{path.name}" for path in (root / HOME / "images").iterdir()}
    assert {row.image for row in ours} == listing
    with (root / "provenance.csv").open(encoding="utf-8", newline="") as stream:
        original = {one["image_name"]: one["orig_name"] for one in csv.DictReader(stream)}
    keyed = by_key(raw)
    pairs = [(row, keyed[original[row.key]]) for row in ours if original[row.key]]
    assert len(pairs) == 5462
    assert all(one.labels == other.labels for one, other in pairs)


@pytest.mark.real_data
@needs_shared("data/memotion")
def test_real_rows_survive_being_resaved(tmp_path: Path) -> None:
    root = SHARED / "data" / "memotion"
    raw = (root / "data_7000_new.csv").read_text(encoding="utf-8")
    save(tmp_path / "data_7000_new.csv", resaved(raw, ORGANISERS_HEADER))
    expected = rows(root, layout="organisers")
    found = rows(tmp_path)
    assert len(list(csv.reader(raw.splitlines(keepends=True)))) < len(expected)
    assert [(row.key, row.labels, row.status) for row in found] == [
        (row.key, row.labels, row.status) for row in expected
    ]
