"""Held-out crops: how far fillings are from the truth, for the network and for simple fillings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..deepfillv2 import from_network, to_network
from ..inpainter import InpainterConfig, open_inpainter

if TYPE_CHECKING:
    from affectflow.models.vision.deepfillv2 import Generator

BASELINES = {
    "mean": InpainterConfig(backend="mean"),
    "telea": InpainterConfig(method="telea"),
    "navier_stokes": InpainterConfig(method="navier_stokes"),
}


def distances(
    filled: torch.Tensor, pictures: torch.Tensor, masks: torch.Tensor
) -> dict[str, float]:
    """Return ``l1`` (0 to 1) and ``psnr`` (decibels) over the pixels of all holes.

    Args:
        filled: ``(B, S, S, 3)`` uint8.
        pictures: Likewise, the truth.
        masks: ``(B, 1, S, S)``, 1 in holes.
    """
    holes = masks[:, 0] > 0
    error = (filled[holes].double() - pictures[holes].double()) / 255
    mean_square = error.square().mean().item()
    psnr = -10 * math.log10(mean_square) if mean_square else math.inf
    return {"l1": error.abs().mean().item(), "psnr": psnr}


def of_baselines(pictures: torch.Tensor, masks: torch.Tensor) -> dict[str, dict[str, float]]:
    """Return the `distances` of fillings without a network."""
    images = list(pictures.numpy())
    holes = [(mask[0].numpy() > 0).astype(np.uint8) * 255 for mask in masks]
    found = {}
    for name, config in BASELINES.items():
        filled = np.stack(open_inpainter(config).fill(images, holes))
        found[name] = distances(torch.from_numpy(filled), pictures, masks)
    return found


@torch.inference_mode()
def fill(network: Generator, pictures: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the network's completed pictures, ``(B, S, S, 3)`` uint8, one at a time."""
    device = next(network.parameters()).device
    filled = []
    for picture, mask in zip(pictures, masks, strict=True):
        image = to_network(picture[None], network.options).to(device)
        completed = network.complete(image, mask[None].to(device))
        filled.append(from_network(completed, network.options).cpu())
    return torch.cat(filled)


def grid(pictures: torch.Tensor, masks: torch.Tensor, filled: torch.Tensor) -> np.ndarray:
    """Return rows of picture, picture with its hole in grey, and filling, ``(h, w, 3)`` uint8."""
    masked = torch.where(masks[:, 0, :, :, None] > 0, torch.full_like(pictures, 127), pictures)
    rows = torch.cat((pictures, masked, filled), dim=2)
    return rows.flatten(0, 1).numpy()
