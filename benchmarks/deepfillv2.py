"""DeepFillv2: pictures a second and peak memory, beside the public code of family B.

The same seeded random weights everywhere, one picture at a time, one thread, every measurement in
a process of its own: ``ours``; ``plain``, ours with an attention that is not chunked; ``public``,
the public code, where AFFECTFLOW_PUBLIC_DEEPFILL names a folder with a checkout of
nipponjo/deepfillv2-pytorch. `python -m benchmarks.deepfillv2 SIDE KIND COUNT` is one measurement.
"""

from __future__ import annotations

import json
import os
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
PUBLIC = "AFFECTFLOW_PUBLIC_DEEPFILL"
# Largest difference of two fillings' pixels, in the generator's range of -1 to 1.
SAME = 1e-3
GAIN = 1.1


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure both attentions at several sizes."""
    plan = {64: 1, 128: 1} if quick else {256: 5, 512: 3, 1024: 1}
    others = ["plain", "public"] if os.environ.get(PUBLIC) else ["plain"]
    found = [
        _measured(side, kind, count)
        for side, count in plan.items()
        for kind in ("ours", *others)
        if kind == "ours" or side <= LARGEST_PLAIN
    ]
    _same(found)
    largest = max(plan)
    ours = next(one for one in found if one["side"] == largest and one["kind"] == "ours")
    return {
        "headline": "; ".join(
            [f"{ours['peak_gib']:.2f} GiB at {largest} x {largest}", *_gain(found)]
        ),
        "target": f"below {LIMIT_GIB:g} GiB",
        "met": ours["peak_gib"] < LIMIT_GIB,
        "columns": ["side", "code", "pictures/s", "peak GiB", "of which before"],
        "rows": [
            [one["side"], one["kind"], one["rate"], one["peak_gib"], one["before_gib"]]
            for one in found
        ],
        "notes": [
            "ours: in chunks of queries; plain: patches as filters and full matrices of scores; "
            + (
                "public: the public code of family B with the same weights."
                if "public" in others
                else f"the public code was not there ({PUBLIC} names no checkout)."
            ),
            "Peaks are resident memory of the process; before: with libraries and weights loaded.",
            f"All fillings of a size agree: 100 pixels of each within {SAME:g} (range -1 to 1).",
        ],
        "settings": {"threads": 1, "batch": 1, "weights": "seeded random, untrained"},
        "measurements": found,
    }


def _same(found: list[dict[str, Any]]) -> None:
    for side in {one["side"] for one in found}:
        for pixels in zip(*(one["pixels"] for one in found if one["side"] == side), strict=True):
            if max(pixels) - min(pixels) > SAME:
                raise RuntimeError(f"the fillings at {side} differ: a pixel is {pixels}")


def _gain(found: list[dict[str, Any]]) -> list[str]:
    rates = {(one["side"], one["kind"]): one["rate"] for one in found}
    return [
        f"{rates[side, 'ours'] / rates[side, kind]:.2f} x the public code's speed at {side}"
        for side, kind in rates
        if kind == "public"
    ]


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
    for parameter in network.parameters():
        # At their usual size random weights leave a grey picture, in which every error hides.
        parameter.data.mul_(GAIN if parameter.dim() > 1 else 1.0)
    image, mask = torch.rand(1, 3, side, side) * 2 - 1, torch.zeros(1, 1, side, side)
    mask[:, :, side // 8 : side // 4, side // 10 : -side // 10] = 1
    if kind == "plain":
        network.attention = PlainAttention(PRESETS["B"].attention)
    fill = _public(network) if kind == "public" else lambda *given: network(*given).final
    before = _peak_gib()
    with torch.inference_mode():
        if count > 1:
            fill(image, mask)
        start = time.perf_counter()
        for _ in range(count):
            filled = fill(image, mask)
    seconds = (time.perf_counter() - start) / count
    pixels = filled.flatten()[:: filled.numel() // 100][:100].tolist()
    return {
        "side": side,
        "kind": kind,
        "rate": 1 / seconds,
        "peak_gib": round(_peak_gib(), 3),
        "before_gib": round(before, 3),
        "pixels": pixels,
    }


def _public(ours: Any) -> Any:
    """Return the public network with our weights, as a function of picture and mask."""
    import torch

    from affectflow.models.vision.deepfillv2_layouts import export

    sys.path.insert(0, os.environ[PUBLIC])
    from model.networks import Generator  # type: ignore[import-not-found]

    network = Generator(cnum_in=5, cnum=48, return_flow=False)
    missing, unknown = network.load_state_dict(export(ours.state_dict(), "B"), strict=False)
    if unknown or any(not name.endswith("fuse_weight") for name in missing):
        raise RuntimeError(f"the public network has other parameters: {missing}, {unknown}")

    def fill(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = image * (1 - mask)
        given = torch.cat((known, torch.ones_like(mask), mask), dim=1)
        second: torch.Tensor = network(given, mask)[1]
        return second

    return fill


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
