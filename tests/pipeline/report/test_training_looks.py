from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.feature_stores import some_values, write_feature, write_run
from support.fusion_batches import TASKS, example_lengths, inputs_of, make_batch, small_model
from support.toy_training import one_thread, silent
from support.training_stores import make_store, rows_of

from affectflow.models.batch import Task
from affectflow.pipeline.errors import StoreError
from affectflow.pipeline.evaluation.access import test_accesses as accesses
from affectflow.pipeline.evaluation.trained import TrainedRun
from affectflow.pipeline.records import FeatureSpec
from affectflow.pipeline.report.training.looks import choose, look
from affectflow.pipeline.report.training.words import words_of
from affectflow.pipeline.store.layout import read_json, write_json
from affectflow.pipeline.training.experiment import train
from affectflow.pipeline.training.settings import resolve
from affectflow.pipeline.training.validation import SplitOutput, run_batches

IDS = FeatureSpec("bert.ids", "text", (None,), "int32")
BOXES = FeatureSpec("regions.boxes", "image", (5, 4), "float32")


class Attentive(TrainedRun):
    """A run whose model also says where it looks: at the last entry above all."""

    def apply(self, *arguments: Any, **options: Any) -> SplitOutput:
        output = super().apply(*arguments, **options)
        lengths = {role: 3 if role == "regions" else 2 for role in self.roles}
        for role, length in lengths.items():
            weights = np.arange(1, length + 1, dtype=np.float32)
            found = [weights / weights.sum() for _ in output.keys]
            # One sample has no such modality.
            found[0] = np.zeros(0, np.float32)
            output.attention[role] = found
        return output


class Related(TrainedRun):
    """A run whose model also says whom it compares: each sample with the same two."""

    def apply(self, *arguments: Any, **options: Any) -> SplitOutput:
        output = super().apply(*arguments, **options)
        output.neighbours["ii"] = [[(2, 0.75), (1, 0.5)] for _ in output.keys]
        output.neighbours["tt"] = [[] for _ in output.keys]
        return output


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), 120, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    (folder / "files").mkdir()
    (folder / "files" / "a.png").write_bytes(png())
    rows = [{**row, "image": "a.png"} for row in rows_of(40)]
    rows[2]["image"], rows[7]["image"] = None, "gone.png"
    table, values = make_store(folder / "store", rows)
    keys = list(values["bert"])
    # As the extractors do: token ids of the same length, boxes of all regions.
    ids = {key: np.arange(len(values["bert"][key]) + 2, dtype=np.int32) for key in keys}
    write_feature(table, IDS, ids)  # type: ignore[arg-type]
    write_feature(table, BOXES, some_values(BOXES, keys, {}))
    write_run(table, {"bert": "0123456789abcdef"})
    record = folder / "store" / "runs" / "20260101T000000" / "run.json"
    write_json(record, {**(read_json(record) or {}), "root": str(folder / "files")})
    return folder / "store"


def run_of(store: Path, model: str) -> Path:
    small: Mapping[str, Mapping[str, Any]] = {
        "model": {"hidden": [4]},
        "trainer": {"epochs": 1, "tensorboard": False, "device": "cpu"},
    }
    with one_thread():
        settings = resolve(model, "mini", [store], None, small)
        return train(settings, (1,), store.parent / "runs", silent).folder


def test_words_are_shown_with_labels_and_the_test_split_stays_closed(store: Path) -> None:
    run = Attentive(run_of(store, "text_tokens"))
    looks = look(run, per_class=2)
    assert "of each class of mood, chosen with seed 0 from val" in looks.how
    assert [sample.truth["mood"] for sample in looks.samples] == ["sad", "sad", "glad", "glad"]
    assert not accesses(run.folder)
    shown = [sample for sample in looks.samples if sample.words]
    # No tokenizer of that recipe is here, so numbers stand for words.
    assert [word for word, _ in shown[0].words] == ["#0", "#1"]
    assert [weight for _, weight in shown[0].words] == pytest.approx([1 / 3, 2 / 3])
    assert set(shown[0].said) == {"mood", "themes", "strength"}


