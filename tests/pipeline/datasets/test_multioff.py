from collections import Counter

import pytest

from affectflow.pipeline.datasets import multioff
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("multioff")
HEADER = "image_name,sentence,label\n"


def write(root, training, header=HEADER, encoding="utf-8"):
    folder = root / "Split Dataset"
    folder.mkdir(parents=True)
    (folder / "Training_meme_dataset.csv").write_bytes((header + training).encode(encoding))
    (folder / "Validation_meme_dataset.csv").write_text(HEADER + "v.png,text,offensive\n")
    (folder / "Testing_meme_dataset.csv").write_text(HEADER + "a.png,again,Non-offensiv\n")


def read(root):
    return list(multioff.read(root, MANIFEST))


def test_splits_labels_and_every_defect(tmp_path):
    write(
        tmp_path,
        'a.png,"one, two\nthree",offensive\n'
        "b.png,text,Non-offensiv\n"
        "c.png,text, NON-Offensive \n"
        "d.png,NA,maybe\n"
        "e.png,,offensive\n"
        ",text,offensive\n"
        "f.png,too,many,offensive\n",
    )
    rows = read(tmp_path)
    assert Counter(row.status for row in rows) == {"ok": 5, "bad_row": 3, "duplicate_row": 1}
    by_key = {row.key: row for row in rows}
    assert by_key["a.png"].text == "one, two\nthree"
    assert by_key["a.png"].image == "Labelled Images/a.png"
    codes = [by_key[key].labels["offensive"] for key in ("a.png", "b.png", "c.png")]
    assert codes == [1, 0, 0]
    assert "'maybe'" in by_key["d.png"].reason
    assert by_key["e.png"].flags == ("no_text",)
    assert by_key["v.png"].split == "val"
    assert by_key["a.png#2"].split == "test"


def test_other_encoding_and_parent_folder(tmp_path):
    write(tmp_path / "MultiOFF_Dataset", "a.png,it’s,offensive\n", encoding="cp1252")
    row = read(tmp_path)[0]
    assert row.text == "it’s"
    assert row.image == "MultiOFF_Dataset/Labelled Images/a.png"


def test_extension_in_another_case_is_found(tmp_path):
    write(tmp_path, "a.png,text,offensive\n")
    (tmp_path / "Labelled Images").mkdir()
    (tmp_path / "Labelled Images/a.PNG").write_bytes(b"x")
    assert read(tmp_path)[0].image == "Labelled Images/a.PNG"


def test_missing_and_wrong_files(tmp_path):
    with pytest.raises(MissingFiles) as caught:
        read(tmp_path)
    assert len(caught.value.missing) == 3
    write(tmp_path, "1,2\n", header="x,y\n")
    with pytest.raises(DatasetError, match="no column image_name"):
        read(tmp_path)
