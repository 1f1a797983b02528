"""The names of vqa-maskrcnn-benchmark's checkpoints, renamed to those of `faster.FasterRCNN`.

Attribute heads, which the detector was trained with and which no feature uses, are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from .conversion import Conversion, HasShape, match, strip_prefix

Tensor = TypeVar("Tensor", bound=HasShape)

_ATTRIBUTES = re.compile(r"^roi_heads\.box\.(?:.*\.)?(?:cls_embed|attr\w*)(?:\.|$)")
_TOP = "backbone.body."
_RULES = (
    (re.compile(r"^backbone\.fpn\.fpn_inner(\d)"), "backbone.fpn_lateral{0}"),
    (re.compile(r"^backbone\.fpn\.fpn_layer(\d)"), "backbone.fpn_output{0}"),
    (re.compile(r"^backbone\.body\.layer(\d)"), "backbone.bottom_up.res{0}"),
)
_PARTS = (
    ("backbone.body.stem", "backbone.bottom_up.stem"),
    ("rpn.head.conv", "proposal_generator.rpn_head.conv"),
    ("rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits"),
    ("rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas"),
    ("rpn.anchor_generator.cell_anchors.", "proposal_generator.anchors"),
    ("roi_heads.box.feature_extractor.", "box_head."),
    ("roi_heads.box.predictor.", "box_predictor."),
)
_NORM = re.compile(r"\.bn([123])\.")
OPTIONAL_PREFIX = "proposal_generator.anchors"


def our_name(name: str) -> str:
    """Return our name of an entry; unknown names come back as they are."""
    trunk = name.startswith(_TOP)
    for pattern, target in _RULES:
        found = pattern.match(name)
        if found:
            # Their stages count from 1, ours are named after the stride: res2 to res5.
            name = target.format(int(found[1]) + 1) + name[found.end() :]
    for source, target in _PARTS:
        if name.startswith(source):
            name = target + name[len(source) :]
            break
    if not trunk:
        return name
    name = name.replace(".downsample.0.", ".shortcut.")
    return _NORM.sub(r".conv\1.norm.", name.replace(".downsample.1.", ".shortcut.norm."))


def convert(tensors: Mapping[str, Tensor], wanted: Mapping[str, Sequence[int]]) -> Conversion:
    """Compare a checkpoint's tensors with what our module wants.

    Args:
        tensors: By their names, perhaps all behind ``module.``.
        wanted: Shapes of our module's entries.
    """
    plain = strip_prefix(tensors)
    dropped = [name for name in plain if _ATTRIBUTES.match(name)]
    renamed = {our_name(name): plain[name] for name in plain if name not in set(dropped)}
    anchors = [name for name in wanted if name.startswith(OPTIONAL_PREFIX)]
    outcome = match(renamed, wanted, anchors)
    outcome.dropped = dropped
    return outcome
