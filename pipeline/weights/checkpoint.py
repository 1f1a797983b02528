"""State dicts from files, read without running code from them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    loaded = _safetensors(path) if path.suffix == ".safetensors" else load_torch_file(path)
    return _tensors(loaded, path.name, wrappers)


def load_torch_file(path: Path) -> Any:
    """Return what a PyTorch file holds, on the CPU; nothing in it is run.

    Raises:
        WeightsError: The file is damaged, or refers to a global that is not plain data; one line
            names it.
    """
    import torch

    try:
        with warnings.catch_warnings():
            # Old files hold storages, and pickles, of a kind that torch only warns about.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged and hostile files raise many types; each means the same here.
        message = f"'{path.name}' is no file of tensors: {_cause(error)}"
        raise WeightsError(message, "the file is damaged or is something else") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device="cpu"))
    except Exception as error:
        # safetensors raises a type of its own that is not exported everywhere.
        raise WeightsError(f"'{path.name}' is no file of tensors: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    """Return one line; never torch's advice to read the file without protection."""
    name, text = type(error).__name__, str(error)
    refused = re.search(r"GLOBAL (\S+)", text)
    if refused:
        return f"it refers to {refused[1]}, which is not plain data"
    if "eights only" in text or "weights_only" in text:
        return f"{name}: its pickle is damaged or holds more than tensors"
    first = text.split("\n", 1)[0].split(". ", 1)[0]
    return f"{name}: {first[:200]}" if first else f"{name}: the file is empty or ends too early"


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
