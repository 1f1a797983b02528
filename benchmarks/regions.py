"""Images per second of the two X152 region networks, random weights, from pixels to regions.

Everything between a decoded picture and its stored rows is timed: scaling, network, selection. On
the CPU with one thread; where there is a GPU also there, in float32 without TF32 and in bfloat16,
one picture and eight at a time. The work of a batch is counted (convolutions, deformable ones too,
and matrix products) and set against what the device reaches in products of large matrices of the
same type; scaling, sampling and suppression count as time without work.
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
    size = 256 if quick else 8192
    peaks = {case[:2]: matrix_peak(case[0], case[1], size) for case in cases}
    rows = [
        _measure(network, case, (side, limit), peaks[case[:2]])
        for network in networks
        for case in cases
    ]
    return {
        "target": "none set",
        "met": None,
        "headline": ", ".join(f"{row[0]} {row[4]}/s" for row in rows if row[1] == "cpu"),
        "settings": {"short side": side, "picture": f"{WIDTH}x{HEIGHT}", "threads": 1},
        "columns": [
            "network",
            "device",
            "type",
            "batch",
            "images/s",
            "s per batch",
            "peak GB",
            "TFLOP/s",
            "of matrix peak",
        ],
        "rows": rows,
        "notes": [
            "Random weights: as many proposals pass as with trained ones (1000).",
            "Peak GB on the CPU is that of the process so far, on a GPU the allocator's.",
            *(f"Matrix peak, {' '.join(case)}: {tera:.3g} TFLOP/s" for case, tera in peaks.items()),
        ],
    }


def matrix_peak(device: str, precision: str, size: int) -> float:
    """Return the best rate of ``size`` x ``size`` products, without TF32, in TFLOP/s."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    size = min(size, 2048) if device == "cpu" else size
    one = torch.ones((size, size), device=device, dtype=getattr(torch, precision))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (one @ one)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e12


def work_of(stage: Any, prepared: list[Any]) -> float:
    """Return the floating point operations of a batch."""
    import torch
    import torchvision  # noqa: F401  Registers the operator.
    from torch.utils.flop_counter import FlopCounterMode

    def deformed(images: Any, weight: Any, *rest: Any, out_shape: Any, **named: Any) -> int:
        # Shapes come in place of tensors: (B, C, H, W) out of kernels (C, C / groups, k, k).
        return 2 * int(np.prod(out_shape)) * int(np.prod(weight[1:]))

    operator = torch.ops.torchvision.deform_conv2d
    counter = FlopCounterMode(display=False, custom_mapping={operator: deformed})
    with counter:
        stage.compute(prepared)
    return float(counter.get_total_flops())


def _measure(
    network: tuple[str, str], case: tuple[str, str, int], sides: tuple[int, int], peak_rate: float
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
                "min_size": sides[0],
                "max_size": sides[1],
            }
        )
    )
    stage.open()
    pictures = np.random.default_rng(0).integers(
        0, 256, (batch, HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8
    )
    pictures = pictures.repeat(16, axis=1).repeat(16, axis=2)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
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
    work = work_of(stage, [stage._backend.prepare(one) for one in pictures])
    rate, done = round(batch / median, 3), work / median / 1e12
    times = [rate, round(median, 2), round(peak, 2)]
    share = f"{100 * done / peak_rate:.0f} %"
    return [network[1], device, precision, batch, *times, round(done, 3), share]
