"""A training step of MulT on ragged batches against MMSA's, both with MMSA's settings for MOSI.

The interpreter of an environment with the package MMSA (2.2.1) is named by the variable
``AFFECTFLOW_MMSA_PYTHON``, for example after
``uv venv mmsa && uv pip install --python mmsa/bin/python MMSA==2.2.1``; without it our own ways
alone are compared. Both sides get the same batches and start from the same weights; their
steps alternate in one run, each on one thread.

The ways show where the time goes:

* ``as loaded``: padded to 50, 375 and 500 steps, as MMSA's data are; padding is computed.
* ``trimmed``: padded to the longest of the batch. MMSA doesn't do this; it is measured to tell
  padding that is easy to remove from the rest.
* ``dense mask``: ours, padded to the longest, padding masked in one dense attention per pair.
* ``packed, one block``: no padding but in attention, which is one block for the whole batch.
* ``packed, blocks``: what the model does: attention in blocks of samples of similar length.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

NAME = "mult"
TITLE = "A training step of MulT"
VARIABLE = "AFFECTFLOW_MMSA_PYTHON"
TARGET = 4.0
TOLERANCE = 1e-4
"""Largest difference from MMSA that counts as the same result, of outputs and gradients."""

WIDTHS = {"text": 768, "audio": 5, "vision": 20}
LENGTHS = {"text": (14, 66, 50), "audio": (38, 805, 375), "vision": (42, 927, 500)}
"""Mean, variance and greatest length of MOSI's sequences (GsiT paper, table 7)."""

OURS = ("as loaded", "dense mask", "packed, one block", "packed, blocks")
MMSA_CONFIG = {
    "use_bert": False,
    "dst_feature_dim_nheads": [50, 10],
    "feature_dims": [768, 5, 20],
    "nlevels": 4,
    "attn_dropout": 0.3,
    "attn_dropout_a": 0.2,
    "attn_dropout_v": 0.0,
    "relu_dropout": 0.0,
    "embed_dropout": 0.2,
    "res_dropout": 0.0,
    "output_dropout": 0.5,
    "text_dropout": 0.5,
    "attn_mask": True,
    "conv1d_kernel_size_l": 5,
    "conv1d_kernel_size_a": 5,
    "conv1d_kernel_size_v": 5,
    "train_mode": "regression",
    "num_classes": 3,
}


def run(workdir: Path, quick: bool) -> dict[str, Any]:
    """Measure and return the result."""
    import torch

    torch.set_num_threads(1)
    size, rounds = (4, 1) if quick else (16, 3)
    generator = np.random.default_rng(0)
    batches = [_batch(generator, size) for _ in range(rounds)]
    ours = _Ours()
    timings: dict[str, list[dict[str, float]]] = {}
    interpreter = os.environ.get(VARIABLE)
    notes = [f"{size} samples a batch; lengths drawn from gamma distributions of MOSI's moments."]
    if interpreter:
        with _mmsa(interpreter, ours.weights(), workdir) as ask:
            difference = _same(ours, ask, workdir)
            for number, batch in enumerate(batches):
                _round(number, batch, ours, ask, workdir, timings)
        notes.append(f"Without padding, outputs and gradients differ by {difference:.1e} at most.")
    else:
        notes.append(f"MMSA was not measured: {VARIABLE} names no interpreter that has it.")
        for number, batch in enumerate(batches):
            _round(number, batch, ours, None, workdir, timings)
    return _result(timings, batches, notes)


def _round(
    number: int, batch: Any, ours: _Ours, ask: Any, workdir: Path, timings: dict[str, Any]
) -> None:
    """Let every way take its step on one batch; the order rotates from round to round."""
    ways = {f"ours, {way}": lambda way=way: ours.step(way, batch) for way in OURS}
    if ask is not None:
        for trimmed, way in ((False, "as loaded"), (True, "trimmed")):
            path = _write(batch, workdir / f"{way.replace(' ', '-')}.pt", trimmed)
            ways[f"MMSA, {way}"] = lambda path=path: ask("step", path)
    names = list(ways)
    for name in names[number % len(names) :] + names[: number % len(names)]:
        timings.setdefault(name, []).append(ways[name]())


