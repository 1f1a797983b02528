import json
from collections import Counter

import pytest

from affectflow.pipeline.datasets import hateful_memes
from affectflow.pipeline.errors import DatasetError, MissingFiles
from affectflow.pipeline.manifest import load_manifest

MANIFEST = load_manifest("hateful_memes")


def entry(number, label=0, **more):
    # Ids lose their leading zeros, names do not.
    found = {"id": number, "img": f"img/{number:05d}.png", "text": "a text"} | more
    return found if label is None else found | {"label": label}


def write(root, name, entries):
    root.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in entries]
    (root / f"{name}.jsonl").write_text("\ufeff" + "\r\n".join(lines) + "\n", encoding="utf-8")


def read(root):
    return list(hateful_memes.read(root, MANIFEST))


def test_first_release_with_every_defect(tmp_path):
    write(
        tmp_path,
        "train",
        [
            entry(1, 1),
            entry(2, "0"),
            entry(3, 2),
            entry(4, True),
            {"id": 5, "text": "no picture", "label": 0},
            "{",
            entry(6, 1, text=float("nan")),
            entry(7, 1, text="half \ud83d"),
        ],
    )
    write(tmp_path, "dev", [entry(8)])
    write(tmp_path, "test", [entry(9, None)])
    rows = read(tmp_path)
    assert Counter(row.status for row in rows) == {"ok": 6, "bad_row": 4}
    by_key = {row.key: row for row in rows}
    assert by_key["00001.png"].image == "img/00001.png"
    assert by_key["00001.png"].labels == {"hateful": 1}
    assert by_key["00002.png"].labels == {"hateful": 0}
    assert "not hateful" in by_key["00003.png"].reason
    assert "train.jsonl:5" in by_key
    assert "train.jsonl:6" in by_key
    assert by_key["00006.png"].flags == ("no_text",)
    assert by_key["00007.png"].flags == ("bad_unicode",)
    assert by_key["00008.png"].split == "val"
    assert by_key["00009.png"].labels == {"hateful": None}
    by_key["00007.png"].text.encode("utf-8")


def test_second_release_is_merged_by_picture(tmp_path):
    write(tmp_path / "data", "train", [entry(1)])
    write(tmp_path / "data", "dev_seen", [entry(2, 1), entry(3, None), entry(4, 0)])
    write(tmp_path / "data", "dev_unseen", [entry(2, 1), entry(3, 1), entry(4, 1)])
    write(tmp_path / "data", "test_seen", [entry(5, None)])
    write(tmp_path / "data", "test_unseen", [entry(1, 0)])
    rows = read(tmp_path)
    assert Counter(row.status for row in rows) == {"ok": 5, "duplicate_row": 4}
    by_key = {row.key: row for row in rows}
    assert by_key["00002.png"].extra["sets"] == ["dev_seen", "dev_unseen"]
    assert by_key["00003.png"].labels == {"hateful": 1}
    assert by_key["00004.png"].flags == ("label_conflict",)
    assert by_key["00001.png"].flags == ("split_conflict",)
    assert by_key["00002.png#2"].status == "duplicate_row"
    assert "dev_seen.jsonl:1" in by_key["00002.png#2"].reason
    assert by_key["00005.png"].image == "data/img/00005.png"


def test_missing_and_wrong_files(tmp_path):
    with pytest.raises(MissingFiles) as caught:
        read(tmp_path)
    assert len(caught.value.missing) == 2
    write(tmp_path, "train", [entry(1)])
    with pytest.raises(MissingFiles, match="dev_seen"):
        read(tmp_path)
    (tmp_path / "dev.jsonl").write_text("")
    with pytest.raises(DatasetError, match="empty"):
        read(tmp_path)
