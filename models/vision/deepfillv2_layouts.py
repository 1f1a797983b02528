"""Layouts of published DeepFillv2 checkpoints: which family a file is, and its keys in ours.

| family | code of | keys |
|---|---|---|
| A | nipponjo/deepfillv2-pytorch, ``networks_tf`` | ``conv1`` … ``xconv1`` … ``pmconv1`` … |
| B | the same, ``networks`` | ``stage1.conv1`` … ``stage2.ca_conv1`` … |
| C | csqiangwen/DeepFillv2_Pytorch | ``coarse.0`` … ``refine_conv.0`` …; feature and gate apart |
| D | open-mmlab/mmediting | ``generator.stage1.encoder.enc1`` … |
| own | `deepfillv2.Generator` | ``coarse.0.weight`` … |

Family C keeps spectral norm in its enlarging layers: ``weight_bar`` and a vector ``weight_u``. Its
code takes one power step on every forward, also in evaluation, so a loaded file never gives the
same output twice; here the step is taken once and folded into the weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .deepfillv2 import PRESETS, Family, Generator, GeneratorOptions

NAMES: Mapping[str, str] = {
    "A": "nipponjo networks_tf",
    "B": "nipponjo networks",
    "C": "csqiangwen",
    "D": "mmediting",
    "E": "zhaoyuzhi",
    "own": "affectflow",
}

# Layers of ours that enlarge first; elsewhere they are wrapped once more.
_ENLARGING = ("coarse.12", "coarse.14", "merged.2", "merged.4")
_FUSE_BUFFERS = {
    "B": "stage2.contextual_attention.fuse_weight",
    "D": "generator.stage2.contextual_attention_neck.contextual_attention.fuse_kernel",
}
_SHOWN = 3


class LayoutError(ValueError):
    """A checkpoint is not of the layout it should have."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A checkpoint in our names.

    Attributes:
        family: What the file is.
        options: For the generator it fits.
        tensors: State dict of `Generator`.
    """

    family: Family
    options: GeneratorOptions
    tensors: dict[str, Tensor]


def detect(keys: Iterable[str]) -> Family:
    """Return the family that a checkpoint's keys belong to.

    Raises:
        LayoutError: It is family E, which is not supported, or none of the known ones.
    """
    found = set(keys)
    if "stage1.conv1.conv.weight" in found:
        return "B"
    if "conv2_downsample.conv.weight" in found:
        return "A"
    if "generator.stage1.encoder.enc1.conv.conv.weight" in found:
        return "D"
    if "coarse.0.weight" in found:
        return "own"
    if "coarse.0.mask_conv2d.weight" in found:
        if any(key.startswith("refine_conv.") for key in found):
            return "C"
        if any(key.startswith("refinement.") for key in found):
            raise LayoutError(
                f"family E ({NAMES['E']}/deepfillv2) has no contextual attention and is not "
                "supported; expected weights of family A, B, C or D"
            )
    first = ", ".join(sorted(found)[:_SHOWN]) or "none"
    raise LayoutError(f"the keys are of no known family of DeepFillv2 weights; first keys: {first}")


def convert(
    tensors: Mapping[str, Tensor],
    family: Family | None = None,
    options: GeneratorOptions | None = None,
    power_steps: int = 1,
) -> Converted:
    """Return a checkpoint's generator in our names, spectral norm folded.

    Args:
        tensors: Of the file, wrappers removed; discriminator entries of family D are passed over.
        family: The family the file must be; None to find out.
        options: Of the network; None for the family's preset.
        power_steps: How often spectral norm steps before it is folded; 1 is the first forward of
            the original code after loading.

    Raises:
        LayoutError: The family is another one, or names or shapes do not fit it.
    """
    found = detect(tensors)
    if family is not None and family != found:
        raise LayoutError(
            f"the keys are those of family {found} ({NAMES[found]}), not of family {family} "
            f"({NAMES[family]}) as was asked for"
        )
    options = options or _preset(found, tensors)
    if found == "D":
        tensors = {key: value for key, value in tensors.items() if key.startswith("generator.")}
    check_shapes(tensors, expected_shapes(found, options), found)
    if found == "own":
        return Converted(found, options, dict(tensors))
    taken: dict[str, Tensor] = {}
    for ours, theirs in layer_names(found).items():
        if found == "C":
            taken[f"{ours}.weight"], taken[f"{ours}.bias"] = joined(tensors, theirs, power_steps)
        else:
            taken[f"{ours}.weight"] = tensors[f"{theirs}.weight"]
            taken[f"{ours}.bias"] = tensors[f"{theirs}.bias"]
    return Converted(found, options, taken)


def export(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Return our state dict under the names of family A, B or D.

    Raises:
        LayoutError: For family C, whose spectral norm has no form that gives back any weight.
    """
    if family == "own":
        return dict(tensors)
    if family == "C":
        raise LayoutError("weights cannot be written as family C: spectral norm fixes their size")
    written: dict[str, Tensor] = {}
    for ours, theirs in layer_names(family).items():
        for part in ("weight", "bias"):
            written[f"{theirs}.{part}"] = tensors[f"{ours}.{part}"]
    if family in _FUSE_BUFFERS:
        written[_FUSE_BUFFERS[family]] = torch.eye(3).reshape(1, 1, 3, 3)
    return written


