"""Weights of the original implementations, whose parameter names the models keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn


def load_published(
    model: nn.Module, state: Mapping[str, Tensor], unused: Callable[[str], bool]
) -> None:
    """Load an original's state dict; all of the model's weights must be in it.

    A prefix ``Model.``, which MMSA writes, is removed.

    Args:
        model: Takes the weights.
        state: Weights by their original names.
        unused: Whether a weight that the model doesn't have has no part in its arithmetic.

    Raises:
        ValueError: If weights are missing, have other shapes, or are left over and of use.
    """
    weights = {name.removeprefix("Model."): values for name, values in state.items()}
    wanted = model.state_dict()
    strange = [name for name in weights if name not in wanted and not unused(name)]
    if strange:
        raise ValueError(
            f"the weights hold {strange[0]} and {len(strange) - 1} more that this configuration "
            "has no place for; choose the configuration they were trained with"
        )
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise ValueError(
            f"the weights lack {missing[0]} and {len(missing) - 1} more that this configuration "
            "has; choose the configuration they were trained with"
        )
    for name, expected in wanted.items():
        if weights[name].shape != expected.shape:
            got = f"{tuple(weights[name].shape)}, expected {tuple(expected.shape)}"
            raise ValueError(f"the weight {name} has the shape {got}")
    model.load_state_dict({name: weights[name] for name in wanted})
