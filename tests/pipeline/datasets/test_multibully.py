import pickle
from collections import Counter

import numpy as np
import pytest

from affectflow.pipeline.datasets import multibully
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("multibully")
SHEET = "Img_Name,Img_Text,Bully,Sentiment,Emotion,Sarcasm,Target,Harmfulness\n"


class Hostile:
    def __reduce__(self):
        return eval, ("1",)


def coded(bully, sentiment, emotion=0):
    return {
        "label": bully,
        "sentiment": sentiment,
        "sarcasm": np.int64(0),
        "emotion": np.array([emotion]),
        "harmful-score": 1.0,
        "target": 2,
    }


def dump(path, value, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=protocol))


def pickles(root):
    data = {f"{number}.jpg": coded(number % 2, number % 3) for number in range(6)}
    dump(root / "data-corrected.pkl", data | {"9.jpg": "odd"})
    dump(root / "data.pkl", {"0.jpg": coded(1, 1), "2325.jpg": coded(1, 2)})
    dump(root / "70_10_20/train_id.pkl", ["0.jpg", "1.jpg", "2325.jpg"])
    dump(root / "70_10_20/val_id.pkl", np.array(["2.jpg"]))
    dump(root / "70_10_20/test_id.pkl", ["3.jpg", "77.jpg"])


def read(root, manifest=MANIFEST):
    return list(multibully.read(root, manifest))


def test_pickles_are_merged_and_split(tmp_path):
    pickles(tmp_path)
    rows = {row.key: row for row in read(tmp_path)}
    assert Counter(row.status for row in rows.values()) == {"ok": 7, "bad_row": 2}
    assert "from_older_file" in rows["2325.jpg"].flags
    # The corrected file wins over the older one.
    assert rows["0.jpg"].labels["bully"] == 0
    assert rows["2325.jpg"].labels == {
        "bully": 1,
        "sentiment": 2,
        "emotion": 0,
        "sarcasm": 0,
        "harmfulness": 0,
        "target": 0,
    }
    splits = [rows[key].split for key in ("0.jpg", "2.jpg", "3.jpg", "4.jpg")]
    assert splits == ["train", "val", "test", None]
    assert "no_official_split" in rows["4.jpg"].flags
    assert "no label file" in rows["77.jpg"].reason
    assert rows["9.jpg"].status == "bad_row"
    assert multibully.vocabularies(tmp_path, MANIFEST)["sentiment"] == ("0", "1", "2")


def test_spreadsheet_alone(tmp_path):
    (tmp_path / "images").mkdir()
    lines = [
        "1.jpg,ek text,Bully,Negative,Anger,No,Individual,Harmful",
        "2.jpg,हिन्दी,Nonbully,positive,,No,,Harmless",
        "1.jpg,again,Bully,Negative,Anger,No,Individual,Harmful",
        ",x,Bully,Negative,Anger,No,Individual,Harmful",
        "3.jpg,short",
    ]
    (tmp_path / "MultiBully.csv").write_text(SHEET + "\n".join(lines), encoding="utf-8")
    rows = {row.key: row for row in read(tmp_path)}
    assert Counter(row.status for row in rows.values()) == {
        "ok": 2,
        "duplicate_row": 1,
        "bad_row": 2,
    }
    assert rows["2.jpg"].text == "हिन्दी"
    assert rows["2.jpg"].labels["emotion"] is None
    assert rows["2.jpg"].labels["sentiment"] == 1
    assert rows["2.jpg"].image == "images/2.jpg"
    assert multibully.vocabularies(tmp_path, MANIFEST)["bully"] == ("bully", "nonbully")


def test_spreadsheet_names_the_codes_of_the_pickles(tmp_path):
    pickles(tmp_path)
    names = {0: "Neutral", 1: "Positive", 2: "Negative"}
    lines = [f"{n}.jpg,text {n},{'Bully' if n % 2 else 'No'},{names[n % 3]},,,," for n in range(5)]
    lines += ["5.jpg,text 5,Bully,Neutral,,,,", "8.jpg,only here,Bully,Positive,,,,"]
    (tmp_path / "MultiBully.csv").write_text(SHEET + "\n".join(lines), encoding="utf-8")
    rows = {row.key: row for row in read(tmp_path)}
    vocabulary = multibully.vocabularies(tmp_path, MANIFEST)
    assert vocabulary["sentiment"] == ("neutral", "positive", "negative")
    assert vocabulary["bully"] == ("no", "bully")
    assert rows["4.jpg"].text == "text 4"
    # The pickle says 2, negative; the spreadsheet says neutral.
    assert rows["5.jpg"].labels["sentiment"] == 2
    assert "label_conflict" in rows["5.jpg"].flags
    assert rows["8.jpg"].labels["sentiment"] == 1
    assert rows["8.jpg"].status == "ok"


def test_frozen_vocabulary_refuses_others(tmp_path):
    (tmp_path / "labels.csv").write_text(SHEET + "1.jpg,t,Bully,Joy,,,,\n")
    tasks = dict(MANIFEST.tasks)
    tasks["sentiment"] = tasks["sentiment"].model_copy(update={"classes": ("sad", "glad")})
    (row,) = read(tmp_path, MANIFEST.model_copy(update={"tasks": tasks}))
    assert row.status == "bad_row"
    assert "'joy'" in row.reason.lower()
    assert "sad, glad" in row.reason


def test_hostile_and_wrong_pickles(tmp_path):
    dump(tmp_path / "a/data.pkl", {"1.jpg": Hostile()})
    with pytest.raises(DatasetError, match=r"refers to '.*eval'"):
        read(tmp_path / "a")
    dump(tmp_path / "b/data.pkl", ["1.jpg"])
    with pytest.raises(DatasetError, match="expected a dict"):
        read(tmp_path / "b")
    pickles(tmp_path / "c")
    dump(tmp_path / "c/70_10_20/val_id.pkl", ["0.jpg"])
    with pytest.raises(DatasetError, match="lists of train and val"):
        read(tmp_path / "c")


def test_missing_files(tmp_path):
    with pytest.raises(MissingFiles, match="exported as CSV"):
        read(tmp_path)
    pickles(tmp_path)
    (tmp_path / "70_10_20/val_id.pkl").unlink()
    with pytest.raises(MissingFiles, match=r"70_10_20/val_id\.pkl"):
        read(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="expected a picture name"):
        read(tmp_path / "d")
