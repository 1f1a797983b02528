from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Failure, Row, Sample
from affectflow.pipeline.stages.clean_text import SCHEMA

for package in ("ftfy", "emoji", "regex"):
    pytest.importorskip(package, reason="needs the extra 'text'")


def run(texts, **options):
    stage = make_stage("clean_text", options)
    stage.open()
    rows = [Row(Sample(key=str(n), split="train", text=t), Path()) for n, t in enumerate(texts)]
    return [result["clean_text"] for result in stage.compute([stage.load(row) for row in rows])]


def test_columns_fit_the_schema():
    results = run(["LOOK imgflip.com imgflip.com", "", "हिन्दी 😂"])
    table = pa.Table.from_pylist(results, schema=SCHEMA)
    assert table.column("rules").to_pylist()[0] == [("case", 1), ("watermark", 2)]
    assert table.column("text").to_pylist() == ["look", "", "हिन्दी face with tears of joy"]
    assert table.column("raw").to_pylist()[0] == "LOOK imgflip.com imgflip.com"
    assert table.column("no_text").to_pylist() == [False, True, False]
    assert table.column("flags").to_pylist() == [["watermark"], [], []]


def test_no_text_policies():
    (empty,) = run(["#NAME?"])
    assert (empty["text"], empty["no_text"]) == ("", True)
    (placed,) = run(["#NAME?"], no_text="placeholder", placeholder="nothing here")
    assert (placed["text"], placed["no_text"], placed["raw"]) == ("nothing here", True, "#NAME?")
    assert placed["flags"][-1] == "placeholder"
    skipped, kept = run(["#NAME?", "hi"], no_text="skip")
    assert isinstance(skipped, Failure)
    assert (skipped.status, skipped.code) == ("absent", "no_text")
    assert kept["text"] == "hi"


def test_author_mode_needs_no_emoji_tables():
    stage = make_stage("clean_text", {"mode": "author"})
    assert set(stage.libraries()) == {"regex"}
    assert run(["Hello, 2 worlds!"], mode="author")[0]["text"] == "hello worlds"


def test_identity_names_the_rules_in_order():
    rules = make_stage("clean_text", {}).identity()["rules"]
    assert rules.index("html") < rules.index("url") < rules.index("characters")
