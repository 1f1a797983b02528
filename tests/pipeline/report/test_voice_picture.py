"""The picture of a recording shows what is there."""

from __future__ import annotations

import numpy as np
import pytest

from affectflow.pipeline.report.voice import WIDTH, draw_voice


def test_loud_and_voiced_parts_are_drawn_where_they_are() -> None:
    samples = np.zeros(16000)
    samples[8000:] = np.sin(np.arange(8000))
    columns = np.zeros((100, 74), np.float32)
    columns[:, 0] = 200
    columns[50:, 1] = 1
    columns[50:, 10] = 1
    pixels = np.asarray(draw_voice(samples, columns)).astype(int)
    dark = (pixels[:160] < 100).all(axis=2).sum(axis=0)
    assert dark[: WIDTH // 2 - 5].max() <= 2
    assert dark[WIDTH // 2 + 5 :].min() > 100
    blue = (pixels[172:332, :, 2] - pixels[172:332, :, 0] > 100).any(axis=0)
    assert not blue[: WIDTH // 2 - 5].any()
    assert blue[WIDTH // 2 + 5 :].sum() > 50
    stripe = pixels[344 + 6 * 10 + 3, :, 0]
    assert stripe[10] == 255
    assert stripe[-10] == 0


@pytest.mark.parametrize("rows", [0, 1])
def test_short_recordings_can_be_drawn(rows: int) -> None:
    assert draw_voice(np.zeros(rows * 100), np.zeros((rows, 74), np.float32)).width == WIDTH
