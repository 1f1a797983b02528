"""Random numbers of a step as a function of (seed, step, rank).

Every update begins by seeding Python's, NumPy's and torch's global generators anew. So a training
that goes on from a checkpoint, has other loader workers or validates more often draws what it would
have drawn, and a checkpoint has no generator states to keep in step with.
"""

from __future__ import annotations

import random

import numpy as np
import torch

# What draws for the initial weights; steps count from 0.
INITIAL = -1


def seed_generators(seed: int, step: int, rank: int = 0) -> None:
    """Seed the global generators of this process for one step (`INITIAL` for the weights)."""
    entropy = np.random.SeedSequence([seed, step - INITIAL, rank]).generate_state(2, np.uint64)
    random.seed(int(entropy[0]))
    # Models may use NumPy's global generator, so it is seeded like the others.
    np.random.seed(int(entropy[0] % 2**32))  # noqa: NPY002
    torch.manual_seed(int(entropy[1] % 2**63))
