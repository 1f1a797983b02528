"""EMO-DB, FSDD, MELD and MUStARD on small copies, and on the real files where they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.extractor_rows import write_sound
from support.shared import SHARED, needs_shared

from affectflow.pipeline.datasets import emodb, fsdd, meld, mustard
from affectflow.pipeline.errors import DatasetError
from affectflow.pipeline.manifest import load_manifest
from affectflow.pipeline.records import SourceRow

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"


def by_key(rows: list[SourceRow]) -> dict[str, SourceRow]:
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row for row in rows}


def test_emodb_reads_names(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    for name in ("03a01Fa", "16b10Wb", "03a01X"):
        write_sound(tmp_path / "wav" / f"{name}.wav", 1, 0.05)
    manifest = load_manifest("emodb")
    rows = by_key(list(emodb.read(tmp_path, manifest)))
    classes = manifest.tasks["emotion"].classes
    happy = rows["03a01Fa.wav"]
    assert happy.audio == "wav/03a01Fa.wav"
    assert happy.labels == {"emotion": classes.index("happiness")}
    assert happy.extra == {"speaker": "03", "sentence": "a01", "take": "a"}
    assert rows["16b10Wb.wav"].labels == {"emotion": classes.index("anger")}
    assert rows["03a01X.wav"].status == "bad_row"


def test_fsdd_reads_names_and_the_owners_split(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    for name in ("7_jackson_4", "7_jackson_5", "seven_jackson_5"):
        write_sound(tmp_path / "recordings" / f"{name}.wav", 1, 0.05)
    rows = by_key(list(fsdd.read(tmp_path, load_manifest("fsdd"))))
    assert rows["7_jackson_4.wav"].split == "test"
    assert rows["7_jackson_5.wav"].split is None
    assert rows["7_jackson_5.wav"].labels == {"digit": 7}
    assert rows["seven_jackson_5.wav"].status == "bad_row"


def test_meld_reads_text_and_audio_where_there_is_some(tmp_path: Path) -> None:
    line = '1,"well, hello",Ross,joy,positive,3,0\n'
    (tmp_path / "train_sent_emo.csv").write_text(HEADER + line)
    broken = "2,bye,Ross,bliss,positive,4,1\n"
    (tmp_path / "dev_sent_emo.csv").write_text(HEADER + line + broken + line)
    (tmp_path / "audio" / "train").mkdir(parents=True)
    write_sound(tmp_path / "audio" / "train" / "dia3_utt0.wav", 1, 0.05)
    manifest = load_manifest("meld")
    rows = by_key(list(meld.read(tmp_path, manifest)))
    first = rows["train/dia3_utt0"]
    assert (first.text, first.split) == ("well, hello", "train")
    assert first.audio == "audio/train/dia3_utt0.wav"
    assert first.labels["emotion"] == manifest.tasks["emotion"].classes.index("joy")
    assert rows["val/dia3_utt0"].audio is None
    assert Counter(row.status for row in rows.values()) == {
        "ok": 2,
        "bad_row": 1,
        "duplicate_row": 1,
    }


def test_mustard_reads_labels_context_and_twins(tmp_path: Path) -> None:
    entry = {"utterance": "sure", "speaker": "A", "context": ["b"], "sarcasm": True}
    text = json.dumps({"1_60": entry, "1_61": {**entry, "sarcasm": "yes"}})
    twice = text[:-1] + ', "1_60": ' + json.dumps(entry) + "}"
    (tmp_path / "sarcasm_data.json").write_text(twice)
    rows = list(mustard.read(tmp_path, load_manifest("mustard")))
    assert [row.status for row in rows] == ["ok", "bad_row", "duplicate_row"]
    assert rows[0].labels == {"sarcasm": 1}
    assert rows[0].extra["context"] == ["b"]
    assert rows[0].audio is None
    (tmp_path / "audio").mkdir()
    write_sound(tmp_path / "audio" / "1_60.wav", 1, 0.05)
    assert next(iter(mustard.read(tmp_path, load_manifest("mustard")))).audio == "audio/1_60.wav"
    (tmp_path / "sarcasm_data.json").write_text("[1, 2]")
    with pytest.raises(DatasetError, match="expected a JSON object"):
        list(mustard.read(tmp_path, load_manifest("mustard")))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "count"),
    [
        pytest.param("emodb", "emodb_2s", 243, marks=needs_shared("data/emodb_2s")),
        pytest.param("fsdd", "fsdd", 300, marks=needs_shared("data/fsdd")),
        pytest.param("mustard", "mustard_text", 334, marks=needs_shared("data/mustard_text")),
    ],
)
def test_real_files(name: str, folder: str, count: int) -> None:
    reader = {"emodb": emodb, "fsdd": fsdd, "mustard": mustard}[name]
    rows = list(reader.read(SHARED / "data" / folder, load_manifest(name)))
    assert len(rows) == count
    assert {row.status for row in rows} == {"ok"}


@pytest.mark.real_data
@needs_shared("data/meld_text")
def test_real_meld() -> None:
    rows = list(meld.read(SHARED / "data" / "meld_text", load_manifest("meld")))
    assert Counter(row.split for row in rows if row.status == "ok").keys() == {"train", "val"}
    assert sum(row.status != "ok" for row in rows) <= 0.01 * len(rows)
    assert len(rows) > 10_000