def test_a_task_without_classes_is_not_replaced_by_another(store: Path) -> None:
    looks = look(Attentive(run_of(store, "text_tokens")), per_class=1, task="strength")
    assert looks.how.startswith("Samples, chosen with seed 0 from val")
    assert len(looks.samples) == 3


def test_boxes_lie_on_the_picture_or_it_is_said_why_not(store: Path) -> None:
    looks = look(Attentive(run_of(store, "regions")), per_class=20)
    by_key = {sample.key: sample for sample in looks.samples}
    assert len(by_key) == 8
    good = by_key["k012"]
    assert good.picture is not None
    assert (good.picture.width, good.picture.height) == (40, 30)
    assert len(good.boxes) == 3
    assert by_key["k002"].missing == ("The sample has no regions.", "The sample has no image.")
    assert by_key["k007"].picture is None
    assert any("cannot be shown" in text for text in by_key["k007"].missing)


def test_neighbours_come_with_caption_and_thumbnail(store: Path) -> None:
    looks = look(Related(run_of(store, "text_tokens")))
    for sample in looks.samples:
        assert [(near.key, near.cosine) for near in sample.neighbours["ii"]] == [
            ("k012", 0.75),
            ("k007", 0.5),
        ]
        # The other's image cannot be read.
        assert [near.picture is None for near in sample.neighbours["ii"]] == [False, True]
        assert all(near.caption for near in sample.neighbours["ii"])
        assert sample.neighbours["tt"] == []


def test_neighbours_are_rows_of_the_split() -> None:
    model = small_model("mm_orient", "paper_figure", changes={"cmrl": {"edges": "topk", "k": 2}})
    inputs = inputs_of("mm_orient")
    whole = make_batch(inputs, example_lengths(inputs, 9))
    parts = [whole.take(rows) for rows in (range(5), range(5, 9))]
    found = run_batches(model, parts, TASKS, torch.device("cpu"), keep_attention=True).neighbours
    assert list(found) == ["ii", "tt", "it", "ti"]
    for row, near in enumerate(found["ii"]):
        rows = [other for other, _ in near]
        assert row not in rows
        assert len(rows) >= 2
        assert set(rows) <= set(range(5) if row < 5 else range(5, 9))
        cosines = [cosine for _, cosine in near]
        assert cosines == sorted(cosines, reverse=True)
    assert not run_batches(model, parts, TASKS, torch.device("cpu")).neighbours


def test_the_page_stands_without_the_store(store: Path, tmp_path: Path) -> None:
    looks = look(TrainedRun(run_of(store, "text_tokens"), stores=(tmp_path,)))
    assert looks.samples == ()
    assert "Attention is not shown" in looks.how
    assert "no feature store" in looks.how


def test_a_model_without_attention_has_no_such_section(store: Path) -> None:
    assert look(TrainedRun(run_of(store, "text_tokens"))).how == ""


def test_the_choice_depends_on_the_seed_alone() -> None:
    task = Task("mood", "classification", ("a", "b"))
    labels = {"mood": np.array([0, 1, -1, 0, 0, 1, 0])}
    chosen = choose(labels, task, 2, 3, 7)
    assert chosen == choose(labels, task, 2, 3, 7)
    assert [int(labels["mood"][row]) for row in chosen] == [0, 0, 1, 1]
    assert len(choose(labels, task, 99, 0, 7)) == 6
    assert len(choose({}, None, 2, 0, 100)) == 6


def test_words_come_from_the_tokenizer_that_made_the_ids() -> None:
    from affectflow.pipeline.errors import WeightsError
    from affectflow.pipeline.weights import entry, identity_of

    try:
        weights = identity_of(entry("all-MiniLM-L6-v2"))
    except (WeightsError, StoreError):
        pytest.skip("the offline text encoder is not installed")
    recipe = {"identity": {"weights": weights}}
    ids = [np.array([101, 7592, 102])]
    assert words_of(ids, recipe) == [["[CLS]", "hello", "[SEP]"]]
    other = {**weights, "files": {**weights["files"], "tokenizer.json": "0" * 64}}
    assert words_of(ids, {"identity": {"weights": other}}) == [["#101", "#7592", "#102"]]
