"""Label strings of Memotion."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.metric_records import HAS_RECORDS, record

from affectflow.pipeline.datasets._memotion_labels import derive, vocabularies
from affectflow.pipeline.errors import ConfigError, DatasetError, InvalidInput
from affectflow.pipeline.evaluation.memotion_submission import (
    decode,
    encode,
    from_integers,
    read_submission,
    reconciled,
    rows_of,
    write_submission,
)
from affectflow.pipeline.manifest import load_manifest
from affectflow.pipeline.training.metrics.memotion import EMOTIONS

MANIFESTS = {1: "memotion", 2: "memotion2", 3: "memotion3"}
SCALES = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1))
needs_records = pytest.mark.skipif(
    not HAS_RECORDS, reason="needs shared/golden/fusion beside the checkout"
)


def labels_of(sentiment: int, scales: tuple[int, ...]) -> dict[str, int]:
    labels = {"sentiment": sentiment}
    for name, scale in zip(EMOTIONS, scales, strict=True):
        labels |= {name: int(scale > 0), f"{name}_scale": scale}
    return labels


def test_by_hand() -> None:
    labels = labels_of(2, (2, 1, 2, 0))
    assert encode(labels, 1) == "1_1110_2120"
    assert encode(labels, 2) == encode(labels, 3) == "2_1110_2120"
    assert encode(labels_of(0, (0, 0, 2, 1)), 1) == "-1_0011_0021"
    assert decode("-1_0011_0021", 1) == labels_of(0, (0, 0, 2, 1))


@given(st.integers(0, 2), SCALES, st.integers(1, 3))
def test_decoding_undoes_encoding(sentiment: int, scales: tuple, version: int) -> None:
    labels = labels_of(sentiment, scales)
    assert decode(encode(labels, version), version) == labels


@needs_records
@pytest.mark.parametrize("version", [1, 2, 3])
def test_recorded_vocabularies(version: int) -> None:
    vocabulary = vocabularies(load_manifest(MANIFESTS[version]))
    rows = record("memotion_scoring")["encode"][str(version)]
    assert rows
    for row in rows:
        codes = derive({name: word for name, word in row.items() if name != "label"}, vocabulary)
        assert (
            encode({name: c for name, c in codes.items() if c is not None}, version)
            == (row["label"])
        )
        assert decode(row["label"], version).items() <= codes.items()


@needs_records
def test_recorded_integers_and_training_codes() -> None:
    for row in record("memotion_scoring")["decode_integers"]:
        assert from_integers(row["T1"], row["T2"], row["T3"]) == row["label"]
        labels = decode(row["label"], 1)
        assert [labels[name] for name in EMOTIONS] == row["task_b"]
        assert [labels[f"{name}_scale"] for name in EMOTIONS] == row["task_c"]
    found = record("memotion_scoring")["training_label_indices"]
    vocabulary = vocabularies(load_manifest("memotion"))
    codes = [derive(row, vocabulary) for row in found["rows"]]
    assert [row["sentiment"] for row in codes] == found["indices"]["task_a"]
    for name in EMOTIONS:
        assert [row[name] for row in codes] == found["indices"][f"task_b_{name}"]
        assert [row[f"{name}_scale"] for row in codes] == found["indices"][f"task_c_{name}"]


@needs_records
def test_recorded_invalid_strings_are_refused() -> None:
    for row in record("memotion_scoring")["invalid_labels_version_1"]:
        with pytest.raises(DatasetError):
            decode(row["label"], 1)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "1_1110",
        "2_1110_2120",
        "1_1110_2124",
        "1_1112_2120",
        " 1_1110_2120",
        "+1_1110_2120",
    ],
)
def test_invalid_strings_are_refused(line: str) -> None:
    with pytest.raises(DatasetError, match="expected S_BBBB_CCCC with S in -1, 0, 1"):
        decode(line, 1)


def test_groups_must_agree() -> None:
    with pytest.raises(DatasetError, match="humour is 0 but its scale is 2"):
        decode("1_0110_2120", 1)
    apart = {**labels_of(1, (2, 1, 0, 0)), "humour": 0}
    with pytest.raises(InvalidInput, match="humour is 0"):
        encode(apart, 1)
    assert encode(reconciled(apart), 1) == "0_1100_2100"


def test_binary_codes_follow_from_scales() -> None:
    five = {
        "sentiment": 1,
        "humour_scale": 3,
        "sarcasm_scale": 0,
        "offensive_scale": 1,
        "motivational": 1,
    }
    assert encode(five, 2) == "1_1011_3011"
    with pytest.raises(InvalidInput, match="no label for 'humour'"):
        encode({"sentiment": 1, "motivational": 0}, 1)
    with pytest.raises(InvalidInput, match="'sentiment' is 3"):
        encode({**five, "sentiment": 3}, 1)
    with pytest.raises(ConfigError, match="version 4"):
        encode(five, 4)


def test_files(tmp_path: Path) -> None:
    rows = [labels_of(0, (0, 0, 0, 0)), labels_of(2, (3, 3, 3, 1))]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    path = tmp_path / "answer.txt"
    assert write_submission(path, rows_of(columns), 1) == 2
    assert path.read_text() == "-1_0000_0000\n1_1111_3331\n"
    assert read_submission(path, 1) == rows
    path.write_text("-1_0000_0000\n1_1111_333\n")
    with pytest.raises(DatasetError, match=r"answer\.txt, line 2"):
        read_submission(path, 1)
    with pytest.raises(DatasetError, match="submission"):
        read_submission(tmp_path / "absent", 1)
    with pytest.raises(InvalidInput, match="row 1"):
        write_submission(path, [rows[0], {"sentiment": 1}], 1)
    assert path.read_text() == "-1_0000_0000\n1_1111_333\n"
