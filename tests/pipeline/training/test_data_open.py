from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.feature_stores import write_feature, write_table
from support.training_stores import (
    ABSENT,
    FAILED,
    IMAGE,
    ROLES,
    TOKENS,
    make_store,
    opened,
    rows_of,
    write_children,
)

from affectflow.models.batch import InputSpec, Task
from affectflow.pipeline.errors import ConfigError, StoreError
from affectflow.pipeline.training import opening
from affectflow.pipeline.training.data import DataConfig
from affectflow.pipeline.training.opening import open_data


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    make_store(root)
    return root


def test_what_was_opened(plain: Path) -> None:
    data = opened(plain)
    assert data.inputs["tokens"] == InputSpec((None, 6))
    assert data.inputs["regions"] == InputSpec((5, 3))
    assert data.tasks == (
        Task("mood", "classification", ("sad", "glad")),
        Task("themes", "multilabel", ("work", "food", "rain")),
        Task("strength", "regression", (), -3.0, 3.0),
    )
    train = data.split("train")
    assert list(train.keys) == [f"k{i:03d}" for i in range(20) if i % 5 in (0, 1, 3)]
    assert train.labels["mood"].tolist() == [int(key[1:]) % 2 for key in train.keys]
    assert train.labels["themes"].dtype == train.labels["strength"].dtype == np.float32
    assert data.counts["splits"]["val"]["rows"] == len(data.split("val")) == 4
    assert data.fingerprints["tokens"]["fingerprint"] == "0123456789abcdef"
    assert str(plain) not in str(data.fingerprints)


def test_the_first_opening_of_large_features_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(tmp_path)
    config = DataConfig(dataset="mini", stores=(str(tmp_path),))
    told: list[str] = []

    def opened_again() -> list[str]:
        told.clear()
        open_data(config, ROLES, frozenset(), ("train", "val"), tell=told.append)
        return [line.partition(":")[0] for line in told]

    sizes = (tmp_path / "features" / "mini" / "bert").glob("*/*.parquet")
    monkeypatch.setattr(opening, "TOLD_BYTES", sum(path.stat().st_size for path in sizes) - 1)
    assert "preparing tokens" in opened_again()
    # Now it is known.
    assert opened_again() == []
    monkeypatch.setattr(opening, "TOLD_BYTES", 1 << 20)
    shutil.rmtree(tmp_path / "cache")
    assert opened_again() == []


def test_labels_of_test_are_nowhere(tmp_path: Path) -> None:
    rows = rows_of(20)
    for row in rows:
        if row["split"] == "test":
            row["label.strength"] = 2.71875
    make_store(tmp_path, rows)
    data = opened(tmp_path)
    with pytest.raises(StoreError, match="'test' was not opened"):
        data.split("test")
    marker = np.float32(2.71875).tobytes()
    assert marker not in pickle.dumps(data)
    assert marker in pickle.dumps(opened(tmp_path, "test"))


def test_a_wrong_label_of_an_unopened_split_is_not_even_seen(tmp_path: Path) -> None:
    rows = rows_of(20)
    rows[4]["label.mood"] = 9
    make_store(tmp_path, rows)
    opened(tmp_path)
    with pytest.raises(StoreError, match="1 labels of task 'mood'"):
        opened(tmp_path, "test")


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        ("mood", 2, r"first 'k001' = 2; expected a code from 0 to 1 \(sad, glad\)"),
        ("mood", -1, r"first 'k001' = -1; expected a code"),
        ("themes", [0, 3], r"first 'k001' = 3; expected a code from 0 to 2"),
        ("themes", [-2], r"first 'k001' = -2; expected a code from 0 to 2"),
        ("strength", 3.5, r"first 'k001' = 3.5; expected a number from -3 to 3"),
        ("strength", float("inf"), r"first 'k001' = inf; expected a finite number"),
    ],
)
def test_label_outside_the_vocabulary(
    tmp_path: Path, task: str, value: object, message: str
) -> None:
    rows = rows_of(20)
    rows[1][f"label.{task}"] = value
    make_store(tmp_path, rows)
    with pytest.raises(StoreError, match=message):
        opened(tmp_path)


def test_missing_labels(tmp_path: Path) -> None:
    rows = rows_of(20)
    rows[0].update({"label.mood": None, "label.themes": None, "label.strength": None})
    make_store(tmp_path, rows)
    data = opened(tmp_path)
    labels = {task: values[0] for task, values in data.split("train").labels.items()}
    assert labels["mood"] == -1
    assert np.isnan(labels["themes"]).all()
    assert np.isnan(labels["strength"])
    assert data.counts["splits"]["train"]["labels"] == {"mood": 11, "themes": 11, "strength": 11}


