"""Norms of gradients by task and by part of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def task_norms(
    losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]
) -> dict[str, Tensor]:
    """Return the norm of each task's gradient alone; the graph is kept for the real backward."""
    found = {}
    for name, loss in losses.items():
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            used = [gradient for gradient in gradients if gradient is not None]
            found[name] = torch.nn.utils.get_total_norm(used)
    return found


def module_norms(model: nn.Module) -> dict[str, Tensor]:
    """Return the norm of the gradient of each direct part of the model that has one."""
    found = {}
    for name, part in model.named_children():
        used = [p.grad for p in part.parameters() if p.grad is not None]
        if used:
            found[name] = torch.nn.utils.get_total_norm(used)
    return found
