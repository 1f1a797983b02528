"""How far predicted probabilities are from the shares they announce."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classification import Codes, Floats


def softmax(logits: NDArray[Any]) -> Floats:
    """Return (N, K) probabilities in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    grown: Floats = np.exp(shifted)
    return grown / grown.sum(-1, keepdims=True)


def expected_calibration_error(probabilities: Floats, truth: Codes, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, in [0, 1].

    ECE = Σ_b n_b/N · abs(accuracy_b - confidence_b), right-closed bins of the largest probability
    (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3). NaN without samples.

    Args:
        probabilities: (N, K), rows sum to 1.
        truth: (N,) codes.
        bins: Number of bins in (0, 1].
    """
    if not len(truth):
        return float("nan")
    confidence = probabilities.max(-1)
    right = (probabilities.argmax(-1) == truth).astype(np.float64)
    where = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(where, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))
