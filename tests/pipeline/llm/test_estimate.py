import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.fake_openai import KEY, FakeOpenAI
from support.paraphrase_stage import ask, captions, config, opened
from typer.testing import CliRunner

from affectflow.pipeline.cli.llm import app, spending
from affectflow.pipeline.errors import ConfigError, DatasetError, StoreError, UsageError
from affectflow.pipeline.llm.captions import captions_of_file, captions_of_store
from affectflow.pipeline.llm.estimate import ENOUGH, estimate
from affectflow.pipeline.llm.ledger import Ledger


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI() as fake:
        yield fake


def predicted(settings, texts):
    return estimate(settings.recipe(), texts, Ledger(settings.folder), settings.terms().price)


def test_estimate_matches_the_ledger_within_one_percent(server, tmp_path):
    settings = config(tmp_path, server.url)
    texts = captions(200)
    stage = opened(settings)
    ask(stage, texts[:30])
    before = Ledger(settings.folder)
    before.refresh()
    found = predicted(settings, texts)
    assert (found.captions, found.cached) == (200, 30)
    assert found.basis == "30 replies in the ledger"
    ask(stage, texts[30:])
    after = Ledger(settings.folder)
    after.refresh()
    spent = after.used() - before.used()
    assert found.expected.requests == spent.requests == 170
    assert found.expected.input_tokens == pytest.approx(spent.input_tokens, rel=0.01)
    assert found.expected.output_tokens == pytest.approx(spent.output_tokens, rel=0.01)
    assert found.expected.cost_usd == pytest.approx(spent.cost_usd, rel=0.01)
    assert found.most.cost_usd >= spent.cost_usd
    assert predicted(settings, texts).expected.cost_usd == 0


def test_without_replies_the_estimate_is_rough_and_the_bound_holds(server, tmp_path):
    settings = config(tmp_path, server.url)
    texts = captions(ENOUGH - 1)
    found = predicted(settings, [*texts, *texts, "  "])
    assert "rough" in found.basis
    assert found.expected.requests == len(texts)
    ask(opened(settings), texts)
    assert found.expected.input_tokens == pytest.approx(server.input_tokens, rel=0.5)
    assert found.most.input_tokens >= server.input_tokens
    assert found.most.output_tokens >= server.output_tokens


def test_commands_print_estimate_and_spending(server, tmp_path):
    settings = config(tmp_path, server.url)
    texts = captions(25)
    file = tmp_path / "captions.txt"
    file.write_text("\n".join(texts))
    options = ["--captions", str(file), "--store", str(tmp_path)]
    for key in ("model", "base_url", "price_table", "reply_tokens"):
        options += ["--set", f"paraphrase.{key}={getattr(settings, key)}"]
    done = CliRunner().invoke(app, ["estimate", *options, "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["expected"]["requests"] == 25
    assert server.calls.total() == 0
    ask(opened(settings), texts)
    value = json.loads(CliRunner().invoke(app, ["estimate", *options, "--json"]).stdout)
    assert (value["cached"], value["expected"]["requests"]) == (25, 0)
    done = CliRunner().invoke(app, ["spend", "--store", str(tmp_path), "--json"])
    total = json.loads(done.stdout)
    assert total["total"]["cost_usd"] == pytest.approx(server.cost_usd)
    assert total["models"][0]["answered"] == 25
    done = CliRunner().invoke(app, ["spend", "--store", str(tmp_path)])
    assert "tiny" in done.stdout
    done = CliRunner().invoke(app, ["estimate", *options])
    assert "25 captions from captions.txt, 25 answered" in " ".join(done.stdout.split())


def test_unknown_price_is_said_and_not_guessed(tmp_path):
    file = tmp_path / "c.txt"
    file.write_text("a b c\n")
    options = ["--captions", str(file), "--store", str(tmp_path), "--set", "paraphrase.model=m"]
    done = CliRunner().invoke(app, ["estimate", *options, "--json"])
    assert json.loads(done.stdout)["expected"]["cost_usd"] is None
    assert "unknown" in CliRunner().invoke(app, ["estimate", *options]).stdout


def test_wrong_options_are_one_error(tmp_path):
    file = tmp_path / "c.txt"
    file.write_text("a b c\n")
    cases = [
        (["estimate", "--set", "paraphrase.model=m"], UsageError),
        (["estimate", "--captions", str(file)], ConfigError),
        (["estimate", "--captions", str(file), "--set", "other.x=1"], UsageError),
        (["estimate", "--captions", str(file), "--set", "paraphrase.nope=1"], ConfigError),
    ]
    for arguments, kind in cases:
        assert isinstance(CliRunner().invoke(app, arguments).exception, kind)


def test_spending_of_an_empty_ledger(tmp_path):
    value = spending(Ledger(tmp_path / "llm"))
    assert value["models"] == []
    assert value["total"]["requests"] == 0
    assert not (tmp_path / "llm").exists()


def test_captions_of_files(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n"b"\n\n{"text": "c", "split": "test"}\n')
    assert captions_of_file(path) == ["a", "b"]
    for text in ("{", "3", '{"x": 1}'):
        path.write_text(text)
        with pytest.raises(DatasetError, match=r"c\.jsonl:1"):
            captions_of_file(path)
    with pytest.raises(DatasetError):
        captions_of_file(tmp_path / "absent.txt")


def test_captions_of_a_store_are_those_of_original_training_rows(tmp_path):
    folder = tmp_path / "samples" / "mini@0"
    folder.mkdir(parents=True)
    rows = {
        "key": ["a", "b", "c", "a~p0"],
        "split": ["train", "test", "train", "train"],
        "text": ["One", "Two", "Three", "Child"],
        "source": [None, None, None, "a"],
    }
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")
    texts, origin = captions_of_store(tmp_path, "mini")
    assert texts == ["One", "Three"]
    assert "raw" in origin
    cleaned = tmp_path / "tables" / "mini" / "clean_text" / "f"
    cleaned.mkdir(parents=True)
    table = pa.table({"key": ["a", "b", "c"], "text": ["one", "two", ""]})
    pq.write_table(table, cleaned / "part-00000.parquet")
    assert captions_of_store(tmp_path, "mini") == (["one"], "clean text")
    with pytest.raises(StoreError, match="no samples"):
        captions_of_store(tmp_path, "absent")
