"""MulT and MultiBench pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_files import SPLITS, mult, write, write_python2
from support.foreign_imports import assert_same, feature, imported, rows, values

from affectflow.pipeline.errors import DatasetError

ALIGNED = {"text": 9, "audio": 9, "vision": 9}
SPLIT_NAMES = {"train": "train", "valid": "val", "test": "test"}


def keys() -> list[str]:
    """Return the keys of the made-up files, in order."""
    return [
        f"{split}{index}_{index}.5_{index + 1}.0"
        for split, size in SPLITS.items()
        for index in range(size)
    ]


def test_ids_are_joined_and_texts_come_back(tmp_path: Path) -> None:
    data, texts = mult()
    done = imported(write(tmp_path / "mosi_data_noalign.pkl", data), "mult", tmp_path / "s")
    assert_same(values(tmp_path / "s", "text"), dict(zip(keys(), texts, strict=True)))
    assert done.facts["splits"] == {"train": 5, "val": 3, "test": 2}
    found = rows(tmp_path / "s")
    assert found[keys()[-1]]["label.sentiment"] == 3.0


def test_a_pickle_of_python_2_is_the_same(tmp_path: Path) -> None:
    data, texts = mult()
    imported(write_python2(tmp_path / "x.pkl", data), "mult", tmp_path / "s")
    assert_same(values(tmp_path / "s", "text"), dict(zip(keys(), texts, strict=True)))
    assert list(rows(tmp_path / "s")) == keys()


def test_without_ids_keys_are_split_and_number(tmp_path: Path) -> None:
    data, _ = mult(ids="none")
    done = imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")
    assert list(rows(tmp_path / "s"))[:2] == ["train/00000", "train/00001"]
    assert any("no ids" in note for note in done.facts["notes"])


def test_iemocap_gives_four_tasks(tmp_path: Path) -> None:
    data, _ = mult(emotions=True)
    data["train"]["labels"][0, 1] = (0.0, 0.0)
    done = imported(write(tmp_path / "iemocap_data.pkl", data), "mult", tmp_path / "s")
    found = list(rows(tmp_path / "s").values())
    wanted = np.concatenate([part["labels"] for part in data.values()]).argmax(axis=2)
    for column, task in enumerate(("neutral", "happy", "sad", "angry")):
        got = [row[f"label.{task}"] for row in found]
        expected = wanted[:, column].tolist()
        if task == "happy":
            # Neither yes nor no: there is no label.
            expected[0] = None
        assert got == expected
    assert done.facts["labels"]["train"]["happy"]["None"] == 1
    assert found[0]["flags"] == ["label_out_of_range"]


def test_minus_infinity_in_audio_becomes_zero(tmp_path: Path) -> None:
    data, _ = mult()
    data["train"]["audio"][0, :2, 0] = -np.inf
    done = imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")
    assert feature(done, "audio")["treated"]["minus_inf"] == 2
    assert values(tmp_path / "s", "audio")[keys()[0]][:2, 0].tolist() == [0, 0]


def test_aligned_streams_keep_silent_frames_beside_words(tmp_path: Path) -> None:
    data, texts = mult(lengths=ALIGNED)
    stop = len(texts[0])
    data["train"]["audio"][0, stop - 1] = 0
    imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")
    audio = values(tmp_path / "s", "audio")[keys()[0]]
    assert len(audio) == stop
    assert not audio[-1].any()


def test_mmsa_files_and_strange_labels_are_told_apart(tmp_path: Path) -> None:
    data, _ = mult(labels=lambda generator, size: np.zeros((size, 3)).ravel()[:size])
    data["train"]["labels"] = np.zeros((5, 3))
    with pytest.raises(DatasetError, match=r"shapes \(5, 3\)"):
        imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")


def test_a_rounding_error_beyond_the_end_is_the_end(tmp_path: Path) -> None:
    data, _ = mult()
    data["train"]["labels"][:2, 0, 0] = (3.0000002, -3.0000002)
    done = imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")
    found = [row["label.sentiment"] for row in rows(tmp_path / "s").values()]
    assert found[:2] == [3.0, -3.0]
    assert done.facts["flags"] == {}


# --- MultiBench


def test_front_padding_is_removed_from_the_first_word(tmp_path: Path) -> None:
    data, texts = mult(side="front", lengths=ALIGNED)
    done = imported(write(tmp_path / "mosi_raw.pkl", data), "multibench", tmp_path / "s")
    wanted = dict(zip(keys(), texts, strict=True))
    assert_same(values(tmp_path / "s", "text"), wanted)
    audio = values(tmp_path / "s", "audio")
    assert {key: len(row) for key, row in audio.items()} == {k: len(v) for k, v in wanted.items()}
    assert feature(done, "text")["padding"] == "front"


def test_frames_before_the_first_word_are_left_out_and_counted(tmp_path: Path) -> None:
    data, texts = mult(side="front", lengths=ALIGNED)
    start = 9 - len(texts[1])
    data["train"]["audio"][1, start - 1] = 1.0
    done = imported(write(tmp_path / "mosi_raw.pkl", data), "multibench", tmp_path / "s")
    assert feature(done, "audio")["rows_cut_to_text"] == 1
    assert len(values(tmp_path / "s", "audio")[keys()[1]]) == len(texts[1])


def test_a_text_of_zeros_is_dropped_with_its_row_kept(tmp_path: Path) -> None:
    data, _ = mult(side="front", lengths=ALIGNED)
    data["valid"]["text"][0] = 0
    done = imported(write(tmp_path / "mosi_raw.pkl", data), "multibench", tmp_path / "s")
    row = rows(tmp_path / "s")[keys()[5]]
    assert (row["status"], row["reason"]) == ("dropped", "its text is all zeros")
    assert row["flags"] == ["no_text"]
    assert done.facts["statuses"] == {"dropped": 1, "ok": 9}
    for name in ("text", "audio", "vision"):
        assert keys()[5] not in values(tmp_path / "s", name)


@pytest.mark.parametrize(
    ("name", "codes", "task", "classes"),
    [
        ("humor.pkl", (0, 1), "humor", ["not_humorous", "humorous"]),
        ("sarcasm.pkl", (-1, 1), "sarcasm", ["literal", "sarcastic"]),
        ("unnamed.pkl", (-1, 1), "sarcasm", ["literal", "sarcastic"]),
    ],
)
def test_humour_and_sarcasm(
    tmp_path: Path, name: str, codes: tuple[int, int], task: str, classes: list[str]
) -> None:
    data, _ = mult(
        side="front",
        lengths=ALIGNED,
        labels=lambda generator, size: np.array([codes[i % 2] for i in range(size)], float),
    )
    done = imported(write(tmp_path / name, data), "multibench", tmp_path / "s")
    assert [row[f"label.{task}"] for row in rows(tmp_path / "s").values()][:4] == [0, 1, 0, 1]
    assert set(done.facts["labels"]["train"][task]) == set(classes)


def test_sentiment_stays_a_number(tmp_path: Path) -> None:
    data, _ = mult(side="front", lengths=ALIGNED)
    done = imported(write(tmp_path / "mosi_raw.pkl", data), "multibench", tmp_path / "s")
    assert set(done.facts["labels"]["train"]) == {"sentiment"}


def test_multibench_faces_are_no_mult_file(tmp_path: Path) -> None:
    widths = {"text": 4, "audio": 3, "vision": 371}
    data, _ = mult(side="front", lengths=ALIGNED, widths=widths)
    with pytest.raises(DatasetError, match="looks like --as multibench"):
        imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "s")


def test_iemocap_is_no_multibench_file(tmp_path: Path) -> None:
    data, _ = mult(emotions=True)
    with pytest.raises(DatasetError, match="looks like --as mult"):
        imported(write(tmp_path / "x.pkl", data), "multibench", tmp_path / "s")
