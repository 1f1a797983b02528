"""The covarep extractor: agreement with reference outputs, speed per stage, memory over length.

Needs the reference recordings, by default in `../shared/golden/covarep` beside the checkout;
$AFFECTFLOW_COVAREP_REFERENCES names another folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

TITLE = "COVAREP-style columns: agreement, speed, memory"
TARGET_S = 0.05
# Recordings longer than five minutes keep their signals on disk, shorter ones in memory.
LENGTHS_S = (60, 310, 1800, 3600)
_ORIGINAL = "the original under Octave, as measured with the references: 6.5 (4 to 11)"
_VARIABLE = "AFFECTFLOW_COVAREP_REFERENCES"
_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "golden" / "covarep"


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure; an `OSError` says that the references are not there."""
    from affectflow.pipeline.extractors.covarep import acceptance

    folder = Path(os.environ.get(_VARIABLE, _DEFAULT))
    if not acceptance.reference_names(folder):
        raise FileNotFoundError(f"no reference recordings; set {_VARIABLE} to their folder")
    strict = acceptance.acceptance(folder, strict=True)
    default = acceptance.acceptance(folder, strict=False)
    speed = _speed(folder, 1 if quick else 5)
    sums = {name: sum(stages.values()) for name, stages in speed.items()}
    median, worst = float(np.median(list(sums.values()))), max(sums, key=lambda name: sums[name])
    stages = {
        stage: float(np.median([found.get(stage, 0.0) for found in speed.values()]))
        for stage in next(iter(speed.values()))
    }
    memory = [_memory(seconds) for seconds in ((30, 60) if quick else LENGTHS_S)]
    gates = [figure for figure in (*strict, *default) if figure.gate is not None]
    possible = [figure for figure in gates if figure.possible]
    met = all(figure.met for figure in possible) and median <= TARGET_S
    return {
        "headline": f"{sum(f.met for f in gates)} of {len(gates)} gates, "
        f"{len(gates) - len(possible)} out of reach; {median:.3f} s/s",
        "target": f"every gate within reach; {TARGET_S} s of one core per s of audio, median",
        "met": met,
        "columns": ["what", "measure", "reached", "needed"],
        "rows": [
            *_gate_rows("strict", strict),
            *_gate_rows("default", default),
            *[
                ["speed, " + stage, "s/s, median", f"{value:.4f}", ""]
                for stage, value in stages.items()
            ],
            ["speed, all 74 columns", "s/s, median", f"{median:.4f}", f"{TARGET_S}"],
            ["speed, worst", f"s/s, {worst}", f"{sums[worst]:.4f}", ""],
            *[["memory", f"peak MiB, {s} s of audio", f"{mib:.0f}", ""] for s, mib in memory],
        ],
        "notes": [
            "Agreement is pooled over the speech recordings without digital silence.",
            "Out of reach: the original's first pulse of a recording begins at the first sample, "
            "so that its QOQ is up to 34; the correction demanded (D12) makes it one period long, "
            "so that its QOQ is 1 at most. The rows between the first two instants then keep r "
            "over all rows below the gate: for the original's own column, corrected there and "
            "nowhere else, and for any pulse of one period. The gate is applied to the comparison "
            "with the original's column so corrected.",
            "Speed is processor time of one thread, the best of repeated runs of each recording, "
            "default mode, decoding excluded; tables are filled once per worker before.",
            f"For comparison, {_ORIGINAL} s/s.",
            "Peak memory is the process's own resident set, with decoding and the returned "
            "columns of 30 KiB per second of audio.",
        ],
        "raw": {"seconds_per_second": speed, "peak_mib": dict(memory)},
    }


def _gate_rows(mode: str, figures: list[Any]) -> list[list[str]]:
    return [
        [
            f"{mode}: {figure.group}",
            figure.measure,
            f"{figure.value:.4f}",
            _needed(figure),
        ]
        for figure in figures
    ]


def _needed(figure: Any) -> str:
    if figure.gate is None:
        return ""
    if not figure.possible:
        return f"{figure.gate} (out of reach: at most {figure.ceiling:.4f})"
    return f"{figure.gate}" + ("" if figure.met else " (missed)")


_SPEED = """
import json, sys
from pathlib import Path
from affectflow.pipeline.extractors.covarep import acceptance, glottal_shape
from affectflow.pipeline.extractors.covarep.analysis import Settings, analyse
folder, rounds, found = Path(sys.argv[1]), int(sys.argv[2]), {}
glottal_shape.prepare(False)
for name in acceptance.reference_names(folder):
    samples = acceptance.read_wave(folder, name)
    runs = [analyse(samples, Settings()).seconds for _ in range(rounds)]
    best = min(runs, key=lambda seconds: sum(seconds.values()))
    found[name] = {stage: value / (len(samples) / 16000) for stage, value in best.items()}
print(json.dumps(found))
"""


def _speed(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return processor seconds per second of audio, by recording and stage."""
    found: dict[str, dict[str, float]] = _alone(_SPEED, str(folder), str(rounds))
    return found


def _alone(program: str, *arguments: str) -> Any:
    """Return what a program prints that has one thread, as the workers of a run have.

    Matrix products in other threads would not be in the processor time of the first.
    """
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **dict.fromkeys(names, "1")},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no output")
    return json.loads(done.stdout)


_MEMORY = """
import json, sys, tempfile, resource
from pathlib import Path
import numpy as np, soundfile
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.records import Row, Sample
seconds = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    steps = np.arange(10 * 16000)
    f0 = 120 + 30 * np.sin(2 * np.pi * steps / 48000)
    phase = 2 * np.pi * np.cumsum(f0) / 16000
    voice = sum(np.cos(k * phase) / k for k in range(1, 30)) * (steps % 32000 < 24000)
    noise = 0.001 * np.random.default_rng(0).standard_normal(len(steps))
    with soundfile.SoundFile(folder + "/long.wav", "w", 16000, 1) as file:
        for _ in range(seconds // 10):
            file.write(0.1 * voice + noise)
    stage = make_stage("covarep", {})
    stage.open()
    item = stage.load(Row(Sample(key="k", split="train", audio="long.wav"), Path(folder)))
    rows = len(stage.compute([item])[0]["covarep"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mib": peak, "rows": rows}))
"""


def _memory(seconds: int) -> tuple[int, float]:
    return seconds, float(_alone(_MEMORY, str(seconds))["peak_mib"])
