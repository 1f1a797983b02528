"""How many compute threads a worker may use."""

from __future__ import annotations

import os

VARIABLE = "AFFECTFLOW_THREADS"


def compute_threads() -> int:
    """Return the threads that ONNX, OpenCV and the like may use in this process, at least 1."""
    text = os.environ.get(VARIABLE, "1")
    return max(1, int(text)) if text.isdecimal() else 1


def limit_opencv() -> None:
    """Make OpenCV, which has a thread pool of its own, keep to `compute_threads`."""
    import cv2

    cv2.setNumThreads(compute_threads())
