"""Warnings about models that do not learn what they should, each from a constructed failure."""

from __future__ import annotations

import pytest
import torch
from support.fusion_batches import example_lengths, inputs_of, make_batch, small_model

from affectflow.models.batch import Task
from affectflow.pipeline.training.diagnostics import diagnose, prediction_shares

TASKS = (Task("humour", "classification", ("no", "yes")),)

HEALTHY = {
    "hima/tokens/stage1/entropy": 0.7,
    "hima/regions/stage2/entropy": 0.5,
    "hima/tokens/stage2/max_weight": 0.3,
    "hima/tokens/stage2/bias_norm": 3.0,
    "graph/ii/density": 0.1,
    "graph/ii/isolated": 0.2,
    "graph/ii/mean_degree": 12.0,
    "graph/jaccard": 0.3,
    "residual_text/regions": 0.1,
    "predictions/humour/largest_share": 0.6,
    "gradient/task/humour": 0.02,
    "loss": 1.2,
}


def test_a_healthy_model_gives_no_warning() -> None:
    assert diagnose(HEALTHY) == []
    assert diagnose({f"train/{name}": value for name, value in HEALTHY.items()}) == []
    assert diagnose({}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hima/tokens/stage1/entropy", 0.99, "tokens (stage1) is uniform"),
        ("hima/regions/stage2/entropy", 0.01, "regions (stage2) looks at one entry"),
        ("hima/tokens/stage2/max_weight", 0.95, "One sample of a batch makes the bias of tokens"),
        ("graph/it/isolated", 0.93, "Graph it leaves 93%"),
        ("graph/ti/density", 0.7, "Graph ti joins 70%"),
        ("graph/jaccard", 0.97, "nearly the same edges"),
        ("graph/jaccard", 0.001, "share next to no edge"),
        ("residual_text/regions", 0.4, "leaves on average 40% of the text area in the painted"),
        ("predictions/humour/largest_share", 1.0, "head of humour predicts one class only"),
        ("gradient/task/humour", 0.0, "loss of humour gives no gradient"),
        ("loss", float("nan"), "loss is nan"),
    ],
)
def test_each_rule_fires_alone(name: str, value: float, words: str) -> None:
    for prefix in ("", "train/"):
        found = diagnose(
            {f"{prefix}{key}": HEALTHY[key] for key in HEALTHY} | {prefix + name: value}
        )
        assert len(found) == 1
        assert words in found[0]
        assert found[0].endswith(".")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hima/tokens/stage1/entropy", 0.98),
        ("hima/tokens/stage1/entropy", 0.02),
        ("hima/tokens/stage2/max_weight", 0.9),
        ("graph/ii/isolated", 0.9),
        ("graph/ii/density", 0.5),
        ("residual_text/regions", 0.25),
    ],
)
def test_limits_themselves_are_fine(name: str, value: float) -> None:
    assert diagnose({name: value}) == []


def test_context_is_told() -> None:
    means = {"hima/tokens/stage1/entropy": 0.999, "gradient/part/hima": 3e-7}
    assert "gradient norm of its parameters 3.0e-07" in diagnose(means)[0]
    means = {f"train/{name}": value for name, value in means.items()}
    assert "gradient norm of its parameters 3.0e-07" in diagnose(means)[0]
    means = {
        "val/predictions/humour/largest_share": 1.0,
        "val/predictions/humour/accuracy": 0.612,
        "val/predictions/humour/majority": 0.613,
    }
    assert "(accuracy 61.2%, the most frequent class of train alone 61.3%)" in diagnose(means)[0]


def test_shares_of_predicted_classes() -> None:
    found = prediction_shares({"a": [0, 5, 0], "b": [1, 3], "c": [0, 0]})
    assert found == {"predictions/a/largest_share": 1.0, "predictions/b/largest_share": 0.75}


def means_of_a_batch(**changes: object) -> dict[str, float]:
    inputs = inputs_of("mm_orient")
    model = small_model("mm_orient", "paper_figure", TASKS, changes).train()
    torch.nn.init.zeros_(model.hima[0].regions.entries.context)
    torch.nn.init.constant_(model.hima[0].tokens.samples.context, 1e4)
    batch = make_batch(inputs, example_lengths(inputs, 12, lowest=3), TASKS)
    return {name: float(value) for name, value in model(batch).diagnostics.items()}


def test_constructed_failures_of_a_model_are_found() -> None:
    never = {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 1.0)}
    found = " ".join(diagnose(means_of_a_batch(cmrl=never)))
    assert "Attention over regions (stage1) is uniform" in found
    assert "Attention over tokens (stage2) looks at one entry" in found
    assert "One sample of a batch makes the bias of tokens" in found
    for graph in ("ii", "tt", "it", "ti"):
        assert f"Graph {graph} leaves 100%" in found
    always = {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), -1.0)}
    found = " ".join(diagnose(means_of_a_batch(cmrl=always)))
    assert "Graph tt joins 100%" in found
    assert "nearly the same edges" in found
