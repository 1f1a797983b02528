"""Computational sequences: words, labels and frames of several files make one dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_files import mmsa, write
from support.foreign_files_csd import small_dataset, words, write_sequence
from support.foreign_imports import feature, imported, rows, values

from affectflow.pipeline.errors import AffectflowError, DatasetError, UsageError
from affectflow.pipeline.foreign import csd
from affectflow.pipeline.foreign._parsed import Options

h5py = pytest.importorskip("h5py", reason="the extra 'foreign' is not installed")


def test_streams_are_averaged_over_words(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    found = values(tmp_path / "s", "audio")
    # Frame i lasts from i/10 to (i+1)/10; 'sp' from 1.0 to 1.5 is no word.
    frames = audio["abc"][0].astype(np.float64)
    wanted = np.stack([frames[:10].mean(axis=0), frames[15:].mean(axis=0)])
    np.testing.assert_allclose(found["abc[0]"], wanted, rtol=1e-5)
    assert [item["name"] for item in done.facts["features"]] == [
        "audio",
        "vision",
        "word_intervals",
    ]
    intervals = values(tmp_path / "s", "word_intervals")["abc[0]"]
    np.testing.assert_allclose(intervals, [[0, 1], [1.5, 3]])


def test_samples_are_label_intervals(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    found = rows(tmp_path / "s")
    assert list(found) == ["abc[0]", "xyz[0]", "xyz[1]", "xyz[2]"]
    assert found["abc[0]"]["text"] == "this film"
    assert found["xyz[0]"]["text"] == "never again"
    assert found["xyz[0]"]["label.sentiment"] == -1.0
    assert (found["xyz[2]"]["status"], found["xyz[2]"]["reason"]) == (
        "dropped",
        "no word in its interval",
    )
    assert done.facts["statuses"] == {"dropped": 1, "ok": 3}
    # All samples of a video are in one split.
    assert len({found[key]["split"] for key in ("xyz[0]", "xyz[1]", "xyz[2]")}) == 1


def test_infinite_frames_are_counted_and_count_as_zero(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    assert feature(done, "audio")["treated"]["minus_inf"] == 1
    frames = np.nan_to_num(audio["xyz"][0], neginf=0.0).astype(np.float64)
    found = values(tmp_path / "s", "audio")["xyz[0]"]
    np.testing.assert_allclose(found[0], frames[:10].mean(axis=0), rtol=1e-5)


def test_without_words_frames_are_cut_at_the_labels(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    (tmp_path / "f" / "words.csd").unlink()
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    found = values(tmp_path / "s", "audio")
    np.testing.assert_array_equal(found["abc[0]"], audio["abc"][0])
    assert len(found["xyz[0]"]) == 20
    assert any("not aligned" in note for note in done.facts["notes"])
    reason = rows(tmp_path / "s")["xyz[2]"]["reason"]
    assert reason == "no frame of 'audio'; no frame of 'vision'"


def test_a_video_that_a_stream_lacks_is_dropped(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    write_sequence(tmp_path / "f" / "covarep.csd", "CMU_COVAREP", {"abc": audio["abc"]})
    imported(tmp_path / "f", "csd", tmp_path / "s")
    found = rows(tmp_path / "s")
    assert found["xyz[0]"]["reason"] == "no frame of 'audio'"
    assert set(values(tmp_path / "s", "vision")) == {"abc[0]"}


def test_words_without_frames_are_zeros_and_counted(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    values_abc, times = audio["abc"]
    write_sequence(
        tmp_path / "f" / "covarep.csd",
        "CMU_COVAREP",
        {"abc": (values_abc[:12], times[:12]), "xyz": audio["xyz"]},
    )
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    assert feature(done, "audio")["words_without_frames"] == 1
    assert not values(tmp_path / "s", "audio")["abc[0]"][1].any()


def test_emotions_are_there_when_above_zero(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    labels = np.array([[1.0, 0.0, 0.66, 0, 0, 0, 3.0]])
    one = {"abc": (labels, np.array([[0, 3]]))}
    write_sequence(tmp_path / "f" / "labels.csd", "All Labels", one)
    imported(tmp_path / "f", "csd", tmp_path / "s")
    row = rows(tmp_path / "s")["abc[0]"]
    names = ("happy", "sad", "anger", "surprise", "disgust", "fear")
    assert [row[f"label.{name}"] for name in names] == [0, 1, 0, 0, 0, 1]


def test_folds_give_the_splits(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    folds = {"train": ["abc"], "test": ["xyz"]}
    imported(tmp_path / "f", "csd", tmp_path / "s", folds=folds)
    found = rows(tmp_path / "s")
    assert {key: row["split"] for key, row in found.items()} == {
        "abc[0]": "train",
        "xyz[0]": "test",
        "xyz[1]": "test",
        "xyz[2]": "test",
    }
    with pytest.raises(DatasetError, match="video 'abc' is in two splits: train and test"):
        imported(tmp_path / "f", "csd", tmp_path / "t", folds={"train": ["abc"], "test": ["abc"]})
    imported(tmp_path / "f", "csd", tmp_path / "u", folds={"train": ["abc"]})
    assert rows(tmp_path / "u")["xyz[0]"]["reason"] == "its video is in no fold"


def test_phones_are_not_read(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    phones = {"abc": (words(["AH"]), np.array([[0, 1]]))}
    write_sequence(tmp_path / "f" / "phones.csd", "Phones", phones)
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    assert "phones.csd: Phones (not read)" in done.facts["notes"]


def test_two_streams_of_one_kind_keep_their_own_names(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    write_sequence(tmp_path / "f" / "is09.csd", "OpenSMILE IS09", audio)
    done = imported(tmp_path / "f", "csd", tmp_path / "s")
    names = [item["name"] for item in done.facts["features"]]
    assert names == ["cmu_covarep", "vision", "opensmile_is09", "word_intervals"]


def test_labels_are_needed(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    (tmp_path / "f" / "labels.csd").unlink()
    with pytest.raises(DatasetError, match="none of the files holds labels"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


def test_intervals_of_another_number_are_refused(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    frames, times = audio["abc"]
    broken = {"abc": (frames, times[:-1]), "xyz": audio["xyz"]}
    write_sequence(tmp_path / "f" / "covarep.csd", "CMU_COVAREP", broken)
    with pytest.raises(DatasetError, match="'abc' has 30 entries and intervals of shape"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["features"] = np.ones((30, 4), np.float32)
    with h5py.File(tmp_path / "f" / "covarep.csd", "a") as file:
        group = file["CMU_COVAREP/data/abc"]
        del group["features"]
        group["features"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "features")
    with pytest.raises(DatasetError, match="'features' is a link"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


def test_raw_data_outside_the_file_are_refused(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    (tmp_path / "secret.bin").write_bytes(bytes(30 * 4 * 4))
    with h5py.File(tmp_path / "f" / "covarep.csd", "a") as file:
        group = file["CMU_COVAREP/data/abc"]
        del group["features"]
        group.create_dataset(
            "features", (30, 4), "f4", external=[(str(tmp_path / "secret.bin"), 0, 480)]
        )
    with pytest.raises(DatasetError, match="no array in the file"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


def test_a_small_file_with_a_huge_array_is_refused_unread(tmp_path: Path) -> None:
    small_dataset(tmp_path / "f")
    path = tmp_path / "f" / "covarep.csd"
    with h5py.File(path, "a") as file:
        group = file["CMU_COVAREP/data/abc"]
        del group["features"]
        shape = (2_000_000_000, 4)
        group.create_dataset("features", shape, "f4", chunks=(1024, 4), compression="gzip")
    assert path.stat().st_size < 100_000
    with pytest.raises(DatasetError, match="more than 4294967296 bytes"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


def test_other_files_are_refused(tmp_path: Path) -> None:
    data, _ = mmsa()
    pickled = write(tmp_path / "x.csd", data)
    with pytest.raises(DatasetError, match="not 'csd', it is no HDF5 file"):
        imported(pickled, "csd", tmp_path / "s")
    small_dataset(tmp_path / "f")
    with pytest.raises(DatasetError, match=r"not 'mmsa', it is an HDF5 file \(try --as csd\)"):
        imported(tmp_path / "f" / "facet.csd", "mmsa", tmp_path / "s")
    with pytest.raises(UsageError, match="'mmsa' takes one file"):
        imported(tmp_path / "f", "mmsa", tmp_path / "s")
    (tmp_path / "f" / "facet.csd").write_bytes((tmp_path / "f" / "facet.csd").read_bytes()[:600])
    with pytest.raises(DatasetError, match="not readable as HDF5"):
        imported(tmp_path / "f", "csd", tmp_path / "s")


BROKEN = {
    "nothing": np.zeros((0, 4)),
    "scalar": np.array(3.0),
    "nan": np.full((3, 4), np.nan),
    "nan_begin": np.array([[np.nan, 1], [0, 1], [1, 2]]),
    "backwards": np.array([[5, 1], [3, 2], [9, 1]]),
    "texts": np.array([b"a", b"b", b"c"]),
    "three_axes": np.ones((3, 2, 2)),
    "complex": np.array([[1j]] * 3),
    "no_width": np.zeros((3, 0)),
    "bools": np.array([[True]] * 3),
    "huge": np.array([[1e300]] * 3),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("part", ["features", "intervals"])
@pytest.mark.parametrize("stem", ["words", "labels", "covarep"])
def test_broken_sequences(tmp_path: Path, stem: str, part: str, name: str) -> None:
    """Whatever a sequence holds: it is read, or refused with one of our errors."""
    small_dataset(tmp_path / "f")
    with h5py.File(tmp_path / "f" / f"{stem}.csd", "a") as file:
        group = file[f"{next(iter(file))}/data/abc"]
        del group[part]
        group[part] = BROKEN[name]
    try:
        parsed = csd.read(sorted((tmp_path / "f").iterdir()), Options("d"))
    except AffectflowError:
        return
    for feature_read in parsed.features:
        for index in range(len(parsed.rows)):
            value = feature_read.value(index)
            assert not isinstance(value, np.ndarray) or np.isfinite(value).all()