def test_a_task_without_labels_in_validation(tmp_path: Path) -> None:
    rows = rows_of(20)
    for row in rows:
        if row["split"] != "train":
            row["label.mood"] = None
    make_store(tmp_path, rows)
    with pytest.raises(StoreError, match="'mood' has no labels in split 'val'"):
        opened(tmp_path)
    opened(tmp_path, tasks=("strength",))
    opened(tmp_path, "test")


def test_an_empty_split(tmp_path: Path) -> None:
    make_store(tmp_path, [row for row in rows_of(20) if row["split"] != "val"])
    with pytest.raises(StoreError, match="split 'val' of 'mini' has no samples"):
        opened(tmp_path)


def test_names_that_there_are_not(plain: Path) -> None:
    with pytest.raises(StoreError, match="did you mean mood"):
        opened(plain, tasks=("moot",))
    with pytest.raises(
        StoreError, match="role 'tokens': unknown feature 'berd'; did you mean bert"
    ):
        opened(plain, features={"tokens": "berd"})
    with pytest.raises(StoreError, match="unknown split 'dev'"):
        opened(plain, "dev")
    with pytest.raises(ConfigError, match="unknown role 'token'"):
        opened(plain, features={"token": "bert"})
    settings = DataConfig(dataset="maxi", stores=(str(plain),))
    with pytest.raises(StoreError, match="unknown dataset 'maxi'"):
        open_data(settings, ROLES, frozenset(), ("train",))


def test_optional_roles(plain: Path) -> None:
    settings = DataConfig(dataset="mini", stores=(str(plain),))
    roles = {"tokens": "bert", "sound": "covarep", "extra": ""}
    data = open_data(settings, roles, frozenset({"sound"}), ("train",))
    assert list(data.inputs) == ["tokens"]
    with pytest.raises(StoreError, match="unknown feature 'covarep'"):
        open_data(settings, roles, frozenset(), ("train",))


def test_features_of_another_fingerprint(plain: Path) -> None:
    opened(plain, features={"tokens": "bert@0123"})
    with pytest.raises(StoreError, match="no fingerprint 0124…; nearest first: 0123456789abcdef"):
        opened(plain, features={"tokens": "bert@0124"})


def test_the_first_store_that_has_a_feature(tmp_path: Path) -> None:
    _, values = make_store(tmp_path / "a")
    other = write_table(tmp_path / "b", rows_of(20), 6)
    write_feature(other, IMAGE, values["clip_image"], "b" * 16)
    settings = DataConfig(dataset="mini", stores=(str(tmp_path / "b"), str(tmp_path / "a")))
    data = open_data(settings, ROLES, frozenset(), ("train", "val"))
    found = {
        role: (facts["store"], facts["fingerprint"][0]) for role, facts in data.fingerprints.items()
    }
    assert found == {"tokens": (1, "0"), "regions": (1, "0"), "e_img": (0, "b")}
    chosen = settings.model_copy(update={"features": {"e_img": "clip_image@0"}})
    assert open_data(chosen, ROLES, frozenset(), ("train",)).fingerprints["e_img"]["store"] == 1


def test_features_of_other_samples_are_joined_by_key_and_said_so(tmp_path: Path) -> None:
    table, values = make_store(tmp_path)
    rows = [row | {"text": "corrected"} if row["key"] == "k000" else row for row in rows_of(25)]
    other = write_table(tmp_path, rows, 6)
    data = opened(tmp_path, samples=other.digest[:6])
    assert data.fingerprints["tokens"]["warnings"] == [
        "'bert' was made from samples of other content than these"
    ]
    assert data.counts["splits"]["train"]["missing"]["tokens"] == 3
    found = data.split("train").batch([1]).features["e_img"].values[0]
    assert np.array_equal(found, values["clip_image"]["k001"])
    assert not opened(tmp_path, samples=table.digest[:6]).fingerprints["tokens"]["warnings"]


def test_an_unfinished_feature(tmp_path: Path) -> None:
    table, values = make_store(tmp_path)
    write_feature(table, TOKENS, values["bert"], "a" * 16, shards=[0])
    with pytest.raises(StoreError, match="has 1 of 2 shards under fingerprint aaaa"):
        opened(tmp_path, features={"tokens": "bert@a"})
    data = opened(tmp_path, features={"tokens": "bert@a"}, incomplete=True)
    assert data.fingerprints["tokens"]["warnings"] == ["'mini/bert' has 1 of 2 shards"]
    assert data.counts["splits"]["train"]["missing"]["tokens"] == 6


def test_quarantined_and_absent_rows(tmp_path: Path) -> None:
    make_store(tmp_path, holes={"regions": {"k000": FAILED, "k003": ABSENT}})
    data = opened(tmp_path)
    train = data.split("train")
    assert data.counts["splits"]["train"]["missing"] == {"tokens": 0, "regions": 2, "e_img": 0}
    assert data.fingerprints["regions"]["rows"] == {"ok": 18, "absent": 1, "failed": 1}
    batch = train.batch([0, 1, 2])
    assert batch.features["regions"].present.tolist() == [False, True, False]
    assert not batch.features["regions"].values[0].any()
    dropped = opened(tmp_path, missing="drop")
    assert dropped.counts["splits"]["train"]["dropped"] == 2
    assert "k000" not in dropped.split("train").keys
    assert dropped.digest != data.digest


