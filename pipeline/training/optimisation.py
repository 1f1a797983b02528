"""Optimisers, learning-rate schedules as functions of the step, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from affectflow.models.batch import FusionModel

from ..config import Config
from ..errors import ConfigError


class OptimizerConfig(Config):
    """How weights are updated.

    Attributes:
        kind: AdamW (decoupled decay), Adam (decay as part of the gradient) or SGD.
        lr: Learning rate.
        lr_scales: Factor by name of a parameter group, at least 0, for models that have several.
        weight_decay: Of every group that does not bring its own.
        betas, eps: Of Adam and AdamW.
        momentum: Of SGD.
        schedule: ``none``; ``cosine`` or ``linear`` down to ``final`` at the last planned step;
            ``plateau``: times ``plateau_factor`` after more than ``plateau_patience`` validations
            without a better monitored value.
        warmup_steps: Steps in which the rate rises linearly from 0, for every schedule.
        final: Share of ``lr`` at the end of ``cosine`` and ``linear``.
        clip_norm: Largest norm of all gradients together.
        clip_value: Largest absolute value of each gradient entry.
    """

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    lr_scales: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["none", "cosine", "linear", "plateau"] = "none"
    warmup_steps: int = Field(default=0, ge=0)
    final: float = Field(default=0.0, ge=0, le=1)
    plateau_patience: int = Field(default=10, ge=0)
    plateau_factor: float = Field(default=0.1, gt=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    clip_value: float | None = Field(default=None, gt=0)


def make_optimizer(model: FusionModel, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser over the model's parameter groups.

    Raises:
        ConfigError: ``lr_scales`` names no group.
    """
    groups = [_group(group, config) for group in model.parameter_groups()]
    names = {group["name"] for group in groups}
    if unknown := sorted(set(config.lr_scales) - names):
        known = ", ".join(sorted(names))
        raise ConfigError(f"optimizer.lr_scales names no group '{unknown[0]}'; known: {known}")
    _cover_all(model, groups)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    maker = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
    return maker(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def _group(group: Mapping[str, Any], config: OptimizerConfig) -> dict[str, Any]:
    name = str(group.get("name", "all"))
    scale = float(group.get("lr_scale", 1.0)) * config.lr_scales.get(name, 1.0)
    return {
        "params": [parameter for parameter in group["params"] if parameter.requires_grad],
        "name": name,
        "lr_scale": scale,
        "lr": config.lr * scale,
        "weight_decay": float(group.get("weight_decay", config.weight_decay)),
    }


def _cover_all(model: nn.Module, groups: Iterable[Mapping[str, Any]]) -> None:
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if len(grouped) != len(set(grouped)) or set(grouped) != wanted:
        kind = type(model).__module__
        raise ConfigError(f"{kind}: parameter_groups() must hold every parameter exactly once")


class Schedule:
    """The learning rate's factor at a step; only ``plateau`` has a state.

    Args:
        config: Which schedule.
        total_steps: Steps that are planned in all.
        maximise: Whether a higher monitored value is better, for ``plateau``.
    """

    def __init__(self, config: OptimizerConfig, total_steps: int, maximise: bool) -> None:
        self.config, self.total_steps, self.maximise = config, total_steps, maximise
        self.factor, self.waited = 1.0, 0
        self.best: float | None = None

    def scale(self, step: int) -> float:
        """Return the factor of the update number ``step``, counted from 0."""
        config = self.config
        if step < config.warmup_steps:
            return self.factor * (step + 1) / config.warmup_steps
        if config.schedule in ("none", "plateau"):
            return self.factor
        planned = max(1, self.total_steps - config.warmup_steps)
        done = min(1.0, (step - config.warmup_steps) / planned)
        left = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
        return config.final + (1 - config.final) * left

    def validated(self, value: float) -> None:
        """Take in the monitored value of a validation; an undefined one, NaN, is not better."""
        better = not math.isnan(value) and (
            self.best is None or (value > self.best if self.maximise else value < self.best)
        )
        if better:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.config.schedule == "plateau" and self.waited > self.config.plateau_patience:
            self.factor, self.waited = self.factor * self.config.plateau_factor, 0

    def state(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""
        self.factor, self.best = float(state["factor"]), state["best"]
        self.waited = int(state["waited"])


def set_rate(optimizer: torch.optim.Optimizer, config: OptimizerConfig, scale: float) -> float:
    """Set the learning rate of every group; return that of a group without a factor."""
    for group in optimizer.param_groups:
        group["lr"] = config.lr * group["lr_scale"] * scale
    return config.lr * scale


def clip(parameters: Iterable[Tensor], config: OptimizerConfig) -> Tensor:
    """Clip gradients in place, by value then by norm; return their norm before that, a scalar."""
    found = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in found if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if config.clip_value is not None:
        torch.nn.utils.clip_grad_value_(found, config.clip_value)
    if config.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(found, config.clip_norm)
    return norm