def expected_shapes(family: Family, options: GeneratorOptions) -> dict[str, tuple[int, ...]]:
    """Return every key of a family's generator with its shape; nothing is allocated."""
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in Generator(options).state_dict().items()}
    if family == "own":
        return ours
    shapes: dict[str, tuple[int, ...]] = {}
    for name, theirs in layer_names(family).items():
        weight = ours[f"{name}.weight"]
        if family == "C":
            shapes |= split_shapes(theirs, weight, name in _ENLARGING)
        else:
            shapes |= {f"{theirs}.weight": weight, f"{theirs}.bias": weight[:1]}
    if family in _FUSE_BUFFERS:
        shapes[_FUSE_BUFFERS[family]] = (1, 1, 3, 3)
    return shapes


def layer_names(family: Family) -> dict[str, str]:
    """Return the prefix of each of our layers in a family's files."""
    makers = {"A": _names_a, "B": _names_b, "C": _names_c, "D": _names_d}
    theirs = list(makers[family]())
    parts = (("coarse", 17), ("dilated", 10), ("attentive", 6), ("attended", 2), ("merged", 7))
    ours = [f"{part}.{place}" for part, count in parts for place in range(count)]
    return dict(zip(ours, theirs, strict=True))


def _names_a() -> Iterator[str]:
    marks = {2: "_downsample", 4: "_downsample", 13: "_upsample", 15: "_upsample"}
    dilated = dict.fromkeys(range(7, 11), "_atrous")
    branches = (("conv", range(1, 18)), ("xconv", range(1, 11)), ("pmconv", (*range(1, 7), 9, 10)))
    for prefix, numbers in (*branches, ("allconv", range(11, 18))):
        known = marks if prefix == "pmconv" else marks | dilated
        for number in numbers:
            mark = known.get(number, "")
            yield f"{prefix}{number}{mark}.conv" + (".conv" if mark == "_upsample" else "")


def _names_b() -> Iterator[str]:
    def down(stem: str) -> Iterator[str]:
        for block in (1, 2):
            yield f"{stem}{block}.conv1_downsample.conv"
            yield f"{stem}{block}.conv2.conv"

    def tail(stage: str) -> Iterator[str]:
        for block in (1, 2):
            yield f"{stage}.up_block{block}.conv1_upsample.conv.conv"
            yield f"{stage}.up_block{block}.conv2.conv"
        yield f"{stage}.conv_to_rgb.conv"

    yield "stage1.conv1.conv"
    yield from down("stage1.down_block")
    yield from (f"stage1.conv_bn{number}.conv" for number in range(1, 8))
    yield from tail("stage1")
    yield "stage2.conv_conv1.conv"
    yield from down("stage2.conv_down_block")
    yield from (f"stage2.conv_conv_bn{number}.conv" for number in range(1, 6))
    yield "stage2.ca_conv1.conv"
    yield from down("stage2.ca_down_block")
    yield from (f"stage2.ca_conv_bn{number}.conv" for number in (1, 4, 5))
    yield from (f"stage2.conv_bn{number}.conv" for number in (6, 7))
    yield from tail("stage2")


def _names_c() -> Iterator[str]:
    parts = (("coarse", 17), ("refine_conv", 10), ("refine_atten_1", 6), ("refine_atten_2", 2))
    for part, count in (*parts, ("refine_combine", 7)):
        yield from (f"{part}.{place}" for place in range(count))


