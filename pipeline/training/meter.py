"""Weighted means over an epoch, kept where the values are until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Meter:
    """Adds up values by name; nothing is read back from an accelerator before `means`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add a scalar with a weight."""
        value = torch.as_tensor(value).detach().double()
        weight = torch.as_tensor(weight, device=value.device).double()
        pair = torch.stack((value * weight, weight))
        before = self._sums.get(name)
        # What was restored may lie elsewhere than what is added.
        self._sums[name] = pair if before is None else before.to(pair.device) + pair

    def means(self) -> dict[str, float]:
        """Return the mean of each name."""
        pairs = {name: pair.tolist() for name, pair in self._sums.items()}
        return {name: total / weight for name, (total, weight) in pairs.items() if weight}

    def state(self) -> dict[str, list[float]]:
        """Return the sums as JSON; float64 survives it exactly."""
        return {name: pair.tolist() for name, pair in self._sums.items()}

    def restore(self, state: Mapping[str, list[float]], device: torch.device) -> None:
        """Take up sums."""
        self._sums = {
            name: torch.tensor(pair, dtype=torch.float64, device=device)
            for name, pair in state.items()
        }
