"""Long recordings need no more memory than shorter ones, but for the columns returned."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.command import environment

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

pytestmark = pytest.mark.slow

PROGRAM = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np, soundfile
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Row, Sample
with tempfile.TemporaryDirectory() as folder:
    voice = np.cos(2 * np.pi * 125 * np.arange(160000) / 16000) ** 9
    noise = 0.001 * np.random.default_rng(0).standard_normal(len(voice))
    with soundfile.SoundFile(folder + "/long.wav", "w", 16000, 1) as file:
        for _ in range(int(sys.argv[1]) // 10):
            file.write(0.1 * voice + noise)
    stage = make_stage("covarep", {"disk_above_s": 10})
    stage.open()
    item = stage.load(Row(Sample(key="k", split="train", audio="long.wav"), Path(folder)))
    rows = len(stage.compute([item])[0]["covarep"])
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measure(seconds: int) -> tuple[int, float]:
    """Return the rows of a recording of this length and the peak resident MiB of its process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seconds)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    rows, mib = json.loads(done.stdout)
    return rows, mib


def test_memory_hardly_grows_with_length() -> None:
    short_rows, short = measure(20)
    long_rows, long = measure(120)
    assert (short_rows, long_rows) == (2000, 12000)
    # In memory every array of one value per sample would take 12 MiB more, and there are several.
    assert long - short < 20
