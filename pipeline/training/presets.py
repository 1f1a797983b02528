"""Trainings worth repeating: one function each, its docstring holds command and expected number.

A preset says which of a model's own presets it starts from and which values differ from the
defaults; ``--set`` goes over it. ``<model>_<dataset>`` is taken without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """Where a training starts from.

    Attributes:
        model: Name of the model.
        model_preset: One of the model's own presets; None for its first.
        settings: Values by owner: ``model``, ``data``, ``loader``, ``optimizer``, ``loss``,
            ``trainer``.
    """

    model: str
    model_preset: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def presets_of(model: str) -> dict[str, Callable[[], Preset]]:
    """Return the presets of a model, by name."""
    return {make.__name__: make for make in PRESETS if make().model == model}


def mm_orient_memotion() -> Preset:
    """MM-ORIENT as its figure shows it, five tasks of Memotion.

    ``pipeline train mm_orient --dataset memotion --seeds 1111,1112,1113``

    Expected: unknown for our features. Published accuracies (test, other features): sentiment
    49.94, humour 38.09, sarcasm 49.38, offensive 43.61, motivation 66.41.
    """
    return Preset("mm_orient", settings=_MM_ORIENT)


def mm_orient_memotion_author_code() -> Preset:
    """MM-ORIENT as its published code reads, trained jointly.

    ``pipeline train mm_orient --dataset memotion --preset mm_orient_memotion_author_code``

    Expected: unknown.
    """
    return Preset("mm_orient", "author_code", _MM_ORIENT)


# AdamW with 5e-6 and batches of 120 are the authors'; length, patience and tail are ours.
_MM_ORIENT = {
    "loader": {"batch_size": 120, "merge_tail_below": 8},
    "optimizer": {"kind": "adamw", "lr": 5e-6, "weight_decay": 0.004},
    "trainer": {"epochs": 50, "patience": 8},
}

PRESETS: tuple[Callable[[], Preset], ...] = (
    mm_orient_memotion,
    mm_orient_memotion_author_code,
)
