"""Training steps of MMSA's MulT, run by an interpreter that has MMSA, told by lines on stdin.

`python mmsa_step.py CONFIG.json WEIGHTS.pt`; then one request a line, answered by one line of JSON:

* ``step PATH``: a training step on the tensors of a file; seconds of wall and of processor time,
  and the most memory the process has held so far.
* ``compare PATH OUT``: outputs and gradients without dropout, written to OUT.

Nothing of this project is imported: the other environment doesn't have it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from MMSA.models.singleTask.MULT import MULT  # type: ignore[import-not-found]

CLIP = 0.6
LEARNING_RATE = 2e-3


def main() -> None:
    """Answer requests until stdin ends."""
    torch.set_num_threads(1)
    model = MULT(SimpleNamespace(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    model.load_state_dict(torch.load(sys.argv[2], weights_only=True), strict=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for line in sys.stdin:
        request, *paths = line.split()
        batch = torch.load(paths[0], weights_only=True)
        if request == "step":
            answer = timed_step(model, optimizer, batch)
        else:
            answer = compare(model, batch, paths[1])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def timed_step(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> Any:
    """Train on one batch and return how long it took."""
    model.train()
    wall, processor = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    output = model(batch["text"], batch["audio"], batch["vision"])["M"]
    (output - batch["labels"]).abs().mean().backward()
    torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
    optimizer.step()
    seconds = [time.perf_counter() - wall, time.process_time() - processor]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"wall": seconds[0], "processor": seconds[1], "peak_gb": peak}


def compare(model: Any, batch: dict[str, Any], path: str) -> Any:
    """Write outputs and gradients of one batch without dropout."""
    model.eval()
    model.zero_grad()
    output = model(batch["text"], batch["audio"], batch["vision"])["M"]
    (output - batch["labels"]).abs().mean().backward()
    gradients = {name: values.grad for name, values in model.named_parameters()}
    torch.save({"output": output.detach(), **gradients}, path)
    model.zero_grad()
    return {}


if __name__ == "__main__":
    main()
