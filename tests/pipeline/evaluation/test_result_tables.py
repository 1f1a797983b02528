"""Aggregates over seeds, result tables, published numbers, confusion matrices."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.metric_records import Task

from affectflow.pipeline.errors import ConfigError, InvalidInput
from affectflow.pipeline.evaluation import published as published_module
from affectflow.pipeline.evaluation.aggregate import aggregate
from affectflow.pipeline.evaluation.baselines import constant_results
from affectflow.pipeline.evaluation.bootstrap import intervals
from affectflow.pipeline.evaluation.confusion import confusions
from affectflow.pipeline.evaluation.flags import flags
from affectflow.pipeline.evaluation.published import FOLDER, published
from affectflow.pipeline.evaluation.tables import MAJORITY, Row, results_table
from affectflow.pipeline.training.metrics import compute_predictions
from affectflow.pipeline.training.metrics.names import METRICS

TASK = Task("task", classes=("a", "b"))
VALUE = Task("value", "regression", (), -3.0, 3.0)
LABELS = {
    "task": np.array([0, 0, 0, 1, 1]),
    "value": np.array([-1, 0, 1, 2, -2], np.float32),
}


def guess(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=5).astype(np.float32)
    return {"task": generator.integers(0, 2, 5), "value": values}


def row(name: str = "ours", **facts: str) -> Row:
    each = {seed: compute_predictions([TASK, VALUE], LABELS, guess(seed)) for seed in (1, 2, 3)}
    return Row(
        name,
        aggregate(each),
        facts=facts,
        intervals=intervals([TASK, VALUE], LABELS, guess(1), resamples=20),
    )


def majority() -> dict:
    return constant_results([TASK, VALUE], LABELS, LABELS)


def test_mean_and_sample_deviation_of_unrounded_values() -> None:
    per_seed = {seed: {"task": {"accuracy": value}} for seed, value in ((1, 0.12344), (2, 0.12349))}
    found = aggregate(per_seed)["task"]["accuracy"]
    assert found.mean == pytest.approx(0.123465, abs=1e-12)
    assert found.std == pytest.approx(0.00005 / math.sqrt(2), abs=1e-12)
    assert found.values == {"1": 0.12344, "2": 0.12349}
    rounded = aggregate(per_seed, round_before_mean=True)["task"]["accuracy"]
    assert rounded.mean == pytest.approx((0.1234 + 0.1235) / 2, abs=1e-12)
    assert rounded.values == found.values


def test_one_seed_has_no_deviation() -> None:
    found = aggregate({1: {"task": {"accuracy": 0.5}}})["task"]["accuracy"]
    assert math.isnan(found.std)
    assert found.to_json()["std"] is None


def test_undefined_correlations_are_counted() -> None:
    per_seed = {
        seed: {"value": {"corr": corr, "corr_undefined": float(math.isnan(corr))}}
        for seed, corr in ((1, 0.5), (2, math.nan), (3, math.nan))
    }
    found = aggregate(per_seed)["value"]
    assert math.isnan(found["corr"].mean)
    assert found["corr"].undefined == 2
    assert "corr_undefined" not in found


def test_seeds_must_report_the_same() -> None:
    with pytest.raises(InvalidInput, match="task/accuracy"):
        aggregate({1: {"task": {"accuracy": 0.5}}, 2: {"task": {}}})
    with pytest.raises(InvalidInput, match="no seed"):
        aggregate({})


def test_majority_is_the_first_row() -> None:
    table = results_table("Numbers", "test", majority(), [row(features="abc1")])
    assert [r.name for r in table.rows] == [MAJORITY, "ours"]
    text = table.markdown()
    body = [line for line in text.splitlines() if line.startswith("|")]
    assert body[2].startswith(f"| {MAJORITY} | 60.00 |")
    assert "n/a" in body[2]
    assert "Split: test. Mean ± sample std over seeds 1, 2, 3." in text
    assert "| model | features |" in text
    mean = row().results["task"]["accuracy"]
    assert f"{100 * mean.mean:.2f} ± {100 * mean.std:.2f} [" in text


def test_has0_and_non0_share_a_cell() -> None:
    table = results_table("Numbers", "test", majority(), [row()])
    head = next(line for line in table.markdown().splitlines() if line.startswith("| model"))
    assert "value Acc-2 Has0/Non0" in head
    assert "value F1 Has0/Non0" in head
    assert "Non0 |" not in head.replace("Has0/Non0 |", "")


def test_correlation_is_never_a_percentage() -> None:
    columns = [("value", "corr"), ("value", "mae")]
    table = results_table("Numbers", "test", majority(), [row()], columns=columns)
    cell = table.markdown().splitlines()[-1].split("|")[2].strip()
    assert cell.startswith(f"{row().results['value']['corr'].mean:.4f} ±")


def test_json_is_strict_unrounded_and_has_each_seed() -> None:
    table = results_table("Numbers", "test", majority(), [row()], published=published("memotion"))
    values = json.loads(table.json_text())
    ours = values["rows"][1]["results"]["task"]["accuracy"]
    assert ours["mean"] == row().results["task"]["accuracy"].mean
    assert set(ours["values"]) == {"1", "2", "3"}
    assert values["rows"][0]["results"]["value"]["corr"]["mean"] is None
    assert all(block["published"] for block in values["published"])


def test_undefined_seeds_are_shown() -> None:
    each = {seed: compute_predictions([VALUE], LABELS, guess(seed)) for seed in (1, 2)}
    each[2]["value"]["corr"] = math.nan
    first = constant_results([VALUE], LABELS, LABELS)
    table = results_table("N", "test", first, [Row("m", aggregate(each))])
    assert "NaN (1 of 2 seeds)" in table.markdown()


def test_flags_are_marked() -> None:
    found = flags([TASK], LABELS, {"task": np.zeros(5, int)})
    marked = Row("lazy", row().results, flags=found)
    text = results_table("N", "test", majority(), [marked]).markdown()
    assert "| lazy ⚠ |" in text
    assert "- ⚠ lazy, task: predictions have standard deviation 0" in text


def test_glove_and_bert_never_share_a_table() -> None:
    rows = [row("a", text_encoder="GloVe"), row("b", text_encoder="frozen BERT")]
    with pytest.raises(InvalidInput, match="not comparable"):
        results_table("N", "test", majority(), rows)
    with pytest.raises(InvalidInput, match="same name"):
        results_table("N", "test", majority(), [row(), row()])
    with pytest.raises(InvalidInput, match="has no task/makro"):
        results_table("N", "test", majority(), [row()], columns=[("task", "makro")])


def test_published_numbers_are_apart_and_have_a_source() -> None:
    tables = published("memotion")
    best = dict(zip(tables[0].columns, tables[0].rows["MM-ORIENT"], strict=True))
    assert best == {
        "sentiment": 49.94,
        "humour_scale": 38.09,
        "sarcasm_scale": 49.38,
        "offensive_scale": 43.61,
        "motivational": 66.41,
    }
    assert len(tables[0].rows) == 17
    text = results_table("N", "test", majority(), [row()], published=tables).markdown()
    ours, _, theirs = text.partition("#### Published, not measured here")
    assert "49.94" not in ours
    assert "49.94" in theirs
    assert "Source: devraj-raghuvanshi/MM-ORIENT" in theirs
    assert published("no such dataset") == ()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_published_file_validates(path: Path) -> None:
    assert published(path.stem)


@pytest.mark.parametrize(
    ("dataset", "title"),
    [
        ("mosi", "CMU-MOSI, "),
        ("mosi_unaligned_50", "CMU-MOSI, "),
        ("mosei_aligned_50", "CMU-MOSEI, "),
        ("sims_unaligned_39", "CH-SIMS, "),
        ("simsv2", "CH-SIMS v2, "),
    ],
)
def test_names_of_imports_find_their_dataset(dataset: str, title: str) -> None:
    titles = [table.title for table in published(dataset)]
    assert len(titles) == 3
    assert all(found.startswith(title) for found in titles)


@pytest.mark.parametrize(
    "dataset",
    ["mos", "mosix", "my_mosi", "memotion2", "", "sims_v2", "sims_unaligned", "../published"],
)
def test_part_of_a_name_finds_nothing(dataset: str) -> None:
    assert published(dataset) == ()


@pytest.mark.parametrize("dataset", ["mosi", "mosei", "sims", "simsv2"])
def test_published_sentiment_numbers_name_encoder_task_and_known_metrics(dataset: str) -> None:
    kinds = {metric.title: metric.kind for metric in METRICS.values()}
    tables = published(dataset)
    assert tables
    for table in tables:
        assert table.source.endswith(("text encoder BERT", "text encoder not stated"))
        assert table.task == "sentiment"
        for values in table.rows.values():
            for title, value in zip(table.columns, values, strict=True):
                assert value is not None
                # Shares are percentages; MAE and correlation never are.
                low, high = (10, 100) if kinds[title] == "share" else (0, 1)
                assert low < value < high


def test_published_numbers_of_mult_are_printed_as_they_stand_in_the_source() -> None:
    text = published("mosi_unaligned_50")[0].markdown()
    assert "MMSA@a94e65d:results/result-stat.md, text encoder BERT (verified" in text
    assert "Task: sentiment." in text
    assert "| method | Acc-2 Has0 | Acc-2 Non0 | Acc-7 | MAE | Corr |" in text
    assert "| MulT (unaligned) | 79.7 | 81.0 | 36.9 | 0.880 | 0.702 |" in text


def test_decimals_of_a_column_are_those_of_its_longest_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "{one: [35, 0.9, 34.0], two: [51, 0.951, null]}"
    text = (
        f"tables: [{{title: t, source: s, mark: m, metric: x, columns: [a, b, c], rows: {rows}}}]"
    )
    (tmp_path / "x.yaml").write_text(text)
    monkeypatch.setattr(published_module, "FOLDER", tmp_path)
    found = published("x")[0].printed()
    assert found == {"one": ("35", "0.900", "34"), "two": ("51", "0.951", "–")}


def test_a_ragged_published_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "tables: [{title: t, source: s, mark: m, metric: x, columns: [a, b], rows: {one: [1.0]}}]"
    )
    (tmp_path / "ragged.yaml").write_text(text)
    monkeypatch.setattr(published_module, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="row 'one' has 1 values, not 2"):
        published("ragged")


def test_confusion_matrix() -> None:
    labels = {"task": np.array([0, 0, 1, -1])}
    (found,) = confusions([TASK], labels, {"task": np.array([0, 1, 1, 1])})
    np.testing.assert_array_equal(found.counts, [[1, 1], [0, 1]])
    assert found.per_class()[0] == {
        "class": "a",
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
        "predicted": 1,
    }
    assert "| a | 100.00 | 50.00 | 66.67 | 2 | 1 |" in found.markdown()
    json.dumps(found.to_json())


def test_confusions_of_a_regression_are_its_bins() -> None:
    found = confusions([VALUE], LABELS, guess(1))
    assert [c.view for c in found] == ["acc7", "acc5", "acc3", "has0", "non0"]
    assert found[0].classes == ("-3", "-2", "-1", "0", "+1", "+2", "+3")
    assert found[0].counts.sum() == 5
    assert found[-1].counts.sum() == 4
