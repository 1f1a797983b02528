import json
from pathlib import Path

import pyarrow as pa
import pytest
from support.fake_openai import KEY, FakeOpenAI
from support.paraphrase_stage import ask, captions, config, opened, outcomes, row

from affectflow.pipeline.errors import ConfigError, RowAbsent, RowError
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Failure
from affectflow.pipeline.stages.paraphrase import SCHEMA, Config, Stage, profile


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def stage(tmp_path):
    return opened(config(tmp_path, "http://127.0.0.1:9/v1", provider="replay"))


@pytest.mark.parametrize("split", ["val", "test", ""])
def test_rows_that_are_not_for_training_are_refused(stage, split):
    with pytest.raises(RowAbsent) as caught:
        stage.load(row("a b c", split=split))
    assert caught.value.code == "not_train"


def test_children_are_not_paraphrased_again(stage):
    with pytest.raises(RowAbsent) as caught:
        stage.load(row("a b c", source="b.png"))
    assert caught.value.code == "not_train"


def test_rows_without_text_are_absent(stage):
    for text in ("", "   "):
        with pytest.raises(RowAbsent) as caught:
            stage.load(row(text))
        assert caught.value.code == "no_text"


def test_excluded_classes_are_left_alone(tmp_path):
    settings = config(tmp_path, "http://a/v1", provider="replay", exclude_classes={"humour": [2]})
    stage = opened(settings)
    for labels in ({"humour": 2}, {"humour": [0, 2]}):
        with pytest.raises(RowAbsent) as caught:
            stage.load(row("a b c", labels=labels))
        assert caught.value.code == "excluded_class"
    for labels in ({"humour": 1}, {"humour": None}, {}, {"humour": [1]}):
        assert stage.load(row("a b c", labels=labels)) == "a b c"


def test_a_caption_of_extreme_length_fails_alone(stage):
    with pytest.raises(RowError) as caught:
        stage.load(row("x" * 4001))
    assert caught.value.code == "caption_too_long"
    assert caught.value.code != "not_train"


def test_a_failed_cleaner_is_named(stage):
    failed = row("a b c")
    failed.upstream["clean_text"] = Failure("boom", "it broke")
    with pytest.raises(RowError, match="clean_text: it broke"):
        stage.load(failed)


def test_replay_miss_lists_the_key(stage):
    (value,) = ask(stage, ["never asked"])
    assert value.code == "ledger_miss"
    assert stage.config.recipe().key("never asked") in value.message
    assert not Path(stage.config.ledger).exists()


def test_leak_of_a_test_caption_is_dropped(server, tmp_path):
    leaked = "Look here what a day"
    corpus = [
        ("a", "train", "what a day"),
        ("t", "test", "so now WHAT a day!"),
        ("v", "val", leaked),
    ]
    (value,) = ask(opened(config(tmp_path, server.url, max_per_parent=5), corpus), ["what a day"])
    assert {entry["reason"] for entry in value["dropped"]} == {"equals_held_out"}
    assert len(value["dropped"]) == 2
    assert len(value["children"]) == 3


def test_more_per_parent_keeps_the_indices_of_the_reply(server, tmp_path):
    (one,) = ask(opened(config(tmp_path, server.url)), ["what a day"])
    (three,) = ask(opened(config(tmp_path, server.url, max_per_parent=3)), ["what a day"])
    assert three["children"][:1] == one["children"]
    assert [child["index"] for child in three["children"]] == [0, 1, 2]
    assert server.arrivals.total() == 1


def test_rows_fit_the_schema(server, tmp_path):
    values = ask(opened(config(tmp_path, server.url)), captions(3))
    table = pa.Table.from_pylist(values, schema=SCHEMA)
    assert table.schema == SCHEMA
    assert table.to_pylist() == values
    stage = Stage(Config())
    assert stage.outputs()[0].schema == SCHEMA


def test_without_the_captions_of_the_dataset_nothing_is_asked(server, tmp_path):
    stage = Stage(config(tmp_path, server.url))
    with pytest.raises(ConfigError, match="not opened"):
        stage.compute(["a b c"])
    stage.open()
    with pytest.raises(ConfigError, match="leaks"):
        stage.compute(["a b c"])
    assert server.calls.total() == 0


def test_what_changes_a_result_and_what_does_not(tmp_path):
    base = config(tmp_path, "http://a/v1")
    for change in (
        {"budget_usd": 3.0},
        {"concurrency": 9},
        {"batch_size": 3},
        {"confirm_paid": False},
        {"ledger": "/other"},
        {"timeout_s": 1.0},
        {"api_key_variable": "X"},
        {"batch": {"wait_s": 1.0}},
    ):
        other = config(tmp_path, "http://a/v1", **change)
        assert other.result_parameters() == base.result_parameters()
    for change in (
        {"model": "b"},
        {"n": 3},
        {"temperature": None},
        {"strict_count": True},
        {"max_per_parent": 2},
        {"label_words": ["x"]},
        {"provider": "rules"},
    ):
        other = config(tmp_path, "http://a/v1", **change)
        assert other.result_parameters() != base.result_parameters()
    assert set(Config.RUNTIME) - {"device"} <= set(Config.model_fields)


def test_profiles_and_defaults_construct():
    assert make_stage("paraphrase", profile("offline")).identity()["guards"] == 2
    with pytest.raises(ConfigError, match="model is not set"):
        make_stage("paraphrase", profile("paper")).identity()
    with pytest.raises(ConfigError, match="model is not set"):
        make_stage("paraphrase", {}).identity()
    with pytest.raises(ConfigError, match="prompt version"):
        make_stage("paraphrase", {"provider": "rules", "prompt_version": "x"}).identity()
    with pytest.raises(ConfigError, match="ledger"):
        make_stage("paraphrase", {"model": "m"}).open()


def test_users_are_warned_before_captions_leave(tmp_path):
    warnings = Stage(config(tmp_path, "http://host/v1")).warnings()
    assert "http://host/v1" in warnings[0]
    assert "names of persons" in warnings[0]


def test_strict_count_takes_exactly_n(server, tmp_path):
    server.reply = lambda caption: json.dumps([f"one {caption}", f"two {caption}"])
    values = ask(opened(config(tmp_path, server.url, strict_count=True)), ["what a day"])
    assert outcomes(values) == ["parse_failed"]
    values = ask(opened(config(tmp_path, server.url, provider="replay")), ["what a day"])
    assert outcomes(values) == ["paraphrased"]
