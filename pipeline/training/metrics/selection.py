"""The number a run is selected by."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import ConfigError, unknown_name
from .names import METRICS, is_maximised

_SPLITS = ("train", "val", "test")


def selection_value(results: Mapping[str, Mapping[str, float]], name: str) -> tuple[float, bool]:
    """Return a metric and whether larger is better.

    Args:
        results: What `compute` returned.
        name: ``<task>/<metric>``, ``mean/<metric>``, or the metric alone, which is the mean;
            ``val/`` or ``train/`` may stand in front. ``loss`` is found where the caller put it, in
            ``results["mean"]``.

    Returns:
        The value, NaN where it is undefined (never better than anything), and the direction.

    Raises:
        ConfigError: The name is unknown, or it names the test split: selection never sees it.
    """
    task, metric = _split_name(results, name)
    if task in results and metric in results[task]:
        return float(results[task][metric]), is_maximised(metric)
    known = [
        f"{task}/{metric}"
        for task, found in results.items()
        for metric in found
        if METRICS.get(metric.rpartition("/")[2], METRICS["n"]).maximise is not None
    ]
    raise ConfigError(unknown_name("selection metric", f"{task}/{metric}", known))


def _split_name(results: Mapping[str, Mapping[str, float]], name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and first in _SPLITS and first not in results:
        if first == "test":
            raise ConfigError(
                f"selection metric '{name}' names the test split", "select on val, such as val/loss"
            )
        first, slash, rest = rest.partition("/")
    return (first, rest) if slash else ("mean", first)
