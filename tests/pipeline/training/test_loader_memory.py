"""Eight workers cost the batches they are at, not copies of the data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.command import environment
from support.feature_stores import sample_row, write_feature, write_table

from affectflow.pipeline.records import FeatureSpec

CHILD = """
import json, sys
import psutil, torch
from affectflow.pipeline.store import whole
from affectflow.pipeline.training.data import DataConfig
from affectflow.pipeline.training.opening import open_data
from affectflow.pipeline.training.loader import Loader, LoaderConfig

whole.MAPPED_BYTES = 0
torch.set_num_threads(1)
me = psutil.Process()
data = open_data(
    DataConfig(dataset="mini", stores=(sys.argv[1],)), {"r": "regions"}, frozenset(), ("train",)
)
config = LoaderConfig(batch_size=2, workers=8)
loader = Loader(data.split("train"), config, seed=0, shuffle=True, digest=data.digest)
before = peak = me.memory_info().rss
rows = 0
for epoch in range(2):
    for batch in loader.epoch(epoch):
        rows += len(batch)
        peak = max(peak, me.memory_info().rss)
print(json.dumps({"rows": rows, "growth": peak - before, "children": len(me.children())}))
"""


@pytest.mark.slow
def test_resident_memory_with_eight_workers(tmp_path: Path) -> None:
    spec = FeatureSpec("regions", "image", (100, 2048))
    keys = [f"k{row:04d}" for row in range(400)]
    table = write_table(
        tmp_path,
        [
            sample_row(key, **{"label.mood": 0, "label.themes": [], "label.strength": 0.0})
            for key in keys
        ],
        50,
    )
    value = np.ones((100, 2048), np.float16)
    write_feature(table, spec, dict.fromkeys(keys, value))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    stored = 400 * value.nbytes
    assert found["rows"] == 800
    assert found["children"] == 0
    assert found["growth"] < stored / 2
