from collections import Counter

import pytest

from affectflow.pipeline.datasets import met_meme
from affectflow.pipeline.errors import ConfigError, DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("met_meme")
LABELS = (
    "sentiment category,sentiment degree,intention detection,offensiveness detection,"
    "metaphor occurrence,metaphor category,target domain,source domain,target modality,"
    "source modality"
)
GOOD = "1(happiness),1(slightly),2(expressive),0(non-offensive),0,,,,,"


def write(root, letter, labels, captions, column="file_name", encoding="gb18030"):
    root.mkdir(parents=True, exist_ok=True)
    for name, header, lines in (
        (f"label_{letter}.csv", f"{column},{LABELS}", labels),
        (f"{letter}_text.csv", f"{column},text", captions),
    ):
        text = "\r\n".join([f"{header},,", *(f"{line},," for line in lines), ""])
        (root / name).write_bytes(text.encode(encoding))


def read(root):
    return list(met_meme.read(root, MANIFEST))


def test_english_half_with_every_defect(tmp_path):
    write(
        tmp_path,
        "E",
        [
            f"image_ (0).jpg,{GOOD}",
            "image_ (1).jpg,7(surprise),2(slightly),5(other),3(very),1,text dominant,me;you,cat"
            ",text,image",
            "image_ (2).jpg,8(joy),1(slightly),2(expressive),0(non-offensive),0,,,,,",
            "image_ (3).jpg,1(happiness),1(slightly),表达情感,0(non-offensive),1,complementary,,,,",
            f"image_ (0).jpg,{GOOD}",
            "image_ (4).jpg,too,few",
            f",{GOOD}",
            f"image_ (5).jpg,{GOOD}",
        ],
        [
            'image_ (0).jpg,   "quoted, with a comma"',
            "image_ (1).jpg,  plain",
            "image_ (2).jpg,x",
            "image_ (3).jpg,NA",
            "image_ (4).jpg,x",
            "image_ (3).jpg,second",
            "image_ (9).jpg,alone",
        ],
    )
    rows = read(tmp_path)
    assert Counter(row.status for row in rows) == {"ok": 5, "bad_row": 4, "duplicate_row": 1}
    by_key = {row.key: row for row in rows}
    first = by_key["Eimages/image_ (0).jpg"]
    assert first.text == "quoted, with a comma"
    assert first.image == "Eimages/image_ (0).jpg"
    assert first.labels["metaphor_category"] is None
    second = by_key["Eimages/image_ (1).jpg"]
    # The number decides, whatever stands in the brackets.
    assert second.labels == {
        "sentiment": 6,
        "sentiment_degree": 1,
        "intention": 4,
        "offensiveness": 3,
        "metaphor": 1,
        "metaphor_category": 1,
    }
    assert second.extra["target_domain"] == "me;you"
    assert "1 happiness" in by_key["Eimages/image_ (2).jpg"].reason
    third = by_key["Eimages/image_ (3).jpg"]
    assert third.text == "NA"
    assert third.labels["intention"] == 1
    assert third.labels_raw["intention detection"] == "表达情感"
    assert third.flags == ("alias_label",)
    assert by_key["Eimages/image_ (5).jpg"].flags == ("no_text",)
    alone = by_key["Eimages/image_ (9).jpg"]
    assert (alone.text, alone.flags, dict(alone.labels)) == ("alone", ("no_labels",), {})


def test_chinese_half_names_and_nested_pictures(tmp_path):
    root = tmp_path / "MET-Meme"
    write(root, "C", [f"Image_(1).jpg,{GOOD}"], ["Image_(1).jpg,你好"], column="images_name")
    (root / "Cimages/Cimages/Cimages").mkdir(parents=True)
    (row,) = read(tmp_path)
    assert row.key == "Cimages/Image- (1).jpg"
    assert row.image == "MET-Meme/Cimages/Cimages/Cimages/Image- (1).jpg"
    assert row.text == "你好"
    assert row.extra["language"] == "zh"


def test_mixed_encodings_line_by_line(tmp_path):
    write(tmp_path, "E", [f"{name}.jpg,{GOOD}" for name in "abc"], [])
    lines = [
        b"file_name,text",
        "a.jpg,caf\u00e9 \u4f60".encode(),
        "b.jpg,\u4f60\u597d".encode("gb18030"),
        b"c.jpg,bad \xff\x81",
    ]
    (tmp_path / "E_text.csv").write_bytes(b"\n".join(lines))
    rows = read(tmp_path)
    assert [row.text for row in rows[:2]] == ["café 你", "你好"]
    assert [row.flags for row in rows] == [(), (), ("replaced_characters",)]
    assert rows[2].text == "bad ÿ\ufffd"


def test_utf8_with_byte_order_mark(tmp_path):
    write(tmp_path, "E", [f"a.jpg,{GOOD}"], ["a.jpg,naïve"], encoding="utf-8-sig")
    assert read(tmp_path)[0].text == "naïve"


def test_missing_wrong_and_misconfigured(tmp_path):
    with pytest.raises(MissingFiles, match=r"label_C\.csv"):
        read(tmp_path)
    write(tmp_path, "E", [], [])
    odd = MANIFEST.model_copy(update={"options": {"alias": {}}})
    with pytest.raises(ConfigError, match="unknown key 'alias'"):
        list(met_meme.read(tmp_path, odd))
    (tmp_path / "E_text.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="got the columns a, b"):
        read(tmp_path)
    (tmp_path / "E_text.csv").unlink()
    with pytest.raises(MissingFiles, match=r"E_text\.csv"):
        read(tmp_path)