def _batch(generator: np.random.Generator, size: int, lengths: Any = None) -> Any:
    """Return a packed batch with labels; lengths as in MOSI where none are given."""
    import torch

    from affectflow.models.batch import FeatureBatch, FusionBatch

    features = {}
    for role, (mean, variance, longest) in LENGTHS.items():
        counts = generator.gamma(mean**2 / variance, variance / mean, size).round()
        counts = np.clip(counts.astype(np.int64), 1, longest)
        if lengths is not None:
            counts = np.full(size, lengths[role])
        values = generator.standard_normal((int(counts.sum()), WIDTHS[role]), dtype=np.float32)
        packed = FeatureBatch(torch.from_numpy(values), torch.from_numpy(counts), "packed")
        features[role] = packed
    labels = torch.from_numpy(generator.uniform(-3, 3, size).astype(np.float32))
    return FusionBatch(tuple(map(str, range(size))), features, {"sentiment": labels})


def _padded(feature: Any, longest: int | None) -> Any:
    """Return the feature padded to its longest sample, or to this length."""
    import torch

    from affectflow.models.batch import FeatureBatch

    wide = feature.padded()
    if longest is None:
        return wide
    behind = (0, 0, 0, longest - wide.values.shape[1])
    values = torch.nn.functional.pad(wide.values, behind)
    return FeatureBatch(values, wide.lengths, "padded")


def _write(batch: Any, path: Path, trimmed: bool) -> Path:
    """Write a batch as MMSA gets it; a convolution of 5 needs 5 steps at least."""
    import torch

    tensors = {"labels": batch.labels["sentiment"][:, None]}
    for role, feature in batch.features.items():
        longest = max(int(feature.lengths.max()), 5) if trimmed else LENGTHS[role][2]
        tensors[role] = _padded(feature, longest).values
    torch.save(tensors, path)
    return path


class _Ours:
    """Our model in each of the ways, all from the same weights."""

    def __init__(self) -> None:
        import torch

        from affectflow.models import mult
        from affectflow.models.batch import InputSpec, Task

        torch.manual_seed(0)
        inputs = {role: InputSpec((None, width)) for role, width in WIDTHS.items()}
        tasks = [Task("sentiment", "regression")]
        aware: dict[str, Any] = {"padding_mask": True, "readout": "last_real"}
        changes = dict.fromkeys(OURS, aware) | {"as loaded": {}}
        changes["dense mask"] = aware | {"layout": "padded"}
        self.models = {
            way: mult.Model(mult.mmsa().model_copy(update=change), inputs, tasks)
            for way, change in changes.items()
        }
        for model in self.models.values():
            model.load_state_dict(self.weights())
        self.optimizers = {
            way: torch.optim.Adam(model.parameters(), lr=2e-3) for way, model in self.models.items()
        }

    def weights(self) -> dict[str, Any]:
        """Return the weights that all ways have before their first step."""
        return dict(self.models["as loaded"].state_dict())

    def step(self, way: str, batch: Any) -> dict[str, float]:
        """Train on one batch in one way and return how long it took."""
        import torch

        batch = self._laid_out(way, batch)
        model, optimizer = self.models[way].train(), self.optimizers[way]
        with _blocks(one=way == "packed, one block"):
            wall, processor = time.perf_counter(), time.process_time()
            optimizer.zero_grad()
            output = model(batch).logits["sentiment"]
            (output[:, 0] - batch.labels["sentiment"]).abs().mean().backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.6)
            optimizer.step()
            seconds = time.perf_counter() - wall, time.process_time() - processor
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"wall": seconds[0], "processor": seconds[1], "peak_gb": peak}

    def _laid_out(self, way: str, batch: Any) -> Any:
        from dataclasses import replace

        if way.startswith("packed"):
            return batch
        features = {
            role: _padded(feature, LENGTHS[role][2] if way == "as loaded" else None)
            for role, feature in batch.features.items()
        }
        return replace(batch, features=features)


@contextmanager
def _blocks(*, one: bool) -> Iterator[None]:
    """Put all samples into one block of attention, or leave blocks as they are."""
    from affectflow.models.layers import sequences

    usual = sequences.BLOCK_OVERHEAD
    sequences.BLOCK_OVERHEAD = 10**12 if one else usual
    try:
        yield
    finally:
        sequences.BLOCK_OVERHEAD = usual


