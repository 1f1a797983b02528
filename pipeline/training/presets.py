"""Trainings worth repeating: one function each, its docstring holds command and expected number.

A preset says which of a model's own presets it starts from and which values differ from the
defaults; ``--set`` goes over it. ``<model>_<dataset>`` is taken without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Mapping[str, Any]]


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
    settings: Settings = field(default_factory=dict)


def presets_of(model: str) -> dict[str, Callable[[], Preset]]:
    """Return the presets of a model, by name."""
    return {make.__name__: make for make in PRESETS if make().model == model}


# Task set B of Memotion; the scales (set C) and the strength of sentiment are tasks of their own.
_MEMOTION = {"tasks": ["sentiment", "humour", "sarcasm", "offensive", "motivational"]}
_SCALES = {
    "tasks": ["sentiment", "humour_scale", "sarcasm_scale", "offensive_scale", "motivational_scale"]
}

# AdamW, 5e-6, decay and batch size are the authors'; length, patience and tail are ours.
_MM_ORIENT: Settings = {
    "loader": {"batch_size": 120, "merge_tail_below": 8},
    "optimizer": {"kind": "adamw", "lr": 5e-6, "weight_decay": 0.004},
    "trainer": {"epochs": 50, "patience": 8},
}

# Ours for every baseline alike, so that rows of one table differ by the model alone.
_BASELINE: Settings = {
    "data": _MEMOTION,
    "loader": {"batch_size": 120, "merge_tail_below": 8},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.004},
    "trainer": {"epochs": 50, "patience": 8},
}


def mm_orient_memotion() -> Preset:
    """MM-ORIENT as its figure shows it, the five tasks of Memotion.

    ``pipeline train mm_orient --dataset memotion --seeds 1111,1112,1113``

    Expected: unknown with features extracted here. Published (test, other features, the scales
    rather than these five as far as can be told): sentiment 49.94, humour 38.09, sarcasm 49.38,
    offensive 43.61, motivation 66.41 % accuracy.
    """
    return Preset("mm_orient", settings={**_MM_ORIENT, "data": _MEMOTION})


def mm_orient_memotion_scales() -> Preset:
    """MM-ORIENT on sentiment and the four scales of Memotion.

    ``pipeline train mm_orient --dataset memotion --preset mm_orient_memotion_scales``

    Expected: unknown with features extracted here; published as in `mm_orient_memotion`.
    """
    return Preset("mm_orient", settings={**_MM_ORIENT, "data": _SCALES})


def mm_orient_memotion_author_code() -> Preset:
    """MM-ORIENT as its published code reads, without the extra features.

    ``pipeline train mm_orient --dataset memotion --preset mm_orient_memotion_author_code``

    Expected: unknown; the published code cannot be run.
    """
    settings = {**_MM_ORIENT, "data": _MEMOTION, "model": {"extra": {"dim": 0}}}
    return Preset("mm_orient", "author_code", settings)


def text_tokens_memotion() -> Preset:
    """The mean token of each caption.

    ``pipeline train text_tokens --dataset memotion``. Expected: unknown; published for BERT on
    the scales: 39.24, 32.15, 45.42, 39.51, 60.15 % accuracy.
    """
    return Preset("text_tokens", settings=_BASELINE)


def regions_memotion() -> Preset:
    """The mean region of each image.

    ``pipeline train regions --dataset memotion``. Expected: unknown; published for Mask R-CNN
    X152 on the scales: 45.96, 34.65, 41.05, 34.00, 62.23 % accuracy.
    """
    return Preset("regions", settings=_BASELINE)


def clip_head_memotion() -> Preset:
    """A linear probe on the CLIP embeddings of image and caption.

    ``pipeline train clip_head --dataset memotion``. Expected: unknown; published for CLIP on the
    scales: 47.28, 37.52, 46.96, 41.24, 64.58 % accuracy.
    """
    return Preset("clip_head", settings=_BASELINE)


def feature_fusion_memotion() -> Preset:
    """Mean token and mean region, concatenated.

    ``pipeline train feature_fusion --dataset memotion``. Expected: unknown; published on the
    scales: 45.86, 36.43, 46.06, 40.82, 62.51 % accuracy.
    """
    return Preset("feature_fusion", settings=_BASELINE)


def decision_fusion_memotion() -> Preset:
    """Decisions of caption and image, averaged.

    ``pipeline train decision_fusion --dataset memotion``. Expected: unknown; published on the
    scales: 46.19, 36.81, 45.65, 40.77, 62.66 % accuracy.
    """
    return Preset("decision_fusion", settings=_BASELINE)


PRESETS: tuple[Callable[[], Preset], ...] = (
    mm_orient_memotion,
    mm_orient_memotion_scales,
    mm_orient_memotion_author_code,
    text_tokens_memotion,
    regions_memotion,
    clip_head_memotion,
    feature_fusion_memotion,
    decision_fusion_memotion,
)
