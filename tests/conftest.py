"""Settings of every test, made before anything that computes is imported."""

from __future__ import annotations

import os

# Small tensors cut over several threads wait for the slowest at every operation: on a machine that
# does something else as well, that makes such tests a hundred times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