@contextmanager
def _mmsa(interpreter: str, weights: dict[str, Any], workdir: Path) -> Iterator[Any]:
    """Start the other interpreter and give a function that asks it and waits for the answer."""
    import torch

    config, state = workdir / "config.json", workdir / "weights.pt"
    config.write_text(json.dumps(MMSA_CONFIG), encoding="utf-8")
    torch.save(weights, state)
    program = Path(__file__).with_name("mmsa_step.py")
    command = [interpreter, "-W", "ignore", str(program), str(config), str(state)]
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", VARIABLE}}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(*words: Any) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(" ".join(map(str, words)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the interpreter with MMSA ended without an answer")
            return json.loads(line)

        yield ask
        process.stdin.close()


def _same(ours: _Ours, ask: Any, workdir: Path) -> float:
    """Return the largest difference from MMSA on a batch without padding; refuse large ones."""
    import torch

    lengths = {"text": 20, "audio": 33, "vision": 41}
    batch = _batch(np.random.default_rng(1), 3, lengths)
    written = _write(batch, workdir / "even.pt", trimmed=True)
    ask("compare", written, workdir / "theirs.pt")
    theirs = torch.load(workdir / "theirs.pt", weights_only=True)
    model = ours.models["packed, blocks"].eval()
    output = model(batch).logits["sentiment"]
    (output[:, 0] - batch.labels["sentiment"]).abs().mean().backward()
    found = {"output": output.detach()}
    found |= {name: values.grad for name, values in model.named_parameters()}
    model.zero_grad()
    difference = max(float((theirs[name] - values).abs().max()) for name, values in found.items())
    if set(theirs) != set(found) or not difference <= TOLERANCE:
        raise RuntimeError(f"MMSA and ours differ by {difference:.1e} on data without padding")
    return difference


def _result(timings: dict[str, Any], batches: list[Any], notes: list[str]) -> dict[str, Any]:
    best = "ours, packed, blocks"

    def ratio(slow: str, fast: str, kind: str) -> float:
        pairs = zip(timings[slow], timings[fast], strict=True)
        return round(statistics.median(a[kind] / b[kind] for a, b in pairs), 2)

    rows = []
    for name, steps in sorted(timings.items()):
        middle = {kind: statistics.median(one[kind] for one in steps) for kind in steps[0]}
        times = [ratio(name, best, kind) for kind in ("wall", "processor")]
        peak = round(middle["peak_gb"], 1) if name.startswith("MMSA") else None
        rows.append([name, round(middle["wall"], 3), round(middle["processor"], 3), *times, peak])
    reference = "MMSA, as loaded"
    measured = reference in timings
    reasons = {
        "Padding to the longest instead of 50, 375 and 500, and masked": (
            "ours, as loaded",
            "ours, dense mask",
        ),
        "Packed instead of padded to the longest, one dense mask": (
            "ours, dense mask",
            "ours, packed, one block",
        ),
        "Blocks of similar length instead of one dense block": ("ours, packed, one block", best),
    }
    because = [
        f"{why}: {ratio(*pair, 'processor')} times faster in processor time."
        for why, pair in reasons.items()
    ]
    real = [sum(int(one.lengths.sum()) for one in batch.features.values()) for batch in batches]
    whole = len(batches[0]) * sum(longest for _, _, longest in LENGTHS.values())
    share = statistics.mean(real) / whole
    gain = ratio(reference, best, "wall") if measured else None
    return {
        "target": f"≥ {TARGET:g} times MMSA's speed",
        "met": gain >= TARGET if gain is not None else None,
        "headline": f"{gain} times MMSA's speed" if measured else "MMSA was not measured",
        "settings": {"threads": 1, "batch": len(batches[0]), "rounds": len(batches)},
        "columns": ["way", "s per step", "s processor", "× ours", "× processor", "peak GB"],
        "rows": rows,
        "raw": timings,
        "notes": [*notes, f"{share:.1%} of the steps of padded batches are real.", *because],
    }
