"""Where networks run, and how seeded random weights are made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..errors import ConfigError
from ..stage import Resources

if TYPE_CHECKING:
    import torch
    from torch import nn

    ModuleType = TypeVar("ModuleType", bound=nn.Module)

DeviceName = Literal["auto", "cpu", "cuda"]


def pick_device(name: DeviceName) -> torch.device:
    """Return the device to run on; ``auto`` takes an accelerator where there is one.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if available:
        # Float32 means float32: the default for convolutions is a 10-bit mantissa.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    if name == "cuda" and not available:
        raise ConfigError("device = 'cuda', but torch finds no CUDA device", "use device=auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def resources_for(name: DeviceName, memory_gb: float) -> Resources:
    """Return what a worker needs; only an explicit ``cuda`` is scheduled to an accelerator."""
    return Resources(gpu=1 if name == "cuda" else 0, memory_gb=memory_gb)


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Run without gradients; an accelerator that is out of memory raises `MemoryError`."""
    import torch

    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(str(error).splitlines()[0]) from None


def seeded_module(seed: int, build: Callable[[], ModuleType]) -> ModuleType:
    """Return a module whose random weights depend on ``seed`` only.

    The global random state of the process is as before afterwards.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def seeded_identity(seed: int, architecture: Any) -> dict[str, Any]:
    """Return what goes into a fingerprint in place of the digest of trained weights."""
    return {"kind": "seeded_random", "seed": seed, "architecture": architecture, "untrained": True}


def untrained_warning(name: str, architecture: str, seed: int) -> str:
    """Return the sentence that tells the user that values mean nothing."""
    return (
        f"{name}: {architecture} has seeded random weights (seed {seed}), it is untrained; its "
        "features exercise the pipeline and carry no meaning"
    )
