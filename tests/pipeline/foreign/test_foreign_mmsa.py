"""MMSA pickles: aligned and unaligned, SIMS, and what is wrong in some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_files import mmsa, numbers, write
from support.foreign_imports import assert_same, feature, imported, rows, values

from affectflow.pipeline.errors import DatasetError


@pytest.mark.parametrize("side", ["end", "front"])
@pytest.mark.parametrize("aligned", [False, True])
def test_features_come_back_without_padding(tmp_path: Path, side: str, aligned: bool) -> None:
    data, truth = mmsa(aligned=aligned, side=side)
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    for name, wanted in truth.items():
        assert_same(values(tmp_path / "store", name), wanted)
    assert feature(done, "audio")["padding"] == side
    lengths = [len(row) for row in truth["audio"].values()]
    assert feature(done, "audio")["length_max"] == max(lengths)
    assert feature(done, "audio")["length_mean"] == pytest.approx(np.mean(lengths), abs=0.01)


def test_samples_have_keys_splits_texts_and_labels(tmp_path: Path) -> None:
    data, _ = mmsa()
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    found = rows(tmp_path / "store")
    for name, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        part = data[name]
        for key, label, text in zip(
            part["id"], part["regression_labels"], part["raw_text"], strict=True
        ):
            row = found[key]
            assert (row["split"], row["split_origin"]) == (split, "official")
            assert row["label.sentiment"] == float(label)
            assert row["text"] == text


def test_sims_has_a_label_per_modality(tmp_path: Path) -> None:
    data, _ = mmsa(sims=True)
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store", dataset="sims")
    found = rows(tmp_path / "store", "sims")
    for letter, task in (("T", "text"), ("A", "audio"), ("V", "vision")):
        wanted = data["test"][f"regression_labels_{letter}"]
        got = [found[key][f"label.sentiment_{task}"] for key in data["test"]["id"]]
        assert got == [float(value) for value in wanted]
    from affectflow.pipeline.store.api import open_store

    info = open_store(tmp_path / "store").samples("sims").info
    assert info["manifest"]["tasks"]["sentiment"]["range"] == [-1.0, 1.0]


def test_text_ends_where_its_mask_ends(tmp_path: Path) -> None:
    data, truth = mmsa()
    # BERT gives padding tokens states too: zeros do not tell where the text ends.
    noise = np.random.default_rng(3)
    for part in data.values():
        part["text"] = np.where(part["text"] == 0, numbers(noise, 1, 1, 1), part["text"])
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    assert_same(values(tmp_path / "store", "text"), truth["text"])
    assert feature(done, "text")["lengths"] == "mask of text_bert"


def test_values_that_are_not_finite_become_zero_and_are_counted(tmp_path: Path) -> None:
    data, truth = mmsa()
    audio = data["train"]["audio"]
    audio[0, 0, 0], audio[0, 0, 1], audio[1, 1, 2] = -np.inf, np.nan, np.inf
    data["test"]["vision"] = data["test"]["vision"].astype(np.float64)
    data["test"]["vision"][0, 0, 0] = 1e300
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    counts = {"nan": 1, "plus_inf": 1, "minus_inf": 1, "rows": 2}
    assert feature(done, "audio")["treated"] == counts
    # A double beyond the range of float32 counts as infinite.
    assert feature(done, "vision")["treated"]["plus_inf"] == 1
    first = data["train"]["id"][0]
    wanted = truth["audio"][first].copy()
    wanted[0, :2] = 0
    np.testing.assert_array_equal(values(tmp_path / "store", "audio")[first], wanted)


def test_a_sequence_of_zeros_is_absent(tmp_path: Path) -> None:
    data, truth = mmsa()
    data["train"]["vision"][2] = 0
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    key = data["train"]["id"][2]
    assert key not in values(tmp_path / "store", "vision")
    assert feature(done, "vision")["absent"] == 1
    assert len(values(tmp_path / "store", "text")) == len(truth["text"])


def test_given_lengths_that_cannot_be_are_reported(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["train"]["audio_lengths"][0] = 99
    data["train"]["audio_lengths"][1] = 1
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    notes = " ".join(done.facts["notes"])
    assert "1 given lengths lie outside 0 to 14" in notes
    assert "1 rows hold values beyond their given length" in notes
    found = values(tmp_path / "store", "audio")
    assert len(found[data["train"]["id"][0]]) == 14
    assert len(found[data["train"]["id"][1]]) == 1


def test_repeated_ids_get_a_number_and_a_flag(tmp_path: Path) -> None:
    data, truth = mmsa()
    data["train"]["id"][1] = data["train"]["id"][0]
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    found = rows(tmp_path / "store")
    second = f"{data['train']['id'][0]}#2"
    assert found[second]["flags"] == ["duplicate_id"]
    np.testing.assert_array_equal(
        values(tmp_path / "store", "audio")[second], truth["audio"]["videotrain$_$1"]
    )


def test_labels_may_be_missing_and_a_slip_is_counted(tmp_path: Path) -> None:
    data, _ = mmsa()
    size = 40
    train = data["train"]
    for name, value in train.items():
        train[name] = [value[i % 5] for i in range(size)]
    train["id"] = [f"k{i}" for i in range(size)]
    train["regression_labels"] = [np.nan, 7.0] + [1.0] * (size - 2)
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    found = rows(tmp_path / "store")
    assert found["k0"]["label.sentiment"] is None
    assert found["k1"]["label.sentiment"] is None
    assert found["k1"]["flags"] == ["label_out_of_range"]
    assert done.facts["flags"] == {"label_out_of_range": 1}
    assert done.facts["labels"]["train"]["sentiment"]["None"] == 2


def test_labels_of_another_meaning_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["train"]["regression_labels"] = np.full(5, 40.0)
    with pytest.raises(DatasetError, match=r"5 of 10 labels lie outside \[-3, 3\], first 40"):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")


def test_fields_of_unequal_lengths_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["valid"]["audio"] = data["valid"]["audio"][:2]
    with pytest.raises(DatasetError, match=r"unequal lengths.*audio 2"):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")


def test_widths_that_differ_between_splits_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["valid"]["audio"] = data["valid"]["audio"][:, :, :3]
    with pytest.raises(DatasetError, match=r"'audio' has widths \[3, 5\]"):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")


def test_missing_fields_are_named(tmp_path: Path) -> None:
    data, _ = mmsa()
    for part in data.values():
        del part["regression_labels"]
    with pytest.raises(DatasetError, match="'train' lacks regression_labels; it has annotations"):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")


def test_what_was_asked_for_is_no_hint(tmp_path: Path) -> None:
    data, _ = mmsa()
    for part in data.values():
        del part["id"]
    with pytest.raises(DatasetError, match="'train' lacks id") as caught:
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    assert caught.value.hint == "it is laid out as mmsa otherwise"


def test_unknown_splits_are_named(tmp_path: Path) -> None:
    data, _ = mmsa()
    data["fold_4"] = data.pop("test")
    with pytest.raises(DatasetError, match="unknown split 'fold_4'"):
        imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")


def test_a_file_without_some_modality_is_imported_and_says_so(tmp_path: Path) -> None:
    data, truth = mmsa()
    for part in data.values():
        del part["vision"], part["vision_lengths"], part["text"]
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    assert [item["name"] for item in done.facts["features"]] == ["audio", "text_bert"]
    assert "not in this file: text, vision" in done.facts["notes"]
    assert_same(values(tmp_path / "store", "text_bert"), truth["text_bert"])


def test_one_vector_per_clip_has_a_fixed_shape(tmp_path: Path) -> None:
    data, _ = mmsa()
    for part in data.values():
        part["audio"] = part["audio"][:, 0]
        del part["audio_lengths"]
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    assert feature(done, "audio")["shape"] == [5]
    key = data["test"]["id"][0]
    np.testing.assert_array_equal(
        values(tmp_path / "store", "audio")[key], data["test"]["audio"][0]
    )


def test_rows_may_have_lengths_of_their_own(tmp_path: Path) -> None:
    data, truth = mmsa()
    for part in data.values():
        part["audio"] = [truth["audio"][key] for key in part["id"]]
        del part["audio_lengths"]
    done = imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "store")
    assert_same(values(tmp_path / "store", "audio"), truth["audio"])
    assert feature(done, "audio")["lengths"] == "arrays"


def test_a_published_file_is_known_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectflow.pipeline.foreign import _known
    from affectflow.pipeline.store.writer import file_sha256

    data, _ = mmsa()
    path = write(tmp_path / "x.pkl", data)
    place = _known.Published("MOSI/Processed/unaligned_50.pkl", "mosi_unaligned_50")
    monkeypatch.setitem(_known.PUBLISHED, file_sha256(path), place)
    done = imported(path, "mmsa", tmp_path / "store", dataset=None)
    assert done.dataset == "mosi_unaligned_50"
    assert done.facts["files"][0]["published_as"] == place.place
    assert done.facts["files"][0]["sha256"] == file_sha256(path)
