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
    """Return ``l1`` (0 to 1) and ``psnr`` (decibels) over the pixels of all holes, and ``ssim``.

    Args:
        filled: ``(B, S, S, 3)`` uint8.
        pictures: Likewise, the truth.
        masks: ``(B, 1, S, S)``, 1 in holes.
    """
    holes = masks[:, 0] > 0
    error = (filled[holes].double() - pictures[holes].double()) / 255
    mean_square = error.square().mean().item()
    psnr = -10 * math.log10(mean_square) if mean_square else math.inf
    similarity = ssim(filled, pictures).item()
    return {"l1": error.abs().mean().item(), "psnr": psnr, "ssim": similarity}


def ssim(filled: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Return the mean structural similarity of whole pictures, at most 1, a scalar.

    Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
    2004: Gaussian windows of 11 pixels and deviation 1.5, wholly inside, per channel.

    Args:
        filled: ``(B, S, S, 3)`` uint8, S at least 11.
        pictures: Likewise.
    """
    places = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-(places**2) / (2 * 1.5**2))
    window = torch.outer(window, window)[None, None] / window.sum() ** 2

    def local_mean(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(values, window)

    a, b = (x.permute(0, 3, 1, 2).flatten(0, 1)[:, None].double() / 255 for x in (filled, pictures))
    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a, variance_b = local_mean(a * a) - mean_a**2, local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
    return (light * structure).mean()


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
