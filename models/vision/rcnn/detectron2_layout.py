"""The layouts of detectron2 checkpoints, renamed to the names of `cascade.CascadeRCNN`.

Three kinds of content are told apart: the zoo's (``model`` and ``__author__``, our names), a plain
state dict (our names), and Caffe2 blobs (flat names, scale and shift only). Blobs, and zoo files
that ask for it, are matched by suffix: each of our names takes the longest name of the file that
equals it or follows a dot in it.

Statistics of frozen norms may be absent: mean 0 and variance 1 then. Anchors and pixel statistics
are constants here and ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .conversion import Conversion, match, strip_prefix

_STATISTICS = {"running_mean": 0.0, "running_var": 1.0}
_CONSTANTS = re.compile(r"(^|\.)(pixel_(mean|std)|anchor_generator\.cell_anchors\.\d+)$")

# Ends of Caffe2 names, after underscores became dots.
_ENDS = (
    (r"\.(bn|gn)\.s$", ".norm.weight"),
    (r"\.(bn|gn)\.(bias|b)$", ".norm.bias"),
    (r"\.bn\.rm$", ".norm.running_mean"),
    (r"\.bn\.riv$", ".norm.running_var"),
    (r"\.w$", ".weight"),
    (r"\.b$", ".bias"),
)
# Parts of Caffe2 names.
_PARTS = (
    (r"^res\.conv1\.norm\.", "stem.conv1.norm."),
    (r"^conv1\.", "stem.conv1."),
    (r"\.branch1\.", ".shortcut."),
    (r"\.branch2a\.", ".conv1."),
    (r"\.branch2b\.", ".conv2."),
    (r"\.branch2c\.", ".conv3."),
    (r"^(pred|fc1000)\.", "linear."),
    (r"^conv\.rpn\.fpn\d\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn\.bbox\.pred\.fpn\d\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"^rpn\.cls\.logits\.fpn\d\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^fpn\.inner\.res(\d)\.\d+\.sum(\.lateral)?\.", r"fpn_lateral\1."),
    (r"^fpn\.res(\d)\.\d+\.sum\.", r"fpn_output\1."),
    (r"^fc6\.", "box_head.fc1."),
    (r"^fc7\.", "box_head.fc2."),
    (r"^head\.conv(\d)\.", r"box_head.conv\1."),
    (r"^bbox\.pred\.", "bbox_pred."),
    (r"^cls\.score\.", "cls_score."),
    (r"^\.?\[mask\]\.fcn(\d)\.", r"mask_head.mask_fcn\1."),
    (r"^conv5\.mask\.", "mask_head.deconv."),
    (r"^mask\.fcn\.logits\.", "mask_head.predictor."),
)


class LayoutError(ValueError):
    """The content is none of the layouts; the message is one line."""


def convert(content: Any, wanted: Mapping[str, Sequence[int]], pickled: bool = True) -> Conversion:
    """Compare the content of a file with what our module wants.

    Args:
        content: What the file holds: a zoo dict, Caffe2 blobs or a state dict, of arrays.
        wanted: Shapes of our module's entries.
        pickled: Whether it was a plain pickle, as the zoo has them, not a torch file.

    Raises:
        LayoutError: It is no such content, or one entry would fit two of ours.
    """
    arrays, by_suffix = _arrays(content, pickled)
    arrays = strip_prefix(arrays)
    if by_suffix:
        arrays = _by_suffix(arrays, list(wanted))
    constants = [name for name in arrays if _CONSTANTS.search(name)]
    rest = {name: value for name, value in arrays.items() if name not in set(constants)}
    outcome = match(_with_statistics(rest, wanted), wanted)
    outcome.dropped = constants
    return outcome


def _arrays(content: Any, pickled: bool) -> tuple[dict[str, Any], bool]:
    if not isinstance(content, Mapping) or not content:
        raise LayoutError(f"it holds {type(content).__name__}, expected a mapping of arrays")
    if isinstance(content.get("model"), Mapping):
        return _named(content, pickled)
    blobs = content.get("blobs", content)
    if not isinstance(blobs, Mapping):
        raise LayoutError(f"'blobs' holds {type(blobs).__name__}, expected a mapping of arrays")
    kept = {name: one for name, one in blobs.items() if not str(name).endswith("_momentum")}
    arrays = _checked(kept)
    if any("." in name for name in arrays):
        return arrays, False
    return caffe2_arrays(arrays), True


def _named(content: Mapping[Any, Any], pickled: bool) -> tuple[dict[str, Any], bool]:
    if pickled and "__author__" not in content:
        raise LayoutError("it has 'model' but no '__author__', so it is no file of the zoo")
    arrays, by_suffix = _checked(content["model"]), bool(content.get("matching_heuristics"))
    from_caffe2 = by_suffix and content.get("__author__") == "Caffe2"
    return (caffe2_arrays(arrays) if from_caffe2 else arrays), by_suffix


def _checked(values: Mapping[Any, Any]) -> dict[str, Any]:
    odd = [str(name) for name, value in values.items() if not hasattr(value, "shape")]
    if odd:
        raise LayoutError(f"entries that are no arrays: {', '.join(odd[:3])}")
    return {str(name): value for name, value in values.items()}


def caffe2_name(name: str) -> str:
    """Return the detectron2 name of a Caffe2 blob."""
    name = name.replace("_", ".")
    for pattern, target in (*_ENDS, *_PARTS):
        name = re.sub(pattern, target, name)
    return name


def caffe2_arrays(blobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return Caffe2 blobs under detectron2 names.

    Rows of the background, which is class 0 there, move to the end of the classifier and are left
    out of boxes and masks.
    """
    found: dict[str, Any] = {}
    for blob, value in blobs.items():
        name = caffe2_name(blob)
        if name.startswith("bbox_pred."):
            value = value[4:]
        elif name.startswith("mask_head.predictor."):
            value = value[1:]
        elif name.startswith("cls_score."):
            value = np.concatenate([value[1:], value[:1]])
        found[name] = value
    return found


def _by_suffix(arrays: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    chosen: dict[str, str] = {}
    for name in wanted:
        ends = (name[place + 1 :] for place in (-1, *_dots(name)))
        source = next((end for end in ends if end in arrays), None)
        if source is None:
            continue
        if source in chosen:
            raise LayoutError(f"'{source}' fits both {chosen[source]} and {name}")
        chosen[source] = name
    return {chosen.get(name, name): value for name, value in arrays.items()}


def _dots(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "."]


def _with_statistics(arrays: dict[str, Any], wanted: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the arrays with statistics of frozen norms whose scale is there and they are not."""
    filled = dict(arrays)
    for name, shape in wanted.items():
        stem, _, leaf = name.rpartition(".")
        if leaf in _STATISTICS and name not in arrays and f"{stem}.weight" in arrays:
            filled[name] = np.full(tuple(shape), _STATISTICS[leaf], dtype=np.float32)
    return filled
