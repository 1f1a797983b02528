from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.report_run import (
    CLASSES,
    SCRIPT,
    UNICODE_KEY,
    clean_row,
    inpaint_row,
    paraphrase_row,
    regions_row,
    run_fake,
    with_table,
)

from affectflow import open_store
from affectflow.pipeline.engine.session import Session
from affectflow.pipeline.errors import UsageError
from affectflow.pipeline.report.inspect import (
    Inspection,
    OutputFacts,
    array_facts,
    inspect_sample,
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    made = run_fake(tmp_path_factory.mktemp("run"))[0]
    for stage, row in (
        ("text_regions", regions_row),
        ("inpaint", inpaint_row),
        ("clean_text", clean_row),
        ("paraphrase", paraphrase_row),
    ):
        made = with_table(made, stage, row)
    return with_table(made, "clean_text", clean_row, reads="paraphrase")


def of(found: Inspection, output: str) -> OutputFacts:
    return next(facts for facts in found.outputs if facts.output == output)


def test_a_good_sample_is_shown_whole(session: Session) -> None:
    found = inspect_sample(session, "m9")
    assert found.shard == 1
    assert found.sample["labels"] == {"mood": CLASSES[1]}
    assert found.sample["text"] == "caption number 9"
    assert found.sample["image_width"] == 200
    folder = session.plan.nodes["seen"].folders[0]
    opened = open_store(session.layout.root)
    keys, values = opened.feature(folder.dataset, "seen").read()
    value = values[keys.tolist().index("m9")].astype(np.float64)
    facts = of(found, "seen").facts
    assert facts["shape"] == list(value.shape)
    assert facts["norm"] == pytest.approx(np.linalg.norm(value))
    assert facts["max"] == value.max()
    assert of(found, "heard").status == "absent"
    assert of(found, "heard").reason == "no_audio"
    assert of(found, "text_regions").facts["quads"] == {"count": 2}
    inpaint = of(found, "inpaint").facts
    assert inpaint["outcome"] == "painted"
    assert inpaint["image"]["size"] == [200, 200]
    assert of(found, "paraphrase").status == "ok"


def test_a_failed_sample_comes_with_its_cause(session: Session) -> None:
    failed = of(inspect_sample(session, "m2"), "seen")
    assert (failed.status, failed.reason) == ("failed", "asked_to_fail")
    assert failed.message == "'m2' was configured to fail"
    assert failed.hint == "nothing to do"
    broken = inspect_sample(session, "broken")
    assert broken.sample["status"] == "decode_error"
    assert SCRIPT in of(broken, "inpaint").message
    assert of(broken, "inpaint").hint == "obtain it again"


def test_cleaned_text_and_rules_are_shown(session: Session) -> None:
    facts = of(inspect_sample(session, f"{SCRIPT}.png"), "clean_text").facts
    assert facts["rules"] == {"html_tags": 2}
    assert "<" not in facts["text"]
    assert SCRIPT in facts["raw"]


def test_siblings_are_named(session: Session) -> None:
    found = inspect_sample(session, "m0")
    assert found.siblings == ("twin",)
    assert found.group_size == 2
    assert inspect_sample(session, "m7").siblings == ()


def test_an_unlabelled_sample_says_so(session: Session) -> None:
    assert inspect_sample(session, "m11").sample["labels"] == {"mood": "(no label)"}


def test_children_are_found_by_their_own_key_and_with_their_source(session: Session) -> None:
    rows = session.samples.all_rows(["key", "split"]).to_pylist()
    split = {row["key"]: row["split"] for row in rows}
    key = next(name for name in ("m6", "m7", "m8") if split[name] == "train")
    child = inspect_sample(session, f"{key}~p0")
    assert child.sample["key"] == key
    assert [(facts.node, facts.key) for facts in child.outputs] == [
        ("clean_text.augmented", f"{key}~p0")
    ]
    source = inspect_sample(session, key).outputs
    assert [f.key for f in source if f.node == "clean_text.augmented"] == [f"{key}~p0"]
    with pytest.raises(UsageError, match="'nobody~p0'"):
        inspect_sample(session, "nobody~p0")


@pytest.mark.parametrize(
    ("key", "near"), [("M10", "m10"), ("brokn", "broken"), ("twin.png", "twin"), ("memé", "memé")]
)
def test_an_unknown_key_names_near_ones(session: Session, key: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        inspect_sample(session, key)
    assert f"'{key}'" in caught.value.message
    assert near in caught.value.hint


def test_a_key_like_no_other_shows_what_keys_look_like(session: Session) -> None:
    with pytest.raises(UsageError, match="keys look like m0, m1, m2"):
        inspect_sample(session, "#" * 40)


def test_everything_is_json(session: Session) -> None:
    keys: list[Any] = session.samples.all_rows(["key"])["key"].to_pylist()
    assert UNICODE_KEY in keys
    for key in keys:
        value = json.loads(json.dumps(inspect_sample(session, key).to_json()))
        assert value["key"] == key
        children = sum(facts["node"] == "clean_text.augmented" for facts in value["outputs"])
        assert children == (value["sample"]["split"] == "train")
        assert len(value["outputs"]) == 6 + children


def test_odd_arrays_are_described() -> None:
    assert array_facts(np.zeros((0, 4), np.float16)) == {
        "shape": [0, 4],
        "dtype": "float16",
        "empty": True,
    }
    facts = array_facts(np.array([np.nan, 3.0, np.inf, -4.0], np.float32))
    assert facts["finite_share"] == 0.5
    assert (facts["min"], facts["max"], facts["norm"]) == (-4.0, 3.0, 5.0)
    assert array_facts(np.array([np.nan]))["finite_share"] == 0.0
