"""Reading the reference outputs of the original DeepFillv2 programs."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from support.shared import SHARED

FOLDER = SHARED / "golden" / "deepfill"


def names(pattern: str) -> list[str]:
    """Return the names of the records that match, none where there are no records."""
    return sorted(path.stem for path in FOLDER.glob(f"{pattern}.json"))


def facts(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@functools.cache
def formula() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "formula_weights", FOLDER.parent / "formula_weights.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def formula_input(inputs: dict) -> torch.Tensor:
    """Return the input that a record describes."""
    values = formula().formula_input(
        inputs["name"], tuple(inputs["shape"]), inputs["low"], inputs["high"]
    )
    return torch.from_numpy(values)


def formula_state(part: str, weights: dict) -> dict[str, torch.Tensor]:
    """Return the weights of a network, for example ``A_generator``, under their own keys."""
    described = facts(f"{part}.keys")
    overrides = weights.get("gain_overrides", {})
    fixed = set(described.get("fixed_keys", {}))
    state = {}
    for key, shape in described["state_dict"]:
        if key in fixed:
            state[key] = torch.eye(3).reshape(1, 1, 3, 3)
        else:
            gain = overrides.get(key, weights["gain"])
            state[key] = torch.from_numpy(formula().formula_array(key, tuple(shape), gain))
    return state


def write_checkpoint(family: str, state: dict[str, torch.Tensor], path: Path) -> Path:
    """Write a generator's weights as the original program's files hold them."""
    if family in {"A", "B"}:
        noise = {"conv1.conv_sn.bias": torch.zeros(64)}
        saved = {"G": state, "D": noise, "n_iter": 3, "G_optim": {"state": {}, "param_groups": []}}
    elif family == "D":
        meta = {"mmedit_version": "0.7.0", "iter": 1}
        saved = {"meta": meta, "state_dict": {**state, "disc.conv1.conv.bias": torch.zeros(64)}}
    else:
        saved = state
    torch.save(saved, path)
    return path


def picture(described: dict, low: float, high: float, channels: str) -> torch.Tensor:
    """Return the picture of a record as the network gets it, ``(1, 3, H, W)``."""
    if described["kind"] == "formula_input":
        return formula_input(described)
    pixels = np.asarray(Image.open(FOLDER / described["file"]).convert("RGB"), np.float32)
    if channels == "BGR":
        pixels = pixels[:, :, ::-1]
    scaled = pixels / 255 * (high - low) + low
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))[None]


def rectangles(described: dict, height: int, width: int) -> torch.Tensor:
    """Return the mask of a record, ``(1, 1, H, W)``."""
    mask = torch.zeros(1, 1, height, width)
    for top, bottom, left, right in described["rects_r0_r1_c0_c1"]:
        mask[:, :, top:bottom, left:right] = 1
    return mask
