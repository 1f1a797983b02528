"""Files of the two X152 networks: every layout, and one line for each way to be wrong."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.region_records import (
    Case,
    cascade_sizes,
    faster_sizes,
    write_benchmark_file,
    write_zoo_file,
)
from support.shared import needs_shared

from affectflow.models.vision.rcnn import detectron2_layout
from affectflow.models.vision.rcnn.cascade import CascadeRCNN, Sizes
from affectflow.models.vision.rcnn.faster import FasterRCNN
from affectflow.models.vision.rcnn.resnext import parameters_of
from affectflow.pipeline.errors import WeightsError
from affectflow.pipeline.extractors.regions.checkpoints import load_benchmark_file, load_zoo_file

Arrays = dict[str, np.ndarray]
MARK = 0.125
BACKBONE = "backbone.bottom_up."


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return Case("d2_checkpointer").facts


@pytest.fixture(scope="module")
def entries() -> Arrays:
    return Case("d2_tiny_deform_a").entries()


@pytest.fixture(scope="module")
def zoo_network() -> CascadeRCNN:
    settings = Case("d2_tiny_deform_a").facts["source"]["config_overrides"]
    return CascadeRCNN(cascade_sizes(settings))


def zoo(model: Arrays, **more: Any) -> dict[str, Any]:
    return {"model": model, "__author__": "Detectron2 Model Zoo", **more}


def without_statistics(entries: Arrays) -> Arrays:
    ends = ("running_mean", "running_var")
    return {k: v for k, v in entries.items() if not (k.startswith(BACKBONE) and k.endswith(ends))}


def caffe2_blobs(entries: Arrays) -> Arrays:
    """Return the trunk under Caffe2 names: scale and shift only, without offsets."""
    parts = {
        "shortcut.norm": "branch1_bn",
        "shortcut": "branch1",
        "conv1.norm": "branch2a_bn",
        "conv1": "branch2a",
        "conv2.norm": "branch2b_bn",
        "conv2": "branch2b",
        "conv3.norm": "branch2c_bn",
        "conv3": "branch2c",
    }
    blobs = {}
    for name, value in without_statistics(entries).items():
        if not name.startswith(BACKBONE) or "conv2_offset" in name:
            continue
        short, leaf = name.removeprefix(BACKBONE).rsplit(".", 1)
        end = {"weight": "s" if short.endswith("norm") else "w", "bias": "b"}[leaf]
        if short.startswith("stem"):
            blob = "res_conv1_bn" if short.endswith("norm") else "conv1"
        else:
            stage, index, part = short.split(".", 2)
            blob = f"{stage}_{index}_{parts[part]}"
        blobs[f"{blob}_{end}"] = value
    return blobs


def scenarios(entries: Arrays) -> dict[str, Any]:
    """Return the content of every recorded file."""
    changed = entries | {
        "roi_heads.box_predictor.0.cls_score.weight": np.zeros((3, 64), np.float32)
    }
    extra = {k: v for k, v in entries.items() if "mask_head" not in k}
    anchors = {
        f"proposal_generator.anchor_generator.cell_anchors.{n}": np.zeros((3, 4)) for n in range(5)
    }
    constants = {"pixel_mean": np.zeros((3, 1, 1)), "pixel_std": np.ones((3, 1, 1))}
    backbone = {k.removeprefix(BACKBONE): v for k, v in entries.items() if k.startswith(BACKBONE)}
    blobs = caffe2_blobs(entries)
    other = {"pred_w": np.zeros((5, 4)), "pred_b": np.zeros(5), "conv1_w_momentum": np.zeros(2)}
    return {
        "zoo": zoo(entries),
        "zoo_old_extras": zoo(entries | constants | anchors),
        "zoo_no_running_stats": zoo(without_statistics(entries)),
        "zoo_module_prefix": zoo({f"module.{k}": v for k, v in entries.items()}),
        "zoo_wrong_classes": zoo(changed),
        "zoo_extra_and_missing": zoo(extra | {"foo.bar": np.zeros(3, np.float32)}),
        "zoo_heuristics": zoo(backbone, matching_heuristics=True),
        "c2_imagenet": blobs | other,
        "c2_blobs": {"blobs": blobs},
        "pth_model": {"model": entries},
        "pth_bare": entries,
    }


def state_digest(state: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name], dtype="<f4").tobytes())
    return digest.hexdigest()


@needs_shared("golden/regions")
@pytest.mark.parametrize(
    "name",
    [
        "zoo",
        "zoo_old_extras",
        "zoo_no_running_stats",
        "zoo_module_prefix",
        "zoo_wrong_classes",
        "zoo_extra_and_missing",
        "zoo_heuristics",
        "c2_imagenet",
        "c2_blobs",
        "pth_model",
        "pth_bare",
    ],
)
def test_what_fits_is_what_the_original_loads(
    name: str, facts: dict[str, Any], entries: Arrays, zoo_network: CascadeRCNN
) -> None:
    wanted = {key: tuple(value.shape) for key, value in zoo_network.state_dict().items()}
    content = scenarios(entries)[name]
    outcome = detectron2_layout.convert(content, wanted, pickled=not name.startswith("pth"))
    recorded = facts["scenarios"][name]
    absent = outcome.missing + [one for one, _, _ in outcome.mismatched]
    assert len(absent) == recorded["n_missing"]
    named = [one for one in recorded["missing"] if not one.startswith("...")]
    assert set(named) <= set(absent)
    assert outcome.mismatched == [
        (one, tuple(got), tuple(ours)) for one, got, ours in recorded["incorrect_shapes"]
    ]
    unexpected = [one for one in recorded["unexpected"] if not one.startswith("pixel_")]
    assert sorted(outcome.unexpected) == unexpected
    filled = {key: np.full(shape, MARK, np.float32) for key, shape in wanted.items()}
    filled |= {key: np.asarray(value) for key, value in outcome.tensors.items()}
    assert state_digest(filled) == recorded["state_sha256"]


@needs_shared("golden/regions")
def test_every_recorded_file_is_tested(facts: dict[str, Any], entries: Arrays) -> None:
    assert set(scenarios(entries)) | {"zoo_no_author"} == set(facts["scenarios"])


@needs_shared("golden/regions")
def test_caffe2_names(facts: dict[str, Any]) -> None:
    blob = np.arange(24, dtype=np.float32).reshape(8, 3)
    for name, (ours, shape) in facts["c2_name_table"].items():
        (found,) = detectron2_layout.caffe2_arrays({name: blob}).items()
        assert found[0] == ours
        assert list(found[1].shape) == shape
    (score,) = detectron2_layout.caffe2_arrays({"cls_score_w": blob}).values()
    assert score[-1].tolist() == blob[0].tolist()


@needs_shared("golden/regions")
def test_one_entry_for_two_heads_is_refused(zoo_network: CascadeRCNN) -> None:
    wanted = {key: tuple(value.shape) for key, value in zoo_network.state_dict().items()}
    with pytest.raises(detectron2_layout.LayoutError, match="fits both"):
        detectron2_layout.convert({"cls_score_w": np.zeros((12, 64), np.float32)}, wanted)


@needs_shared("golden/regions")
@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_pickle_protocol(
    protocol: int, entries: Arrays, zoo_network: CascadeRCNN, tmp_path: Path
) -> None:
    path = write_zoo_file(tmp_path / "a.pkl", entries, protocol)
    assert not load_zoo_file(zoo_network, path).dropped
    for name, value in zoo_network.state_dict().items():
        assert (value.numpy() == entries[name]).all()


class Hostile:
    """Would run a command when it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os").system, ("true",)


