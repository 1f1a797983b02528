import json
from collections import Counter

import pytest
from support.shared import SHARED, needs_shared

from affectflow.pipeline.datasets import propaganda
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("propaganda_memes")
CLASSES = MANIFEST.tasks["techniques"].classes
LONG = "Obfuscation, Intentional vagueness, Confusion"


def meme(key, text="SOME TEXT", labels=("Smears",), image=True):
    entry = {"id": key, "text": text, "labels": list(labels)}
    return entry | ({"image": f"{key}_image.png"} if image else {})


def span(start, end, fragment, technique="Doubt"):
    return {"start": start, "end": end, "technique": technique, "text_fragment": fragment}


def write_lines(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines), encoding="utf-8")


def write_array(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries), encoding="utf-8")


def read(root):
    return list(propaganda.read(root, MANIFEST))


def statuses(rows):
    return Counter(row.status for row in rows)


def test_the_vocabulary_is_the_official_one_in_its_order():
    assert len(CLASSES) == 22
    assert CLASSES[19:] == ("Bandwagon", "Transfer", "Appeal to (Strong) Emotions")
    assert MANIFEST.tasks["techniques_text"].classes == CLASSES[:20]


def test_baseline_layout_with_every_defect(tmp_path):
    write_lines(
        tmp_path / "annotations/train.jsonl",
        [
            meme("1", labels=[LONG, "Smears", "Appeal to (Strong) Emotions"]),
            meme("1_batch_2", labels=[]),
            meme("3", text="  "),
            meme("1"),
            "{broken",
            "[1]",
            meme("4", labels=["Smear"]),
            {"text": "no id", "labels": []},
            {"id": "5", "text": None, "image": "5.png"},
            meme("6") | {"image": 6},
        ],
    )
    write_lines(tmp_path / "annotations/val.jsonl", [meme("7")])
    rows = read(tmp_path)
    assert statuses(rows) == {"ok": 5, "duplicate_row": 1, "bad_row": 5}
    assert len({row.key for row in rows}) == len(rows) == 11
    by_key = {row.key: row for row in rows}
    assert by_key["1"].labels["techniques"] == [11, 16, 21]
    assert by_key["1"].labels_raw["techniques"].split("\n")[0] == LONG
    assert by_key["1"].image == "images/1_image.png"
    assert by_key["1_batch_2"].labels["techniques"] == []
    assert by_key["3"].flags == ("no_text",)
    assert by_key["1#2"].status == "duplicate_row"
    assert "train.jsonl:1" in by_key["1#2"].reason
    assert by_key["train.jsonl:5"].status == "bad_row"
    assert "'Smear'" in by_key["4"].reason
    assert "Whataboutism" in by_key["4"].reason
    assert by_key["5"].labels == {"techniques": None, "techniques_text": None}
    assert by_key["7"].split == "val"


def test_spans_are_checked_and_moved_to_their_fragment(tmp_path):
    text = "ab cd ab é ef"
    write_lines(tmp_path / "annotations/train.jsonl", [meme("1", text), meme("2", "other text")])
    spans = [
        span(3, 5, "cd"),
        span(0, 2, "ef", "Smears"),
        span(1, 3, "ab"),
        span(9, 99, "é"),
        span(None, 2, "zz"),
    ]
    write_array(
        tmp_path / "text_spans/training_set_task2.txt",
        [
            {"id": "1", "text": text, "labels": spans},
            {"id": "2", "text": "text", "labels": [span(0, 4, "text")]},
        ],
    )
    first, second = read(tmp_path)
    assert first.flags == ("bad_span",)
    places = [(found["start"], found["end"]) for found in first.extra["spans"]]
    assert places == [(3, 5), (11, 13), (None, None), (9, 10), (None, None)]
    assert first.extra["spans"][1]["moved_from"] == [0, 2]
    assert first.labels["techniques_text"] == [4, 16]
    assert set(second.flags) == {"span_text_differs", "bad_span"}
    assert second.text[6:10] == "text"
    assert (second.extra["spans"][0]["start"], second.extra["spans"][0]["end"]) == (6, 10)


def test_organisers_layout_joins_three_tasks_by_id(tmp_path):
    data = tmp_path / "data"
    labelled = data / "training_set_task3/training_set_task3"
    write_array(labelled / "training_set_task3.txt", [meme("2"), meme("1", labels=["Transfer"])])
    write_array(
        data / "training_set_task1.txt",
        [meme("1", image=False), meme("2", image=False), meme("9", image=False), "odd"],
    )
    write_array(
        data / "training_set_task2.txt",
        [{"id": "1", "text": "SOME TEXT", "labels": [span(0, 4, "SOME", "Slogans")]}],
    )
    rows = read(tmp_path)
    assert [row.key for row in rows] == ["2", "1", "training_set_task1.txt:4", "9"]
    assert statuses(rows) == {"ok": 3, "bad_row": 1}
    assert rows[0].image == "data/training_set_task3/training_set_task3/2_image.png"
    assert rows[1].labels == {"techniques": [20], "techniques_text": [16]}
    # The text that has no meme stays, without picture and without task 3 label.
    assert rows[3].image is None
    assert rows[3].flags == ("no_image",)
    assert rows[3].labels == {"techniques": None, "techniques_text": [16]}


def test_packed_archive_says_how_to_unpack(tmp_path):
    write_array(tmp_path / "data/dev_set_task1.txt", [])
    (tmp_path / "data/dev_set_task3.zip").write_bytes(b"PK")
    with pytest.raises(MissingFiles, match=r"unzip -d dev_set_task3 dev_set_task3\.zip"):
        propaganda.label_files(tmp_path, MANIFEST)


def test_nothing_there_and_files_of_another_kind(tmp_path):
    with pytest.raises(MissingFiles, match=r"annotations/train\.jsonl") as caught:
        read(tmp_path)
    assert MANIFEST.obtain in str(caught.value)
    write_lines(tmp_path / "annotations/train.jsonl", ["id,text", "1,a"])
    with pytest.raises(DatasetError, match="no line is a JSON object"):
        read(tmp_path)


def test_parent_folders_are_found(tmp_path):
    inner = tmp_path / "data/datasets/propaganda/defaults"
    write_lines(inner / "annotations/test.jsonl", [meme("1")])
    (row,) = read(tmp_path)
    assert row.image == "data/datasets/propaganda/defaults/images/1_image.png"
    assert row.split == "test"


@pytest.mark.real_data
@needs_shared("data/propaganda_memes")
def test_real_corpus():
    root = SHARED / "data/propaganda_memes"
    rows = read(root)
    assert len(rows) == len({row.key for row in rows}) == 400
    assert statuses(rows) == {"ok": 400}
    assert not Counter(flag for row in rows for flag in row.flags)
    assert all((root / row.image).is_file() for row in rows)
    assert sum(not row.labels["techniques"] for row in rows) == 17
    assert max(len(row.labels["techniques"]) for row in rows) == 8
    assert sum(len(row.extra["spans"]) for row in rows) == 860
    listed = (root / "techniques_list_task3.txt").read_text(encoding="utf-8").split("\n")
    assert [name for name in listed if name.strip()] == list(CLASSES)
