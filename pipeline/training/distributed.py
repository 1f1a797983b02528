"""Ranks: sums over all processes of a training that `torchrun` started, or none of that.

Gradients are summed once per step, after accumulation, over one flat buffer. Sums (not means of
rank means, as `DistributedDataParallel` forms) keep the loss of a global batch exact when ranks
hold unequal numbers of labelled rows, or none at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as processes
from torch import Tensor, nn

from ..extractors._device import DeviceName, pick_device

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of a training.

    Attributes:
        rank: Number of this process; rank 0 alone writes.
        world: How many there are.
        device: Where this process computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def sum_(self, values: Tensor) -> Tensor:
        """Replace a tensor by its sum over all ranks; return it."""
        if self.world > 1:
            processes.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their sums; a parameter unused everywhere keeps none."""
        if self.world == 1:
            return
        found = [parameter for parameter in parameters if parameter.requires_grad]
        has = torch.tensor([p.grad is not None for p in found], dtype=torch.int32)
        used = self.sum_(has.to(self.device)).tolist()
        chosen = [parameter for parameter, count in zip(found, used, strict=True) if count]
        for dtype in {parameter.dtype for parameter in chosen}:
            self._sum_flat([parameter for parameter in chosen if parameter.dtype == dtype])

    def _sum_flat(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.sum_(torch.cat([gradient.flatten() for gradient in gradients]))
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0, such as running averages."""
        if self.world > 1:
            for buffer in model.buffers():
                processes.broadcast(buffer, 0)

    def from_main(self, value: Value) -> Value:
        """Return rank 0's value on every rank."""
        if self.world == 1:
            return value
        box = [value]
        processes.broadcast_object_list(box, 0)
        return box[0]

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            processes.barrier()


def start(device: DeviceName = "auto") -> Ranks:
    """Join the processes that `torchrun` started; without it, return the only rank.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    picked = pick_device(device)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if picked.type == "cuda":
        picked = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(picked)
    if world > 1 and not processes.is_initialized():
        processes.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    return Ranks(rank, world, picked)


def stop() -> None:
    """Leave the group of processes."""
    if processes.is_initialized():
        processes.destroy_process_group()