def broken(entries: Arrays, name: str) -> tuple[Arrays, str]:
    """Return changed entries and what the message must say, for a tensor both layouts have."""
    first = next(key for key in entries if key.endswith("rpn_head.conv.weight"))
    if name == "missing":
        return {k: v for k, v in entries.items() if k != first}, "missing: proposal_generator.rpn_"
    if name == "extra":
        return entries | {"roi_heads.other.weight": np.zeros(3, np.float32)}, "unexpected: roi_hea"
    changed = entries | {first: np.zeros((3, 2, 1, 1), np.float32)}
    return changed, r"another shape: proposal_generator.*\(3, 2, 1, 1\), expected"


def one_line(load: Callable[[], Any], pattern: str) -> None:
    with pytest.raises(WeightsError, match=pattern) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@needs_shared("golden/regions")
@pytest.mark.parametrize("name", ["missing", "extra", "shape"])
def test_zoo_files_that_do_not_fit(
    name: str, entries: Arrays, zoo_network: CascadeRCNN, tmp_path: Path
) -> None:
    changed, pattern = broken(entries, name)
    path = write_zoo_file(tmp_path / "a.pkl", changed)
    one_line(lambda: load_zoo_file(zoo_network, path), pattern)


@needs_shared("golden/regions")
def test_damaged_and_hostile_zoo_files(
    entries: Arrays, zoo_network: CascadeRCNN, tmp_path: Path
) -> None:
    path = write_zoo_file(tmp_path / "a.pkl", entries)
    whole = path.read_bytes()
    contents = {
        "not a readable pickle": whole[: len(whole) // 2],
        r"refused, it refers to '(posix|os|nt)\.system'": pickle.dumps(zoo({"a": Hostile()})),
        "no '__author__'": pickle.dumps({"model": entries}),
        "holds list": pickle.dumps([1]),
        "no arrays: a": pickle.dumps(zoo({"a": "text"})),
    }
    for pattern, content in contents.items():
        path.write_bytes(content)
        one_line(lambda: load_zoo_file(zoo_network, path), pattern)


@pytest.fixture(scope="module")
def benchmark_case() -> Case:
    return Case("vmb_tiny_orig")


@needs_shared("golden/regions")
def test_benchmark_files(benchmark_case: Case, tmp_path: Path) -> None:
    network = FasterRCNN(faster_sizes(benchmark_case.facts["config"]))
    entries = benchmark_case.entries()
    path = write_benchmark_file(tmp_path / "a.pth", entries)
    outcome = load_benchmark_file(network, path)
    assert [name.rsplit(".", 2)[-2] for name in outcome.dropped] == [
        "cls_embed",
        "attr_linear1",
        "attr_linear2",
    ]
    assert len(outcome.tensors) == len(entries) == len(network.state_dict())
    bare = {name: torch.from_numpy(value) for name, value in entries.items()}
    torch.save(bare, path)
    assert not load_benchmark_file(network, path).dropped


@needs_shared("golden/regions")
def test_benchmark_files_that_do_not_fit(benchmark_case: Case, tmp_path: Path) -> None:
    network = FasterRCNN(faster_sizes(benchmark_case.facts["config"]))
    entries = benchmark_case.entries()
    path = tmp_path / "a.pth"
    names = {
        "missing: box_head.fc6.weight": {
            k: v for k, v in entries.items() if not k.endswith("fc6.weight")
        },
        r"another shape: box_head.fc6.bias is \(5,\), expected \(96,\)": entries
        | {"roi_heads.box.feature_extractor.fc6.bias": np.zeros(5, np.float32)},
        "unexpected: roi_heads.mask.conv": entries
        | {"roi_heads.mask.conv": np.zeros(5, np.float32)},
    }
    for pattern, changed in names.items():
        write_benchmark_file(path, changed)
        one_line(lambda: load_benchmark_file(network, path), pattern)
    write_benchmark_file(path, entries)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    one_line(lambda: load_benchmark_file(network, path), "no file of tensors")
    torch.save({"model": {"a": Hostile()}}, path)
    one_line(lambda: load_benchmark_file(network, path), "no file of tensors: .*system")
    torch.save({"model": {"a": 1}}, path)
    one_line(lambda: load_benchmark_file(network, path), "no tensors: a")


@needs_shared("golden/regions")
def test_a_file_of_the_other_family_is_one_line(
    benchmark_case: Case, zoo_network: CascadeRCNN, entries: Arrays, tmp_path: Path
) -> None:
    path = write_benchmark_file(tmp_path / "a.pth", benchmark_case.entries())
    one_line(
        lambda: load_zoo_file(zoo_network, path), "does not fit CascadeRCNN: missing: backbone"
    )
    network = FasterRCNN(faster_sizes(benchmark_case.facts["config"]))
    torch.save({"model": {k: torch.from_numpy(v) for k, v in entries.items()}}, path)
    one_line(lambda: load_benchmark_file(network, path), "does not fit FasterRCNN: missing: ")


def test_sizes_of_the_published_networks() -> None:
    from affectflow.models.vision.rcnn import faster

    with torch.device("meta"):
        cascade, benchmark = CascadeRCNN(), FasterRCNN()
        narrow = FasterRCNN(faster.Sizes(pyramid=256))
    assert parameters_of(cascade) == 182_487_660
    assert len(cascade.state_dict()) == 973
    assert parameters_of(benchmark) == 205_784_084
    assert len(benchmark.state_dict()) == 810
    assert round(parameters_of(narrow) / 1e6, 1) == 170.3
    # With the classifier of 1000 classes that a detector does not have.
    assert round((parameters_of(narrow.backbone.bottom_up) + 2_049_000) / 1e6, 1) == 122.1
    assert Sizes().vector == 1024


@needs_shared("golden/regions")
@pytest.mark.parametrize("name", ["d2_x152_b", "vmb_x152_orig"])
def test_names_and_shapes_of_the_published_networks(name: str) -> None:
    import gzip
    import json

    from support.region_records import RECORDS

    from affectflow.models.vision.rcnn import benchmark_layout

    case = Case(name)
    keys = json.loads(gzip.decompress((RECORDS / case.facts["keys_file"]).read_bytes()))
    with torch.device("meta"):
        network = CascadeRCNN() if name.startswith("d2") else FasterRCNN()
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    rename = (lambda key: key) if name.startswith("d2") else benchmark_layout.our_name
    assert {rename(key): shape for key, shape in keys} == ours