def _names_d() -> Iterator[str]:
    def encoder(place: str) -> Iterator[str]:
        yield from (f"generator.{place}.enc{number}.conv.conv" for number in range(1, 7))

    def dilations(stage: str) -> Iterator[str]:
        stem = f"generator.{stage}.dilation_neck.dilation_convs"
        yield from (f"{stem}.{number}.conv.conv" for number in range(4))

    def decoder(stage: str) -> Iterator[str]:
        yield from (f"generator.{stage}.decoder.dec{number}.conv.conv" for number in range(1, 8))

    yield from encoder("stage1.encoder")
    yield from dilations("stage1")
    yield from decoder("stage1")
    yield from encoder("stage2.encoder_conv")
    yield from dilations("stage2")
    yield from encoder("stage2.encoder_attention")
    neck = "generator.stage2.contextual_attention_neck"
    yield from (f"{neck}.conv{number}.conv.conv" for number in (1, 2))
    yield from decoder("stage2")


def split_shapes(
    theirs: str, weight: tuple[int, ...], enlarging: bool
) -> dict[str, tuple[int, ...]]:
    """Return the keys of a layer whose feature and gate are apart, with their shapes."""
    half = (weight[0] // 2, *weight[1:])
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("conv2d", "mask_conv2d"):
        if enlarging:
            module = f"{theirs}.gated_conv2d.{part}.module"
            inputs = half[1] * half[2] * half[3]
            shapes |= {f"{module}.bias": half[:1], f"{module}.weight_u": half[:1]}
            shapes |= {f"{module}.weight_v": (inputs,), f"{module}.weight_bar": half}
        else:
            shapes |= {f"{theirs}.{part}.weight": half, f"{theirs}.{part}.bias": half[:1]}
    return shapes


def joined(tensors: Mapping[str, Tensor], theirs: str, steps: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer whose feature and gate are convolutions of their own."""
    weights, biases = [], []
    for part in ("conv2d", "mask_conv2d"):
        if (module := f"{theirs}.{part}.weight") in tensors:
            weights.append(tensors[module])
            biases.append(tensors[f"{theirs}.{part}.bias"])
            continue
        module = f"{theirs}.gated_conv2d.{part}.module"
        weights.append(fold(tensors[f"{module}.weight_bar"], tensors[f"{module}.weight_u"], steps))
        biases.append(tensors[f"{module}.bias"])
    return torch.cat(weights), torch.cat(biases)


def fold(weight: Tensor, u: Tensor, steps: int = 1) -> Tensor:
    """Return a weight divided by its spectral norm after ``steps`` power steps from ``u``."""
    return weight / spectral_norm(weight, u, steps).to(weight.dtype)


def spectral_norm(weight: Tensor, u: Tensor, steps: int = 1) -> Tensor:
    """Return the estimate of the largest singular value, a float64 scalar.

    Args:
        weight: ``(outputs, …)``.
        u: ``(outputs,)``, the stored vector; it need not be of length 1.
        steps: Power steps, at least one.
    """
    matrix, left = weight.detach().double().flatten(1), u.detach().double()
    for _ in range(steps):
        right = functional.normalize(matrix.t() @ left, dim=0, eps=1e-12)
        left = functional.normalize(matrix @ right, dim=0, eps=1e-12)
    return left @ (matrix @ right)


def _preset(family: Family, tensors: Mapping[str, Tensor]) -> GeneratorOptions:
    options = PRESETS[family]
    if family != "own":
        return options
    # Our own weights can be of any width; a tensor without rows is told by the check.
    rows = max(tensors["coarse.0.weight"].shape[:1], default=0)
    return replace(options, width=max(2, rows // 2))


def check_shapes(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], family: str
) -> None:
    """Refuse tensors that are not exactly those of a family.

    Raises:
        LayoutError: Naming the first that are missing, unexpected, or of another shape or type.
    """
    missing = [key for key in expected if key not in tensors]
    extra = [key for key in tensors if key not in expected]
    shapes = [
        f"{key} is {tuple(tensors[key].shape)}, expected {shape}"
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    kinds = (("missing", missing), ("unexpected", extra), ("of wrong shape", shapes))
    numbers = [key for key in expected if key in tensors and not tensors[key].is_floating_point()]
    problems = [
        f"{len(found)} {what}: {'; '.join(found[:_SHOWN])}"
        for what, found in (*kinds, ("not of floating point", numbers))
        if found
    ]
    if problems:
        listed = ", ".join(problems)
        raise LayoutError(f"these are no whole family {family} ({NAMES[family]}) weights: {listed}")
