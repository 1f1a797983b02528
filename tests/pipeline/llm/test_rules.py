from support.paraphrase_stage import ask, config, opened

from affectflow.pipeline.llm.rules import paraphrase

KEY = "0f" * 32
TEXT = "i can't see my happy friends when you are at home"


def test_same_key_same_versions_and_no_network(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    versions = paraphrase(TEXT, KEY, 5)
    assert versions == paraphrase(TEXT, KEY, 5)
    assert versions != paraphrase(TEXT, "a1" * 32, 5)
    assert len(set(versions)) == 5
    assert TEXT not in versions
    stage = opened(config(tmp_path, "http://127.0.0.1:9/v1", provider="rules", ledger=None))
    values = ask(stage, [TEXT, "मेरा भाई सो गया", "你好"])
    assert [value["outcome"] for value in values] == ["low_quality", "declined", "declined"]
    assert len(values[0]["children"]) == 1
    assert not (tmp_path / "llm").exists()
    assert "low quality" in stage.warnings()[0]


def test_number_of_versions_is_what_was_asked_for():
    assert len(paraphrase(TEXT, KEY, 2)) == 2
    assert paraphrase("", KEY, 5) == []
