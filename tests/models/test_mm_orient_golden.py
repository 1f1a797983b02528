"""MM-ORIENT against what the original layers and the original network returned."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from support.fusion_records import Record, record_names
from support.shared import needs_shared
from torch import Tensor

from affectflow.models.batch import FeatureBatch, FusionBatch, InputSpec, Task
from affectflow.models.layers.relation_graph import EdgeRule, batch_graph
from affectflow.models.layers.sage import edge_index
from affectflow.models.mm_orient import Model, author_code
from affectflow.models.mm_orient_parts.cmrl import (
    Candidates,
    CrossModalRelations,
    candidates_from,
)
from affectflow.models.mm_orient_parts.config import CmrlConfig, Thresholds

pytestmark = needs_shared("golden/fusion")
GRAPHS = ("ii", "tt", "it", "ti")


def relations(record: Record, **options: object) -> CrossModalRelations:
    """Return the four graphs with the recorded thresholds and weights."""
    made = record.facts["constructor"]
    image, text = made["threshold"]["i"], made["threshold"]["t"]
    config = CmrlConfig(
        thresholds=Thresholds(ii=image, ti=image, tt=text, it=text),
        dim=made["out_channels"],
        **options,
    )
    width = made["in_channels"]
    module = CrossModalRelations(config, {"i": width, "t": width})
    state = {key.replace("conv_", "layers."): value for key, value in record.state().items()}
    module.load_state_dict(state)
    return module


def nodes_of(record: Record) -> dict[str, Tensor]:
    return {"i": record.tensor("x_image"), "t": record.tensor("x_text")}


def part(values: Tensor, key: str) -> Tensor:
    return values.chunk(4, dim=1)[GRAPHS.index(key)]


def stored(record: Record, values: Tensor) -> Tensor:
    """Return the rows that the record holds."""
    every_third = "every third" in record.facts["array_index"]["rows"]
    return values[::3] if every_third else values


@pytest.mark.parametrize("name", record_names("cmrl_sage_*"))
@pytest.mark.parametrize("layer", ["dense", "geometric"])
def test_graph_convolution(name: str, layer: str) -> None:
    if layer == "geometric":
        pytest.importorskip("torch_geometric", exc_type=ImportError)
    record = Record(name)
    module = relations(record, layer=layer)
    nodes = {key: values.requires_grad_(True) for key, values in nodes_of(record).items()}
    out = module(nodes).features
    for key in GRAPHS:
        record.compare(f"out_{key}", stored(record, part(out, key)))
        cotangent = record.made(record.facts["gradient"]["cotangents"][key])
        loss = (part(out, key) * cotangent).sum()
        (gradient,) = torch.autograd.grad(loss, nodes[key[0]], retain_graph=True)
        record.compare(f"grad_{key}", stored(record, gradient))


@pytest.mark.parametrize("name", record_names("cmrl_sage_*"))
def test_edges(name: str) -> None:
    record = Record(name)
    thresholds = record.facts["constructor"]["threshold"]
    for modality, letter in (("image", "i"), ("text", "t")):
        rule = EdgeRule(thresholds[letter])
        _, edges = batch_graph(record.tensor(f"x_{modality}"), rule)
        found = edge_index(edges)
        order = np.lexsort(found.flip(0).numpy())
        recorded = record.arrays[f"edge_index_{modality}"]
        np.testing.assert_array_equal(found[:, order].numpy(), recorded)


@pytest.mark.parametrize("name", record_names("cmrl_sage_*"))
@pytest.mark.parametrize("chunk", [7, 1024])
def test_graph_convolution_over_a_whole_split(name: str, chunk: int) -> None:
    record = Record(name)
    module = relations(record, chunk=chunk)
    nodes = nodes_of(record)
    rows = len(nodes["i"])
    whole = Candidates(nodes, torch.arange(rows))
    parts = []
    for start in range(0, rows, 5):
        some = slice(start, min(start + 5, rows))
        families = torch.arange(rows)[some]
        parts.append(module({key: x[some] for key, x in nodes.items()}, families, whole)[0])
    out = torch.cat(parts)
    for key in GRAPHS:
        record.compare(f"out_{key}", stored(record, part(out, key)))


TASK_C = ("sentiment", "humour", "sarcasm", "offensive", "motivational")


def author_network(record: Record) -> Model:
    """Return the published network under the original's names."""
    sizes = record.facts["constructor"]["head_sizes"]
    tasks = [
        Task(name, "classification", tuple(str(code) for code in range(size)))
        for name, size in zip(TASK_C, sizes, strict=True)
    ]
    threshold = record.facts["constructor"]["threshold"]
    config = author_code().model_dump()
    config["cmrl"]["thresholds"] = dict.fromkeys(GRAPHS, threshold)
    inputs = {
        "tokens": InputSpec((None, 768)),
        "regions": InputSpec((100, 2048)),
        "e_img": InputSpec((512,)),
        "e_txt": InputSpec((512,)),
        "extra": InputSpec((784,)),
    }
    # One network with all heads, as published; it was built anew for each task.
    config["heads"] = "joint"
    with torch.device("meta"):
        model = Model(type(author_code()).model_validate(config), inputs, tasks)
    renamed = {our_name(key): value for key, value in record.state().items()}
    model.load_state_dict(renamed, assign=True)
    return model.eval()


