"""DeepFillv2: pictures a second and peak memory, beside an attention that is not chunked.

Family B with seeded random weights, one picture at a time, one thread, every measurement in a
process of its own. `python -m benchmarks.deepfillv2 SIDE ours|plain` is one measurement.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TITLE = "DeepFillv2, family B: pictures a second and memory"
LIMIT_GIB = 4.0

# At 1024 the full matrices pass what a small machine has.
LARGEST_PLAIN = 512


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure both attentions at several sizes."""
    plan = {64: 1, 128: 1} if quick else {256: 3, 512: 2, 1024: 1}
    found = [
        _measured(side, kind, count)
        for side, count in plan.items()
        for kind in ("ours", "plain")
        if kind == "ours" or side <= LARGEST_PLAIN
    ]
    largest = max(plan)
    ours = next(one for one in found if one["side"] == largest and one["kind"] == "ours")
    return {
        "headline": f"{ours['peak_gib']:.2f} GiB at {largest} x {largest}",
        "target": f"below {LIMIT_GIB:g} GiB",
        "met": ours["peak_gib"] < LIMIT_GIB,
        "columns": ["side", "attention", "pictures/s", "peak GiB", "of which before"],
        "rows": [
            [one["side"], one["kind"], one["rate"], one["peak_gib"], one["before_gib"]]
            for one in found
        ],
        "notes": [
            "ours: in chunks of queries; plain: patches as filters and full matrices of scores.",
            "Peaks are resident memory of the process; before: with libraries and weights loaded.",
        ],
        "settings": {"threads": 1, "batch": 1, "weights": "seeded random, untrained"},
        "measurements": found,
    }


def _measured(side: int, kind: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.deepfillv2", str(side), kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} {kind}: {done.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(side: int, kind: str, count: int) -> dict[str, Any]:
    """Fill a picture ``count`` times after one to warm up; return rate and memory."""
    import torch

    from affectflow.models.vision.deepfillv2 import PRESETS, Generator

    from .plain_attention import PlainAttention

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Generator(PRESETS["B"]).eval()
    if kind == "plain":
        network.attention = PlainAttention(PRESETS["B"].attention)
    image, mask = torch.rand(1, 3, side, side) * 2 - 1, torch.zeros(1, 1, side, side)
    mask[:, :, side // 8 : side // 4, side // 10 : -side // 10] = 1
    before = _peak_gib()
    with torch.inference_mode():
        if count > 1:
            network(image, mask)
        start = time.perf_counter()
        for _ in range(count):
            filled = network(image, mask)
    seconds = (time.perf_counter() - start) / count
    checksum = filled.final.abs().mean().item()
    return {
        "side": side,
        "kind": kind,
        "rate": 1 / seconds,
        "peak_gib": round(_peak_gib(), 3),
        "before_gib": round(before, 3),
        "mean_of_result": checksum,
    }


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
