"""The tables of declare-lab: one vector per utterance, joined by position."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.foreign_imports import feature, imported, rows, values
from support.shared import SHARED, needs_shared

from affectflow.pipeline.errors import DatasetError

WIDTHS = {"text": 3, "audio": 2, "video": 4}


def write_tables(folder: Path, split: str, labels: Sequence[int], seed: int = 0) -> np.ndarray:
    """Write one split of the layout; return the audio."""
    generator = np.random.default_rng(seed)
    (folder / split).mkdir(parents=True, exist_ok=True)
    audio = np.zeros(0)
    for name, width in WIDTHS.items():
        table = generator.integers(-99, 99, (len(labels), width)) / 8
        audio = table if name == "audio" else audio
        with open(folder / split / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            lines = [[*row, label] for row, label in zip(table.tolist(), labels, strict=True)]
            csv.writer(file).writerows(lines)
    with open(folder / split / "utterances.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "video_id", "utterance", "video_index", "text", "label"])
        for index, label in enumerate(labels):
            video = f"{split}{index // 2}"
            writer.writerow([f"{video}_{index}", video, index, 0, f"line {index}", label])
    return audio


def test_vectors_keys_and_labels(tmp_path: Path) -> None:
    audio = write_tables(tmp_path / "f", "train", [0, 1] * 10)
    done = imported(tmp_path / "f", "declare_lab", tmp_path / "s")
    found = values(tmp_path / "s", "audio")
    np.testing.assert_array_equal(found["train0_0"], audio[0].astype(np.float32))
    assert feature(done, "vision")["shape"] == [4]
    table = rows(tmp_path / "s")
    assert table["train1_3"]["label.polarity"] == 1
    assert table["train1_3"]["text"] == "line 3"
    splits = {row["group"]: set() for row in table.values()}
    for row in table.values():
        splits[row["group"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set(done.facts["splits"]) == {"train", "val", "test"}


def test_splits_that_are_there_are_kept(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_tables(tmp_path / "f", split, [0, 1, 1])
    done = imported(tmp_path / "f", "declare_lab", tmp_path / "s")
    assert done.facts["splits"] == {"test": 3, "train": 3, "val": 3}


def test_tables_of_another_order_are_refused(tmp_path: Path) -> None:
    write_tables(tmp_path / "f", "train", [0, 1, 1, 1])
    path = tmp_path / "f" / "train" / "audio.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[::-1]) + "\n")
    with pytest.raises(DatasetError, match="label of row 1 is not that of utterances"):
        imported(tmp_path / "f", "declare_lab", tmp_path / "s")
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DatasetError, match=r"has 3 rows, utterances\.csv has 4"):
        imported(tmp_path / "f", "declare_lab", tmp_path / "s")
    path.write_text("a,b,1\n" * 4)
    with pytest.raises(DatasetError, match="expected a table of numbers"):
        imported(tmp_path / "f", "declare_lab", tmp_path / "s")
    path.unlink()
    with pytest.raises(DatasetError, match=r"'train/audio.csv' is not there"):
        imported(tmp_path / "f", "declare_lab", tmp_path / "s")


@needs_shared("data/mosi_utterance")
@pytest.mark.real_data
def test_the_real_utterances(tmp_path: Path) -> None:
    done = imported(SHARED / "data" / "mosi_utterance", "declare_lab", tmp_path / "s")
    assert done.facts["rows"] == 1447
    assert feature(done, "vision")["constant_columns"] == 32
    assert feature(done, "text")["absent"] == 0