def test_all_rows_dropped(tmp_path: Path) -> None:
    holes = {f"k{index:03d}": FAILED for index in range(2, 20, 5)}
    make_store(tmp_path, holes={"regions": holes})
    with pytest.raises(StoreError, match="no samples left: all 4 lack a feature"):
        opened(tmp_path, missing="drop")


def test_rows_that_the_reader_left_out(tmp_path: Path) -> None:
    rows = rows_of(20)
    rows[1]["status"] = "duplicate_row"
    rows[3]["status"] = "missing_file"
    make_store(tmp_path, rows)
    data = opened(tmp_path)
    assert data.counts["left_out"] == {"duplicate_row": 1}
    assert "k001" not in data.split("train").keys
    assert "k003" in data.split("train").keys


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    table, values = make_store(tmp_path)
    broken = {key: np.array(value) for key, value in values["bert"].items()}
    broken["k001"][0, :2] = [np.nan, -np.inf]
    broken["k004"][0, 0] = np.inf
    write_feature(table, TOKENS, broken, "a" * 16)
    pick = {"tokens": "bert@a"}
    with pytest.raises(
        StoreError, match=r"'bert' \(role tokens\) .* 1 of 12 rows, first 'k001' with 2"
    ):
        opened(tmp_path, features=pick)
    data = opened(tmp_path, features=pick, nonfinite="zero")
    assert data.counts["nonfinite_as_zero"] == {"tokens": {"rows": 1, "values": 2}}
    expected = np.nan_to_num(broken["k001"].astype(np.float32), posinf=0, neginf=0)
    row = list(data.split("train").keys).index("k001")
    for layout in ("padded", "packed"):
        found = data.split("train").batch([row], layout).features["tokens"].values.numpy()
        assert np.array_equal(found.reshape(-1, 6), expected)


def test_augmented_copies_are_in_train_alone(tmp_path: Path) -> None:
    table, _ = make_store(tmp_path)
    children = {
        f"{source}~p{index}": np.full((2 + index, 6), index + 1, np.float16)
        for source in ("k003", "k001", "k002", "k004")
        for index in range(2)
    }
    children["k003~p1"] = FAILED
    write_children(table, TOKENS, children)
    data = opened(tmp_path, "train", "val", "test")
    train = data.split("train")
    # Those of k002 (val) and k004 (test) take no part.
    assert list(train.keys[12:]) == ["k001~p0", "k001~p1", "k003~p0"]
    assert data.counts["splits"]["train"]["augmented"] == 3
    assert data.counts["splits"]["train"]["augmented_without_source"] == 4
    assert data.counts["splits"]["val"]["augmented"] == 0
    place = {key: row for row, key in enumerate(train.keys)}
    child, parent = place["k003~p0"], place["k003"]
    assert train.families[child] == train.families[parent]
    assert len(set(train.families.tolist())) == 12
    assert train.labels["mood"][child] == train.labels["mood"][parent]
    batch = train.batch([child, parent])
    assert batch.features["tokens"].lengths[0] == 2
    assert (batch.features["tokens"].values[0, :2] == 1).all()
    # Pictures have no augmented feature of their own: the source's is taken.
    for role in ("regions", "e_img"):
        assert np.array_equal(*batch.features[role].values.numpy())
    without = opened(tmp_path, augmented=False)
    assert len(without.split("train")) == 12
    assert without.split("val").digest == data.split("val").digest


def test_digest_tells_data_apart(tmp_path: Path) -> None:
    table, values = make_store(tmp_path)
    write_feature(table, IMAGE, values["clip_image"], "a" * 16)
    base = opened(tmp_path, features={"e_img": "clip_image@0"})
    assert base.digest == opened(tmp_path, features={"e_img": "clip_image@0"}).digest
    others = [
        opened(tmp_path, features={"e_img": "clip_image@a"}),
        opened(tmp_path, features={"e_img": "clip_image@0"}, tasks=("mood",)),
        opened(tmp_path, features={"e_img": "clip_image@0"}, max_length={"tokens": 1}),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 4


def test_unlabelled_data_can_be_opened(tmp_path: Path) -> None:
    blank = {"label.mood": None, "label.themes": None, "label.strength": None}
    make_store(tmp_path, rows_of(20, **blank))
    settings = DataConfig(dataset="mini", stores=(str(tmp_path),))
    data = open_data(settings, ROLES, frozenset(), ("train", "val", "test"), labelled=False)
    assert sum(len(data.split(name)) for name in data.splits) == 20
