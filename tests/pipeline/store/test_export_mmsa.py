"""Exporting to MMSA's layout and importing it again."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_stores import ABSENT, sample_row, some_values, write_feature, write_table
from support.foreign_files import mmsa, mult, write
from support.foreign_files_csd import small_dataset
from support.foreign_imports import assert_same, feature, imported, opened, rows, values

from affectflow.pipeline.errors import StoreError, UsageError
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.store.export.mmsa import choose_roles, export_mmsa


def exported(store: Path, out: Path, *references: str, **more: Any) -> dict[str, Any]:
    """Export and return the record."""
    return export_mmsa(opened(store), choose_roles(opened(store), references), out, **more)


def assert_same_dataset(first: Path, second: Path, names: tuple[str, ...]) -> None:
    """Compare samples and features of the dataset ``d`` in two stores."""
    one, two = rows(first), rows(second)
    usable = {key: row for key, row in one.items() if row["status"] == "ok"}
    assert list(two) == [key for key in one if key in usable]
    for key, row in usable.items():
        for name in ("split", "text", *(n for n in row if n.startswith("label."))):
            if name in two[key]:
                assert two[key][name] == row[name], (key, name)
    for name in names:
        assert_same(values(second, name), values(first, name))


@pytest.mark.parametrize("layout", ["aligned", "unaligned", "sims", "front"])
def test_import_of_an_export_is_the_same(tmp_path: Path, layout: str) -> None:
    data, _ = mmsa(
        aligned=layout == "aligned",
        sims=layout == "sims",
        side="front" if layout == "front" else "end",
    )
    data["train"]["vision"][1] = 0
    data["train"]["audio"][0, 0] = -np.inf
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "a")
    record = exported(tmp_path / "a", tmp_path / "out")
    assert record["lacking"] == {"vision": 1}
    done = imported(tmp_path / "out" / "d.pkl", "mmsa", tmp_path / "b")
    names = ("text", "audio", "vision", "text_bert")
    assert_same_dataset(tmp_path / "a", tmp_path / "b", names)
    assert feature(done, "vision")["absent"] == 1
    assert feature(done, "audio")["treated"]["minus_inf"] == 0
    # And once more: the second export has the same bytes as the first.
    exported(tmp_path / "b", tmp_path / "again")
    first = (tmp_path / "out" / "d.pkl").read_bytes()
    assert (tmp_path / "again" / "d.pkl").read_bytes() == first


def test_a_mult_file_becomes_an_mmsa_file(tmp_path: Path) -> None:
    data, _ = mult()
    data["valid"]["labels"][1] = np.nan
    imported(write(tmp_path / "x.pkl", data), "mult", tmp_path / "a")
    record = exported(tmp_path / "a", tmp_path / "out")
    assert record["not_filled"][:1] == ["text_bert"]
    assert "raw_text (the samples have no text)" in record["not_filled"]
    imported(tmp_path / "out" / "d.pkl", "mmsa", tmp_path / "b")
    assert_same_dataset(tmp_path / "a", tmp_path / "b", ("text", "audio", "vision"))


def test_words_without_frames_and_dropped_samples(tmp_path: Path) -> None:
    audio = small_dataset(tmp_path / "f")
    from support.foreign_files_csd import write_sequence

    frames, times = audio["abc"]
    few = {"abc": (frames[:12], times[:12]), "xyz": audio["xyz"]}
    write_sequence(tmp_path / "f" / "covarep.csd", "CMU_COVAREP", few)
    imported(tmp_path / "f", "csd", tmp_path / "a", folds={"train": ["abc"], "test": ["xyz"]})
    record = exported(tmp_path / "a", tmp_path / "out")
    assert record["left_out"] == {"dropped": 1}
    imported(tmp_path / "out" / "d.pkl", "mmsa", tmp_path / "b")
    assert_same_dataset(tmp_path / "a", tmp_path / "b", ("audio", "vision"))


def test_the_layout_is_the_published_one(tmp_path: Path) -> None:
    data, truth = mmsa()
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "a")
    exported(tmp_path / "a", tmp_path / "out")
    found = pickle.loads((tmp_path / "out" / "d.pkl").read_bytes())
    assert list(found) == ["train", "valid", "test"]
    for name, part in data.items():
        got = found[name]
        assert got["id"] == part["id"]
        assert got["raw_text"] == part["raw_text"]
        assert got["annotations"] == part["annotations"]
        for field in ("regression_labels", "classification_labels"):
            np.testing.assert_array_equal(got[field], part[field])
        longest = max(len(row) for row in truth["audio"].values())
        np.testing.assert_array_equal(got["audio"], part["audio"][:, :longest])
        assert got["audio_lengths"] == part["audio_lengths"]
        assert got["audio"].dtype == np.float32
        tokens = part["text_bert"][:, :, : got["text_bert"].shape[2]]
        np.testing.assert_array_equal(got["text_bert"], tokens)


def test_roles_are_played_by_features_of_other_names(tmp_path: Path) -> None:
    data, truth = mmsa()
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "a")
    record = exported(tmp_path / "a", tmp_path / "out", "vision=d/audio", "d/text")
    assert set(record["features"]) == {"vision", "text"}
    assert "audio" in record["not_filled"]
    imported(tmp_path / "out" / "d.pkl", "mmsa", tmp_path / "b")
    assert_same(values(tmp_path / "b", "vision"), truth["audio"])


def test_refusals(tmp_path: Path) -> None:
    data, _ = mmsa()
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "a")
    imported(write(tmp_path / "x.pkl", data), "mmsa", tmp_path / "a", dataset="e")
    with pytest.raises(UsageError, match="'smell' is no role"):
        exported(tmp_path / "a", tmp_path / "out", "smell=d/audio")
    with pytest.raises(UsageError, match="two features for the role 'audio'"):
        exported(tmp_path / "a", tmp_path / "out", "audio=d/audio", "audio=d/vision")
    with pytest.raises(UsageError, match="features of several datasets: d, e"):
        exported(tmp_path / "a", tmp_path / "out", "d/audio", "e/vision")
    with pytest.raises(UsageError, match="cannot play 'text_bert'"):
        exported(tmp_path / "a", tmp_path / "out", "text_bert=d/audio")
    exported(tmp_path / "a", tmp_path / "out", "d/audio")
    with pytest.raises(StoreError, match="holds an earlier export"):
        exported(tmp_path / "a", tmp_path / "out", "d/audio")
    exported(tmp_path / "a", tmp_path / "out", "d/vision", force=True)


def test_a_dataset_without_sentiment_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path, [sample_row("a"), sample_row("b")])
    spec = FeatureSpec("text", "text", (4,), "float16")
    write_feature(table, spec, some_values(spec, ["a", "b"], {"b": ABSENT}))
    with pytest.raises(UsageError, match="needs a regression task 'sentiment'; 'mini' has: mood"):
        exported(tmp_path, tmp_path / "out")


def test_half_floats_and_vectors_are_widened(tmp_path: Path) -> None:
    from affectflow.pipeline.manifest import Manifest, Task
    from affectflow.pipeline.store.layout import StoreLayout
    from affectflow.pipeline.store.samples import write_samples

    manifest = Manifest(
        name="mini",
        title="made up",
        reader="table",
        licence="CC0-1.0",
        obtain="made by the tests",
        tasks={"sentiment": Task(kind="regression", range=(-3, 3))},
        table={"path": "rows.csv"},
    )
    made = []
    for key, label in (("a", 1.0), ("b", None)):
        row = {k: v for k, v in sample_row(key).items() if not k.startswith("label.")}
        made.append({**row, "label.sentiment": label})
    table = write_samples(StoreLayout(tmp_path), manifest, made, 4, {})
    spec = FeatureSpec("text", "text", (4,), "float16")
    wanted = some_values(spec, ["a", "b"], {"b": ABSENT})
    write_feature(table, spec, wanted)
    exported(tmp_path, tmp_path / "out")
    part = pickle.loads((tmp_path / "out" / "mini.pkl").read_bytes())["train"]
    assert part["text"].shape == (2, 1, 4)
    np.testing.assert_array_equal(part["text"][0, 0], np.asarray(wanted["a"], np.float32))
    assert part["text_lengths"] == [1, 0]
    assert np.isnan(part["regression_labels"][1])
    assert part["annotations"] == ["Positive", ""]
