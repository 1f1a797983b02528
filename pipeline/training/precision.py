"""Number formats of the forward pass: inputs, autocast and loss scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import torch

from affectflow.models.batch import FusionBatch

PrecisionName = Literal["fp32", "bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: PrecisionName) -> AbstractContextManager[object]:
    """Return the context of a forward pass; losses are computed in float32 outside it."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def placed(batch: FusionBatch, device: torch.device) -> FusionBatch:
    """Return a batch where the model is, its floats in float32: narrower ones travel as stored."""
    moved = batch.to(device, non_blocking=True)
    features = {
        role: replace(feature, values=feature.values.float())
        if feature.values.is_floating_point()
        else feature
        for role, feature in moved.features.items()
    }
    return replace(moved, features=features)


def make_scaler(device: torch.device, precision: PrecisionName) -> torch.amp.GradScaler:
    """Return the loss scaler; only fp16 needs one, else it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
