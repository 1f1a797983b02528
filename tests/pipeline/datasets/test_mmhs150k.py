import json
from collections import Counter

import pytest

from affectflow.pipeline.datasets import mmhs150k
from affectflow.pipeline.errors import ConfigError, DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("mmhs150k")


def tweet(labels, text="a tweet"):
    return {"tweet_text": text, "img_url": "u", "labels": labels, "labels_str": ["x"]}


TWEETS = {
    "1": tweet([0, 0, 1]),
    "2": tweet([1, 2, 0]),
    "3": tweet([5, 5, 5], None),
    "4": tweet([0, 6, 0]),
    "5": tweet([1, 0]),
    "6": "text",
    "7": tweet([]),
    "8": tweet([0, 0, 0]),
}


def write(root, tweets=TWEETS, train="1 2 3 4", val="5 6", test="7 99"):
    (root / "splits").mkdir(parents=True)
    text = tweets if isinstance(tweets, str) else json.dumps(tweets)
    (root / "MMHS150K_GT.json").write_text(text)
    for name, ids in (("train", train), ("val", val), ("test", test)):
        (root / f"splits/{name}_ids.txt").write_text("\n".join(ids.split()) + "\n")


def read(root, **options):
    return list(mmhs150k.read(root, MANIFEST.model_copy(update={"options": options})))


def test_binary_majority_and_every_defect(tmp_path):
    write(tmp_path)
    rows = {row.key: row for row in read(tmp_path)}
    assert Counter(row.status for row in rows.values()) == {"ok": 5, "bad_row": 4}
    assert [rows[key].labels for key in "123"] == [{"hate": 0}, {"hate": 1}, {"hate": 1}]
    assert rows["2"].flags == ("no_majority",)
    assert rows["3"].flags == ("no_text",)
    assert "OtherHate" in rows["4"].reason
    assert rows["5"].labels == {"hate": None}
    assert set(rows["5"].flags) == {"no_majority", "other_annotator_count", "binary_tie"}
    assert rows["1"].image == "img_resized/1.jpg"
    assert [rows[key].split for key in "158"] == ["train", "val", None]
    assert rows["8"].flags == ("no_official_split",)
    assert "test_ids.txt but not in" in rows["99"].reason


def test_multiclass_and_soft(tmp_path):
    write(tmp_path)
    hard = {row.key: row for row in read(tmp_path, labels="multiclass")}
    assert [hard[key].labels["hate_class"] for key in "123"] == [0, None, 5]
    soft = {row.key: row for row in read(tmp_path, labels="soft")}
    assert soft["2"].labels["hate_soft"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert soft["2"].flags == ("no_majority",)
    with pytest.raises(ConfigError, match="labels"):
        read(tmp_path, labels="mean")


def test_text_of_pictures_is_an_option(tmp_path):
    write(tmp_path / "MMHS150K")
    (tmp_path / "MMHS150K/img_txt").mkdir()
    (tmp_path / "MMHS150K/img_txt/1.json").write_text('{"img_text": "ON IT"}')
    (tmp_path / "MMHS150K/img_txt/2.json").write_text("{")
    rows = {row.key: row for row in read(tmp_path, image_text=True)}
    assert rows["1"].extra["image_text"] == "ON IT"
    assert "2.json" in rows["2"].extra["image_text_problem"]
    assert "image_text" not in rows["3"].extra
    manifest = MANIFEST.model_copy(update={"options": {"image_text": True}})
    names = [path.name for path in mmhs150k.label_files(tmp_path, manifest)]
    assert names == [
        "MMHS150K_GT.json",
        "train_ids.txt",
        "val_ids.txt",
        "test_ids.txt",
        "1.json",
        "2.json",
    ]
    assert rows["1"].image == "MMHS150K/img_resized/1.jpg"


def test_split_lists_must_be_disjoint(tmp_path):
    write(tmp_path / "a", train="1 2", val="3", test="2 1")
    with pytest.raises(DatasetError, match=r"train_ids.txt and test_ids.txt are identical"):
        read(tmp_path / "a")
    write(tmp_path / "b", train="1 2", val="2 3", test="4")
    with pytest.raises(DatasetError, match="share 1 ids"):
        read(tmp_path / "b")
    write(tmp_path / "c", train="1", val="", test="4")
    with pytest.raises(DatasetError, match="the list is empty"):
        read(tmp_path / "c")


def test_repeated_ids_are_seen(tmp_path):
    doubled = '{"1": {"labels": [0,0,0]}, "1": {"labels": [1,1,1]}}'
    write(tmp_path, doubled, train="1 1", val="2", test="3")
    rows = read(tmp_path)
    assert [row.key for row in rows] == ["1", "1#2", "2", "3"]
    assert [row.status for row in rows] == ["ok", "duplicate_row", "bad_row", "bad_row"]
    assert "listed_twice" in rows[0].flags


def test_missing_and_wrong_files(tmp_path):
    with pytest.raises(MissingFiles) as caught:
        read(tmp_path)
    assert len(caught.value.missing) == 4
    write(tmp_path / "a", "[1, 2]")
    with pytest.raises(DatasetError, match="keyed by tweet id"):
        read(tmp_path / "a")
    write(tmp_path / "b", "nothing")
    with pytest.raises(DatasetError, match="expected JSON"):
        read(tmp_path / "b")
