"""Metric definitions in plain NumPy, equal to those of the originals.

`compute` is what a trainer calls; `selection_value` reads the number a run is selected by. Every
definition, its range and its source are written where the function is.
"""

from .families import FAMILIES, TaskLike
from .names import describe, is_maximised
from .results import compute, compute_predictions, predictions_of, resampled
from .selection import selection_value

__all__ = [
    "FAMILIES",
    "TaskLike",
    "compute",
    "compute_predictions",
    "describe",
    "is_maximised",
    "predictions_of",
    "resampled",
    "selection_value",
]
