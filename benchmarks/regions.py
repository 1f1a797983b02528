"""Images per second of the two X152 region networks, random weights, from pixels to regions.

Everything between a decoded picture and its stored rows is timed: scaling, network, selection. On
the CPU with one thread; where there is a GPU also there, in float32 without TF32 and in bfloat16,
one picture and eight at a time.
"""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

NAME = "regions"
TITLE = "Regions of the X152 networks"
NETWORKS = {"detectron2_zoo": "cascade_mask_rcnn_x152", "vmb": "faster_rcnn_x152"}
TINY = {"detectron2_zoo": "cascade_mask_rcnn_tiny", "vmb": "faster_rcnn_tiny"}
HEIGHT, WIDTH = 480, 640


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    import torch

    del workdir
    torch.set_num_threads(1)
    side, limit = (128, 192) if quick else (800, 1333)
    cases = [("cpu", "float32", 1)]
    if torch.cuda.is_available():
        cases += [("cuda", kind, n) for kind in ("float32", "bfloat16") for n in (1, 8)]
    networks = (TINY if quick else NETWORKS).items()
    rows = [_measure(network, case, side, limit) for network in networks for case in cases]
    return {
        "target": "none set",
        "met": None,
        "headline": ", ".join(f"{row[0]} {row[4]}/s" for row in rows if row[1] == "cpu"),
        "settings": {"short side": side, "picture": f"{WIDTH}x{HEIGHT}", "threads": 1},
        "columns": ["network", "device", "type", "batch", "images/s", "s per batch", "peak GB"],
        "rows": rows,
        "notes": [
            "Random weights: as many proposals pass as with trained ones (1000).",
            "Peak on the CPU is that of the process so far, on a GPU the allocator's.",
        ],
    }


def _measure(
    network: tuple[str, str], case: tuple[str, str, int], side: int, limit: int
) -> list[Any]:
    import torch

    from affectflow.pipeline.extractors.regions import Config, Extractor

    device, precision, batch = case
    stage = Extractor(
        Config.model_validate(
            {
                "backend": network[0],
                "architecture": network[1],
                "device": device,
                "precision": precision,
                "allow_untrained": True,
                "min_size": side,
                "max_size": limit,
            }
        )
    )
    stage.open()
    pictures = np.random.default_rng(0).integers(
        0, 256, (batch, HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8
    )
    pictures = pictures.repeat(16, axis=1).repeat(16, axis=2)
    repeats = 2 if device == "cpu" else 10
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        # Rows come back as arrays on the CPU, so that nothing is still running on the device.
        stage.compute([stage._backend.prepare(one) for one in pictures])
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    rate = round(batch / median, 3)
    return [network[1], device, precision, batch, rate, round(median, 2), round(peak, 2)]
