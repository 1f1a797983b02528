"""Published files of the two X152 networks, read without running code from them.

A file is checked against the network before anything of it is used: every tensor there, of the
right shape, and none that the network would not know what to do with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DatasetError, WeightsError
from ...unpickle import load_pickle
from ...weights.checkpoint import load_torch_file

if TYPE_CHECKING:
    from torch import nn

    from affectflow.models.vision.rcnn.conversion import Conversion

Convert = Callable[[Mapping[str, Sequence[int]]], "Conversion"]
_HINT = "the file is not of this network, or is damaged; obtain it again"


def load_zoo_file(network: nn.Module, path: Path) -> Conversion:
    """Put a detectron2 checkpoint (``.pkl`` of the zoo, or a torch file) into a `CascadeRCNN`.

    Returns:
        What was dropped, see `Conversion`.

    Raises:
        WeightsError: The file cannot be read or does not fit; one line says why.
    """
    from affectflow.models.vision.rcnn.detectron2_layout import LayoutError, convert

    pickled = path.suffix == ".pkl"
    content = _pickle(path) if pickled else load_torch_file(path)
    try:
        return _fill(network, path, lambda wanted: convert(content, wanted, pickled))
    except LayoutError as error:
        raise WeightsError(f"'{path.name}': {error}", _HINT) from None


def load_benchmark_file(network: nn.Module, path: Path) -> Conversion:
    """Put a checkpoint of vqa-maskrcnn-benchmark (``.pth``) into a `FasterRCNN`.

    Returns:
        What was dropped (attribute heads), see `Conversion`.

    Raises:
        WeightsError: The file cannot be read or does not fit; one line says why.
    """
    from affectflow.models.vision.rcnn.benchmark_layout import convert

    content = load_torch_file(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        kind = type(content).__name__
        raise WeightsError(f"'{path.name}' holds {kind}, expected a state dict", _HINT)
    odd = [str(name) for name, value in content.items() if not hasattr(value, "shape")]
    if odd:
        message = f"'{path.name}' has entries that are no tensors: {', '.join(odd[:3])}"
        raise WeightsError(message, _HINT)
    return _fill(network, path, lambda wanted: convert(content, wanted))


def _pickle(path: Path) -> Any:
    try:
        # Files of the zoo may have been written by Python 2.
        return load_pickle(path, encoding="latin1")
    except DatasetError as error:
        raise WeightsError(error.message, _HINT) from None


def _fill(network: nn.Module, path: Path, convert: Convert) -> Conversion:
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    outcome = convert(wanted)
    if outcome.problem:
        message = f"'{path.name}' does not fit {type(network).__name__}: {outcome.problem}"
        raise WeightsError(message, _HINT)
    network.load_state_dict({k: _tensor(v) for k, v in outcome.tensors.items()}, strict=False)
    return outcome


def _tensor(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value
    return torch.from_numpy(np.array(value, dtype=np.float32))
