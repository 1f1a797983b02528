"""Recorded outputs of the original region networks: weights by formula, files in their layouts."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from support.shared import SHARED

from affectflow.models.vision.rcnn import cascade, faster
from affectflow.models.vision.rcnn.boxes import rounded_anchors
from affectflow.models.vision.rcnn.proposals import Limits
from affectflow.models.vision.rcnn.pyramid import STRIDES
from affectflow.models.vision.rcnn.resnext import Trunk

RECORDS = SHARED / "golden" / "regions"
FORMULA = SHARED / "golden" / "formula_weights.py"

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# Attribute heads of the Visual Genome detectors; names as its checkpoints have them.
ATTRIBUTES = ("cls_embed.weight", "attr_linear1.weight", "attr_linear2.bias")


@functools.cache
def formula() -> Any:
    """Return the module that makes weights from names."""
    spec = importlib.util.spec_from_file_location("formula_weights", FORMULA)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Case:
    """One recorded case: its arrays and what the original was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text())
        path = RECORDS / f"{name}.npz"
        self.arrays = dict(np.load(path)) if path.exists() else {}
        self.unread = set(self.arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        self.unread.discard(name)
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def pictures(self) -> list[np.ndarray]:
        """Return the inputs ``(H, W, 3)`` uint8 RGB."""
        files = [RECORDS / name for name in self.facts["inputs"]]
        return [np.asarray(Image.open(path).convert("RGB")) for path in files]

    def entries(self) -> dict[str, np.ndarray]:
        """Return the checkpoint's arrays under their published names."""
        keys = json.loads(gzip.decompress((RECORDS / self.facts["keys_file"]).read_bytes()))
        rules = [(re.compile(rule), gain) for rule, gain in self.facts["gain_rules"]]
        found = {}
        for name, shape in keys:
            gain = next((g for rule, g in rules if rule.search(name)), 1.0)
            found[name] = formula().formula_array(name, tuple(shape), gain)
        for level, stride in enumerate(STRIDES):
            name = f"rpn.anchor_generator.cell_anchors.{level}"
            if name in found:
                found[name] = rounded_anchors(stride, faster.ANCHOR_SIZES[level]).numpy()
        return found


def cascade_sizes(settings: dict[str, Any]) -> cascade.Sizes:
    """Return our sizes of a detectron2 configuration."""
    deform = settings.get("MODEL.RESNETS.DEFORM_ON_PER_STAGE", cascade.DEFORMABLE)
    trunk = Trunk(
        blocks=BLOCKS[settings.get("MODEL.RESNETS.DEPTH", 152)],
        groups=settings.get("MODEL.RESNETS.NUM_GROUPS", 32),
        group_width=settings.get("MODEL.RESNETS.WIDTH_PER_GROUP", 8),
        stem=settings.get("MODEL.RESNETS.STEM_OUT_CHANNELS", 64),
        output=settings.get("MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
        deformable=tuple(deform),
    )
    return cascade.Sizes(
        trunk=trunk,
        pyramid=settings.get("MODEL.FPN.OUT_CHANNELS", 256),
        head=settings.get("MODEL.ROI_BOX_HEAD.CONV_DIM", 256),
        head_convs=settings.get("MODEL.ROI_BOX_HEAD.NUM_CONV", 4),
        vector=settings.get("MODEL.ROI_BOX_HEAD.FC_DIM", 1024),
        mask=settings.get("MODEL.ROI_MASK_HEAD.CONV_DIM", 256),
        mask_convs=settings.get("MODEL.ROI_MASK_HEAD.NUM_CONV", 8),
        classes=settings.get("MODEL.ROI_HEADS.NUM_CLASSES", 80),
    )


def cascade_limits(settings: dict[str, Any]) -> Limits:
    """Return our limits of a detectron2 configuration."""
    before = settings.get("MODEL.RPN.PRE_NMS_TOPK_TEST", 1000)
    return Limits(before=before, after=settings.get("MODEL.RPN.POST_NMS_TOPK_TEST", 1000))


def faster_sizes(settings: dict[str, Any]) -> faster.Sizes:
    """Return our sizes of a maskrcnn-benchmark configuration."""
    depth = int(settings["MODEL.BACKBONE.CONV_BODY"].split("-")[1])
    trunk = Trunk(
        blocks=BLOCKS[depth],
        groups=settings["MODEL.RESNETS.NUM_GROUPS"],
        group_width=settings["MODEL.RESNETS.WIDTH_PER_GROUP"],
        stem=settings.get("MODEL.RESNETS.STEM_OUT_CHANNELS", 64),
        output=settings.get("MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
        norm_eps=0.0,
    )
    return faster.Sizes(
        trunk=trunk,
        pyramid=settings["MODEL.BACKBONE.OUT_CHANNELS"],
        vector=settings["MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM"],
        logits=settings["MODEL.ROI_BOX_HEAD.NUM_CLASSES"],
    )


def faster_limits(settings: dict[str, Any]) -> Limits:
    """Return our limits of a maskrcnn-benchmark configuration."""
    return Limits(
        before=settings["MODEL.RPN.PRE_NMS_TOP_N_TEST"],
        level=settings["MODEL.RPN.POST_NMS_TOP_N_TEST"],
        after=settings["MODEL.RPN.FPN_POST_NMS_TOP_N_TEST"],
    )


def write_zoo_file(path: Path, entries: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """Write a file as the detectron2 zoo has them."""
    content = {"model": entries, "__author__": "Detectron2 Model Zoo"}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_benchmark_file(path: Path, entries: dict[str, np.ndarray]) -> Path:
    """Write a file as training with several devices and attribute heads leaves it."""
    head = "roi_heads.box.predictor."
    more = {head + name: np.zeros((3, 2), np.float32) for name in ATTRIBUTES}
    tensors = {f"module.{k}": torch.from_numpy(v) for k, v in (entries | more).items()}
    torch.save({"model": tensors, "iteration": 1}, path)
    return path


def sample(values: torch.Tensor, *counts: int) -> np.ndarray:
    """Return evenly spread indices of the axes that are counted, all of the others."""
    array = values.detach().numpy()
    for axis, count in enumerate(counts):
        number = array.shape[axis]
        index = np.round(np.linspace(0, number - 1, min(number, count))).astype(int)
        array = np.take(array, index, axis=axis)
    return array


def same_lists(found: np.ndarray, recorded: np.ndarray, tolerance: float) -> float:
    """Return the worst distance of a recorded row to a row at most five places away."""
    assert found.shape == recorded.shape
    worst = 0.0
    for place, row in enumerate(recorded):
        near = found[max(0, place - 5) : place + 6]
        worst = max(worst, float(np.abs(near - row).max(axis=1).min()))
    assert worst <= tolerance
    return worst
