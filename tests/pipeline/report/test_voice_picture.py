"""The picture of a recording shows what is there."""

from __future__ import annotations

import numpy as np
import pytest

from affectflow.pipeline.extractors.covarep.columns import GROUPS
from affectflow.pipeline.report.voice import LEFT, WIDTH, draw_voice, stripe_heights


def test_loud_and_voiced_parts_are_drawn_where_they_are() -> None:
    samples = np.zeros(16000)
    samples[8000:] = np.sin(np.arange(8000))
    columns = np.zeros((100, 74), np.float32)
    columns[:, 0] = 200
    columns[50:, 1] = 1
    columns[50:, 10] = 1
    pixels = np.asarray(draw_voice(samples, columns)).astype(int)
    middle = (LEFT + WIDTH) // 2
    dark = (pixels[:160] < 100).all(axis=2).sum(axis=0)
    assert dark[LEFT : middle - 5].max() <= 2
    assert dark[middle + 5 :].min() > 100
    blue = (pixels[172:332, :, 2] - pixels[172:332, :, 0] > 100).any(axis=0)
    assert not blue[: middle - 5].any()
    assert blue[middle + 5 :].sum() > 50
    stripe = pixels[344 + sum(stripe_heights()[:10]) + 9, :, 0]
    assert stripe[LEFT + 10] == 255
    assert stripe[-10] == 0


def test_every_group_of_columns_has_a_label() -> None:
    picture = draw_voice(np.zeros(16000), np.zeros((100, 74), np.float32))
    labels = np.asarray(picture)[344:, : LEFT - 4].min(axis=(1, 2)) < 120
    edges = np.concatenate([[0], np.cumsum(stripe_heights())])
    assert edges[-1] == len(labels)
    for group in GROUPS.values():
        assert labels[edges[group.start] : edges[group.stop]].any()
    # The eleven columns before the cepstra have a label each.
    assert all(labels[edges[place] : edges[place + 1]].any() for place in range(11))


@pytest.mark.parametrize("rows", [0, 1])
def test_short_recordings_can_be_drawn(rows: int) -> None:
    assert draw_voice(np.zeros(rows * 100), np.zeros((rows, 74), np.float32)).width == WIDTH
