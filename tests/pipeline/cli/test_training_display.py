"""What is said of the data before a training begins."""

from __future__ import annotations

import pytest

from affectflow.pipeline.cli.show_training import display


def test_rows_left_out_and_values_made_zero_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    train = {"rows": 1200, "missing": {"regions": 3, "tokens": 0}, "dropped": 3}
    counts = {
        "splits": {"train": train, "val": {"rows": 9, "missing": {"tokens": 0}, "dropped": 0}},
        "left_out": {"bad_row": 2, "dropped": 1},
        "nonfinite_as_zero": {"tokens": {"rows": 2, "values": 5}, "regions": {"rows": 0}},
        "residual_text": {"regions": 0.314},
    }
    with display(quiet=False) as watch:
        watch({"kind": "preparing", "step": 0, "message": "preparing regions: …"})
        watch({"kind": "data", "step": 0, "counts": counts})
    assert capsys.readouterr().err.splitlines() == [
        "preparing regions: …",
        "train: 1,200 samples, 3 without regions, 3 dropped for that",
        "val: 9 samples",
        "left out: bad_row 2, dropped 1",
        "tokens: 5 values in 2 rows were not finite and are 0",
        "regions: inpainting left 31.4% of the text area, mean over painted pictures",
    ]


def test_where_a_training_goes_on_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with display(quiet=False) as watch:
        watch({"kind": "resumed", "step": 1200, "epoch": 4, "batch": 7})
    assert capsys.readouterr().err == "goes on in epoch 4 after 1,200 steps\n"