def our_name(key: str) -> str:
    """Return our name of an original parameter."""
    for pattern, name in (
        (r"text_attention\.", "hima.0.tokens.entries.dense."),
        (r"image_attention\.", "hima.0.regions.entries.dense."),
        (r"conv_(..)\.", r"cmrl.0.layers.\1."),
        (r"trunk\.0\.", "mlc.0.trunk.0."),
        (r"trunk\.1\.", "mlc.0.trunk.3."),
        (r"heads\.(\d)\.", r"mlc.0.heads.heads.\1.0."),
    ):
        key, count = re.subn(rf"^{pattern}", name, key)
        if count:
            break
    return key


@pytest.mark.parametrize("name", record_names("mmorient_authorcode_*"))
def test_published_network(name: str) -> None:
    record = Record(name)
    model = author_network(record)
    assert sum(p.numel() for p in model.parameters()) == record.facts["n_parameters"]
    made = {
        key: record.made(value) for key, value in record.facts["inputs"].items() if "," not in key
    }
    rows = len(made["tokens"])
    once = torch.ones(rows, dtype=torch.int64)
    features = {
        "tokens": FeatureBatch(made["tokens"], 128 * once, "padded"),
        "regions": FeatureBatch(made["regions"], 100 * once),
        "e_img": FeatureBatch(record.tensor("x_image"), once),
        "e_txt": FeatureBatch(record.tensor("x_text"), once),
        "extra": FeatureBatch(made["other"], once),
    }
    batch = FusionBatch(tuple(str(row) for row in range(rows)), features)
    trunk: list[Tensor] = []
    model.mlc[0].trunk.register_forward_hook(lambda *call: trunk.append(call[2]))
    joined: list[Tensor] = []
    model.mlc[0].register_forward_pre_hook(lambda _, given: joined.append(given[0]))
    with torch.no_grad():
        output = model(batch)
    relation, regions, tokens, _ = joined[0].split([2048, 2048, 768, 784], dim=1)
    named = ("img_img", "text_text", "img_text", "text_img")
    for key, values in zip(named, relation.chunk(4, dim=1), strict=True):
        record.compare(key, values[:, ::4])
    record.compare("position_level_attention", regions[:, ::4])
    record.compare("word_level_attention", tokens)
    record.compare("attention_weights_text", output.attention["tokens"])
    record.compare("attention_weights_image", output.attention["regions"])
    record.compare("final", trunk[0][:, ::8])
    for number, logits in enumerate(output.logits.values()):
        record.compare(f"head_{number}", logits.softmax(-1))


@pytest.mark.parametrize("name", record_names("mmorient_authorcode_*"))
def test_published_adjacency(name: str) -> None:
    record = Record(name)
    for modality in ("image", "text"):
        rule = EdgeRule(record.facts["constructor"]["threshold"])
        _, edges = batch_graph(record.tensor(f"x_{modality}"), rule)
        loops = edges | torch.eye(len(edges), dtype=torch.bool)
        np.testing.assert_array_equal(loops.numpy(), record.arrays[f"adjacency_{modality}"] > 0)


def test_candidates_are_collected_batch_by_batch() -> None:
    once = torch.ones(3, dtype=torch.int64)
    features = {
        "e_img": FeatureBatch(torch.randn(3, 4), torch.tensor([1, 0, 1])),
        "e_txt": FeatureBatch(torch.randn(3, 4), once),
    }
    batch = FusionBatch(("a", "b", "c"), features, families=torch.arange(3))
    found = candidates_from([batch, batch.take([1])], same_split=True)
    assert found.embeddings["i"].shape == (4, 4)
    assert not found.embeddings["i"][1].any()
    assert found.families is not None
    assert found.families.tolist() == [0, 1, 2, 1]
