"""State dicts from files, read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn


WRAPPERS = ("state_dict", "model")


def read_state_dict(path: Path, wrappers: Sequence[str] = WRAPPERS) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file or of a PyTorch checkpoint, on the CPU.

    Args:
        path: The file.
        wrappers: Keys under which a checkpoint may hold its state dict, tried in this order.

    Raises:
        WeightsError: The file is damaged, or holds more than tensors.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path, device="cpu"))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise WeightsError(f"'{path.name}' is no file of tensors: {cause}") from None
    except Exception as error:
        # safetensors raises a type of its own that is not exported everywhere.
        raise WeightsError(f"'{path.name}' cannot be read: {type(error).__name__}") from error
    return _tensors(loaded, path.name, wrappers)


def _tensors(loaded: object, name: str, wrappers: Sequence[str]) -> dict[str, Tensor]:
    import torch

    for wrapper in wrappers:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"'{name}' holds {type(loaded).__name__}, expected a state dict")
    odd = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise WeightsError(f"'{name}' has entries that are no tensors: {', '.join(odd[:3])}")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Put tensors into a module; every name and shape must fit.

    Raises:
        WeightsError: Naming the first tensors that are missing, unexpected or of another shape.
    """
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        message = f"'{name}' does not fit {type(module).__name__}: {' '.join(lines)[:400]}"
        raise WeightsError(message, "the weights belong to another architecture") from None
