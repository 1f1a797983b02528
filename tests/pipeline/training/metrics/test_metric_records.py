"""Every recorded number of the original implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.metric_records import HAS_RECORDS, Task, cases, number, one_hot, record, vectors

from affectflow.pipeline.errors import InvalidInput
from affectflow.pipeline.training.metrics import compute, compute_predictions
from affectflow.pipeline.training.metrics.classification import (
    confusion,
    ones,
    per_class,
    precision_recall_f1,
    scores,
)
from affectflow.pipeline.training.metrics.memotion import OFFICIAL
from affectflow.pipeline.training.metrics.memotion import scores as memotion_scores
from affectflow.pipeline.training.metrics.multilabel import IEMOCAP_EMOTIONS, decode_pairs
from affectflow.pipeline.training.metrics.replication import (
    mintrec,
    mult_sentiment,
    mult_weighted_accuracy,
)

pytestmark = pytest.mark.skipif(
    not HAS_RECORDS, reason="needs shared/golden/fusion beside the checkout"
)
EXACT = 1e-12
MMSA = {
    "MOSI": {
        "Has0_acc_2": "has0_acc2",
        "Has0_F1_score": "has0_f1",
        "Non0_acc_2": "non0_acc2",
        "Non0_F1_score": "non0_f1",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "SIMS": {
        "Mult_acc_2": "acc2",
        "Mult_acc_3": "acc3",
        "Mult_acc_5": "acc5",
        "F1_score": "f1",
        "MAE": "mae",
        "Corr": "corr",
    },
}
MMSA |= {"MOSEI": MMSA["MOSI"], "SIMSV2": MMSA["SIMS"]}
MULT = {
    "MAE": "mae",
    "Correlation Coefficient": "corr",
    "mult_acc_7": "acc7",
    "mult_acc_5": "acc5",
    "F1 score": "f1",
    "Accuracy": "acc2",
}


def agree(name: str, ours: float, recorded: float) -> None:
    if math.isnan(recorded):
        assert math.isnan(ours), name
        return
    tolerance = {"mae": 1e-6 * max(1.0, abs(recorded)), "corr": 1e-9}.get(name, EXACT)
    assert abs(ours - recorded) <= tolerance, (name, ours, recorded)


def regression(truth: np.ndarray, prediction: np.ndarray, family: str) -> dict[str, float]:
    task = Task("value", "regression", (), -3.0, 3.0)
    return compute([task], {"value": truth}, {"value": prediction[:, None]}, family)["value"]


@pytest.mark.parametrize("dataset", sorted(MMSA))
@pytest.mark.parametrize("case", cases("metrics_mmsa", "regression"))
def test_mmsa_regression(case: str, dataset: str) -> None:
    found = record("metrics_mmsa")["regression"][case]
    truth, prediction = vectors(found)
    family = "sims" if dataset.startswith("SIMS") else "mosi"
    if case == "nan_prediction":
        with pytest.raises(InvalidInput, match="row 3"):
            regression(truth, prediction, family)
        return
    ours = regression(truth, prediction, family)
    full, rounded = found["full"][dataset], found["rounded"][dataset]
    if "raises" in full:
        # The original fails where no truth is off zero; here those metrics are NaN with a count.
        assert case == "all_zero_truth"
        assert ours["non0_n"] == 0
        assert math.isnan(ours["non0_acc2"])
        assert math.isnan(ours["non0_f1"])
        return
    for theirs, name in MMSA[dataset].items():
        agree(name, ours[name], number(full[theirs]))
        if abs(ours[name] * 1e4 % 1 - 0.5) > 1e-2:
            assert round(ours[name], 4) == pytest.approx(
                number(rounded[theirs]), abs=1e-6 * max(1, abs(ours[name])), nan_ok=True
            )
    assert ours["corr_undefined"] == math.isnan(number(full["Corr"]))


def test_recorded_vectors_are_drawn_right() -> None:
    found = record("metrics_mmsa")["regression"]["large_random"]
    truth, prediction = vectors(found)
    assert prediction.sum(dtype=np.float64) == pytest.approx(
        found["check"]["prediction_sum_float64"], abs=1e-9
    )
    assert truth.sum(dtype=np.float64) == pytest.approx(
        found["check"]["truth_sum_float64"], abs=1e-9
    )


@pytest.mark.parametrize("case", cases("metrics_mult", "sentiment"))
def test_mult_sentiment(case: str) -> None:
    found = record("metrics_mult")["sentiment"][case]
    truth, prediction = vectors(found)
    if case == "nan_prediction":
        with pytest.raises(InvalidInput):
            regression(truth, prediction, "mosi")
        return
    for exclude_zero in (True, False):
        recorded = found[f"exclude_zero_{str(exclude_zero).lower()}"]
        ours = mult_sentiment(truth, prediction, exclude_zero=exclude_zero)
        if "raises" in recorded:
            assert math.isnan(ours["f1"])
            assert math.isnan(ours["acc2"])
            continue
        for theirs, name in MULT.items():
            agree(name, ours[name], number(recorded[theirs]))
    recorded = found["weighted_accuracy"]
    ours_weighted = mult_weighted_accuracy(truth, prediction)
    expected = math.nan if isinstance(recorded, dict) else number(recorded)
    agree("weighted_accuracy", ours_weighted, expected)


@pytest.mark.parametrize("case", cases("metrics_mult", "iemocap"))
def test_iemocap(case: str) -> None:
    found = record("metrics_mult")["iemocap"][case]
    logits, truth = np.asarray(found["logits"], np.float32), np.asarray(found["truth"], np.float32)
    task = Task("emotion", "multilabel", IEMOCAP_EMOTIONS)
    decided = decode_pairs(logits.reshape(len(logits), -1))
    ours = compute_predictions([task], {"emotion": truth}, {"emotion": decided}, "iemocap")
    for index, emotion in enumerate(("Neutral", "Happy", "Sad", "Angry")):
        for recorded in (found["all"][emotion], found["single"][str(index)][emotion]):
            name = emotion.lower()
            agree("acc", ours["emotion"][f"{name}/accuracy"], recorded["Accuracy"])
            agree("f1", ours["emotion"][f"{name}/weighted_f1"], recorded["F1 Score"])
    mean = np.mean([found["all"][emotion]["F1 Score"] for emotion in found["all"]])
    agree("mean", ours["mean"]["weighted_f1"], mean)


@pytest.mark.parametrize("case", cases("metrics_f1", "cases"))
def test_f1_averages(case: str) -> None:
    found = record("metrics_f1")["cases"][case]
    truth, prediction = (np.asarray(found[part]) for part in ("truth", "prediction"))
    every = found["labels_all"]["labels"]
    for setting, labels in (("labels_from_data", "present"), ("labels_all", "fixed")):
        recorded = found[setting]
        matrix = confusion(truth, prediction, len(every), ones(len(truth)))
        agree("accuracy", float(scores(matrix)["accuracy"][0]), recorded["accuracy"])
        ours = per_class(matrix)
        for name in ("precision", "recall", "f1", "support"):
            values = getattr(ours, name)[0][recorded["labels"]]
            np.testing.assert_allclose(values, recorded["per_class"][name], rtol=0, atol=EXACT)
        for kind in ("micro", "macro", "weighted"):
            triple = precision_recall_f1(truth, prediction, len(every), kind, labels)
            for name, value in zip(("precision", "recall", "f1"), triple, strict=True):
                agree(f"{kind} {name}", value, recorded[kind][name])
    task = Task("task", classes=tuple(map(str, every)))
    whole = compute([task], {"task": truth}, {"task": one_hot(prediction, len(every))})["task"]
    agree("macro", whole["macro_f1"], found["labels_all"]["macro"]["f1"])


@pytest.mark.parametrize("case", cases("metrics_mintrec", "cases"))
def test_mintrec(case: str) -> None:
    found = record("metrics_mintrec")["cases"][case]
    truth, prediction = (np.asarray(found[part]) for part in ("truth", "prediction"))
    ours = mintrec(truth, prediction, found["classes"])
    names = {"acc": "accuracy", "f1": "macro_f1", "prec": "macro_precision", "rec": "macro_recall"}
    for theirs, name in names.items():
        agree(theirs, ours[name], found["original"][theirs])
    for theirs, name in {"prec": "precision", "rec": "recall", "f1": "f1"}.items():
        agree(theirs, ours[f"weighted_{name}"], found["weighted_sklearn"][theirs])


@pytest.mark.parametrize("case", cases("memotion_scoring", "scoring"))
def test_memotion(case: str) -> None:
    from affectflow.pipeline.evaluation.memotion_submission import decode

    found = record("memotion_scoring")["scoring"][case]
    version = found["version"]
    tables = []
    for part in ("truth", "prediction"):
        rows = [decode(line, version) for line in found[part]]
        tables.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
    for setting, recorded in found["scores"].items():
        if setting == "official":
            continue
        kind, _, labels = setting.partition("/")
        classes = "present" if labels == "labels_from_data" else "fixed"
        ours = memotion_scores(version, *tables, kind=kind, classes=classes)
        for name in ("task_a", "task_b", "task_c"):
            agree(name, ours[name][0], recorded[name])
        for name in ("task_b", "task_c"):
            for emotion, value in recorded[f"{name}_per_emotion"].items():
                agree(emotion, ours[f"{name}/{emotion}"][0], value)
    official = memotion_scores(version, *tables)
    assert f"{OFFICIAL[version]}/labels_from_data" == found["scores"]["official"]
    agree("official", official["task_c"][0], found["scores"][found["scores"]["official"]]["task_c"])
