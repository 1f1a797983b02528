"""MM-ORIENT's own rules: widths, bias of the batch, graphs, evaluation policies, learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from support.fusion_batches import (
    example_lengths,
    inputs_of,
    lacking,
    make_batch,
    small_model,
    some_loss,
)
from torch import Tensor
from torch.nn import functional

from affectflow.models.batch import FusionBatch, FusionModel, InputSpec, Task
from affectflow.models.mm_orient import Config, Model, author_code, paper_figure
from affectflow.models.mm_orient_parts.config import ExtraConfig

NAME = "mm_orient"
TASKS = (
    Task("sentiment", "classification", ("negative", "neutral", "positive")),
    Task("humour", "classification", ("no", "yes")),
)
LINKED = {"cmrl": {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 0.1)}}
PUBLISHED_INPUTS = {
    "tokens": InputSpec((None, 768)),
    "regions": InputSpec((100, 2048)),
    "e_img": InputSpec((512,)),
    "e_txt": InputSpec((512,)),
}
EXTRA = {"extra": InputSpec((784,))}


def model_of(preset: str = "paper_figure", **changes: Any) -> FusionModel:
    return small_model(NAME, preset, TASKS, {**LINKED, **changes})


def batch_of(num: int = 6, seed: int = 0) -> FusionBatch:
    inputs = inputs_of(NAME)
    return make_batch(inputs, example_lengths(inputs, num, seed), TASKS, seed)


def trained(model: FusionModel, steps: int = 3) -> FusionModel:
    """Show the model some batches in training mode, without changing its parameters."""
    model.train()
    for seed in range(steps):
        with torch.no_grad():
            model(batch_of(seed=10 + seed))
    return model.eval()


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def published(config: Config, extra: bool) -> Model:
    with torch.device("meta"):
        return Model(config, PUBLISHED_INPUTS | (EXTRA if extra else {}), TASKS)


# Widths and parameters


@pytest.mark.parametrize(
    ("preset", "extra", "width", "trunk"),
    [
        (author_code, True, 5648, 35_546_794),
        (paper_figure, True, 8464, 48_551_082),
        (paper_figure, False, 7680, 44_930_570),
    ],
)
def test_published_widths(preset: Any, extra: bool, width: int, trunk: int) -> None:
    model = published(preset(), extra)
    assert model.width == width
    assert {count(mlc.trunk) for mlc in model.mlc} == {trunk}
    assert count(model.cmrl[0]) == 4 * 524_800


def test_published_attention_parameters() -> None:
    hima = published(paper_figure(), extra=False).hima[0]
    assert count(hima.tokens.entries) == count(hima.tokens.samples) == 591_360
    assert count(hima.regions.entries) == count(hima.regions.samples) == 4_198_400
    shared = Config.model_validate({"hima": {"stage2_share": True}})
    assert count(published(shared, extra=False).hima[0]) == 591_360 + 4_198_400


def test_the_published_code_has_a_network_per_task() -> None:
    model = published(author_code(), extra=True)
    assert len(model.mlc) == len(TASKS)
    assert count(model) == 2 * (37_683_645 - 17 * 2049) + 5 * 2049


def test_extra_features_are_taken_as_configured() -> None:
    without = published(Config(extra=ExtraConfig(dim=0)), extra=True)
    assert without.width == 7680
    with pytest.raises(ValueError, match=r"784.*model\.extra\.dim=0"):
        published(Config(extra=ExtraConfig(dim=784)), extra=False)
    with pytest.raises(ValueError, match="100"):
        published(Config(extra=ExtraConfig(dim=100)), extra=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"hima": {"stage2": False, "stage2_share": True}},
        {"cmrl": {"layer": "geometric", "edge_values": "cosine"}},
        {"cmrl": {"graphs": ["ii", "ii"]}},
        {"cmrl": {"thresholds": {"ii": 1.5}}},
        {"cmrl": {"scope": "bank"}, "eval": {"batch_policy": "reference"}},
        {"eval": {"graph": "dataset", "batch_policy": "single"}},
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(changes)


SWITCHES: list[dict[str, Any]] = [
    {"hima": {"score": "scalar"}},
    {"hima": {"attn_dim": 5}},
    {"hima": {"mask_padding": False}},
    {"hima": {"stage2": False}},
    {"hima": {"stage2_share": True}},
    {"hima": {"stage1": "mean"}},
    {"cmrl": {"graphs": []}},
    {"cmrl": {"graphs": ["ii", "tt"]}},
    {"cmrl": {"edges": "topk", "k": 2}},
    {"cmrl": {"edge_values": "cosine"}},
    {"cmrl": {"scope": "bank", "bank_size": 8}},
    {"cmrl": {"dim": 3}},
    {"cmrl": {"exclude_siblings": False}},
    {"extra": {"dim": 0}},
    {"mlc": {"hidden": []}},
    {"heads": "separate"},
    {"eval": {"batch_policy": "batch"}},
    {"eval": {"batch_policy": "single"}},
]


@pytest.mark.parametrize("preset", ["paper_figure", "author_code"])
@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_every_switch_alone(preset: str, changes: dict[str, Any]) -> None:
    if changes == {"hima": {"stage2_share": True}} and preset == "author_code":
        changes = {"hima": {"stage2_share": True, "stage2": True}}
    model = small_model(NAME, preset, TASKS, changes)
    for training in (True, False):
        for batch in (batch_of(), batch_of(1), lacking(batch_of(), "e_img", [0, 3])):
            output = model.train(training)(batch)
            some_loss(output).backward()
            assert all(logits.isfinite().all() for logits in output.logits.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# Samples of a batch


def test_rows_without_anything_change_nothing_for_the_others() -> None:
    model = model_of(eval={"batch_policy": "batch"})
    batch = batch_of()
    empty = batch.take([0, 1])
    for role in batch.features:
        empty = lacking(empty, role, [0, 1])
    features = {
        role: replace(
            feature,
            values=torch.cat(
                [feature.values, padded_like(empty.features[role].values, feature.values)]
            ),
            lengths=torch.cat([feature.lengths, empty.features[role].lengths]),
        )
        for role, feature in batch.features.items()
    }
    longer = FusionBatch((*batch.keys, "x", "y"), features, {}, torch.arange(8))
    for task, logits in model(longer).logits.items():
        torch.testing.assert_close(logits[:6], model(batch).logits[task])


def padded_like(values: Tensor, other: Tensor) -> Tensor:
    return values.new_zeros(len(values), *other.shape[1:])


def relation_outputs(model: FusionModel, batch: FusionBatch) -> dict[str, Tensor]:
    """Return Z by graph."""
    found: list[Tensor] = []
    handle = model.cmrl[0].register_forward_hook(lambda *call: found.append(call[2][0]))
    model(batch)
    handle.remove()
    return dict(zip(("ii", "tt", "it", "ti"), found[0].chunk(4, dim=1), strict=True))


def with_other(batch: FusionBatch, role: str) -> FusionBatch:
    other = batch_of(seed=99).features[role]
    return replace(batch, features={**batch.features, role: other})


def test_edges_come_from_the_other_modality() -> None:
    model, batch = model_of(), batch_of()
    before = relation_outputs(model, batch)
    after = relation_outputs(model, with_other(batch, "e_txt"))
    # `it` has images as nodes: only its edges can have changed.
    assert torch.equal(before["ii"], after["ii"])
    assert not torch.allclose(before["it"], after["it"])
    assert not torch.allclose(before["tt"], after["tt"])
    after = relation_outputs(model, with_other(batch, "e_img"))
    assert torch.equal(before["tt"], after["tt"])
    assert not torch.allclose(before["ti"], after["ti"])
    assert not torch.allclose(before["ii"], after["ii"])


def test_who_lacks_the_modality_of_the_nodes_is_nobodys_neighbour() -> None:
    model = model_of(cmrl={"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), -1.0)})
    no_image = lacking(batch_of(), "e_img", [2])
    neither = lacking(no_image, "e_txt", [2])
    others = [0, 1, 3, 4, 5]
    found, expected = (relation_outputs(model, batch)["it"] for batch in (no_image, neither))
    torch.testing.assert_close(found[others], expected[others])
    # It takes in the images of those whose texts are alike all the same.
    assert not torch.allclose(found[2], expected[2])


@pytest.mark.parametrize(("threshold", "density"), [(1.0, 0.0), (-1.0, 1.0)])
def test_extreme_thresholds(threshold: float, density: float) -> None:
    thresholds = dict.fromkeys(("ii", "tt", "it", "ti"), threshold)
    model = model_of(cmrl={"thresholds": thresholds})
    notes = model(batch_of()).diagnostics
    for graph in thresholds:
        assert float(notes[f"graph/{graph}/density"]) == density
        assert float(notes[f"graph/{graph}/mean_degree"]) == 5 * density
        assert float(notes[f"graph/{graph}/isolated"]) == 1 - density
    assert float(notes["graph/jaccard"]) == density


def test_neighbours_are_named_in_evaluation_alone() -> None:
    model, batch = model_of(), batch_of(9)
    output = model(batch)
    assert list(output.neighbours) == ["ii", "tt", "it", "ti"]
    for graph, rows in output.neighbours.items():
        assert rows.shape == (9, 5)
        assert not (rows == torch.arange(9)[:, None]).any()
        found, cosines = rows >= 0, output.similarities[graph]
        assert (cosines[found] > 0.1).all()
        assert not cosines[~found].any()
        assert not cosines.requires_grad
        unit = functional.normalize(batch.features["e_img" if graph[1] == "i" else "e_txt"].values)
        expected = (unit[:, None] * unit[rows.clamp(min=0)]).sum(-1)
        torch.testing.assert_close(cosines[found], expected[found])
    assert not model.train()(batch).neighbours
    apart = model_of(cmrl={"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 1.0)})
    assert all((rows == -1).all() for rows in apart(batch).neighbours.values())


def test_neighbours_from_elsewhere_are_no_positions_in_the_batch() -> None:
    model = trained(model_of(eval={"graph": "dataset"}))
    model.observe_split([batch_of(25, seed=8)])
    assert not model(batch_of()).neighbours
    assert not trained(model_of(eval={"batch_policy": "single"}))(batch_of()).neighbours


def test_siblings_are_not_joined() -> None:
    batch = batch_of()
    # Rows 3 to 5 are copies of rows 0 to 2.
    copies = replace(batch.take([0, 1, 2, 0, 1, 2]), families=torch.tensor([0, 1, 2, 0, 1, 2]))
    thresholds = dict.fromkeys(("ii", "tt", "it", "ti"), 0.999)
    apart = model_of(cmrl={"thresholds": thresholds})(copies).diagnostics
    joined = model_of(cmrl={"thresholds": thresholds, "exclude_siblings": False})(
        copies
    ).diagnostics
    for graph in thresholds:
        assert float(apart[f"graph/{graph}/mean_degree"]) == 0
        assert float(joined[f"graph/{graph}/mean_degree"]) == 1


def test_both_layers_are_the_same() -> None:
    pytest.importorskip("torch_geometric", exc_type=ImportError)
    batch = lacking(batch_of(), "e_img", [2])
    dense, geometric = model_of(), model_of(cmrl={**LINKED["cmrl"], "layer": "geometric"})
    geometric.load_state_dict(dense.state_dict())
    for task, logits in dense(batch).logits.items():
        torch.testing.assert_close(geometric(batch).logits[task], logits)


# Evaluation


def test_reference_and_single_make_samples_independent() -> None:
    for policy in ("reference", "single"):
        model = trained(model_of(eval={"batch_policy": policy}))
        model.prepare_evaluation(batch_of(20, seed=5))
        batch = batch_of()
        together = model(batch).logits
        for row in range(6):
            for task, logits in model(batch.take([row])).logits.items():
                torch.testing.assert_close(logits[0], together[task][row])


def test_reference_samples_matter_and_are_demanded() -> None:
    model = model_of(eval={"batch_policy": "reference", "reference_size": 20})
    assert model.num_reference == 20
    with pytest.raises(ValueError, match="training samples"):
        model.prepare_evaluation(None)
    with pytest.raises(ValueError, match="prepare_evaluation"):
        model(batch_of())
    model.prepare_evaluation(batch_of(20, seed=5))
    first = model(batch_of()).logits["humour"]
    model.prepare_evaluation(batch_of(20, seed=6))
    assert not torch.allclose(first, model(batch_of()).logits["humour"])
    # Training goes on with its own batch.
    model.train()(batch_of())


def test_running_average_is_saved_and_used() -> None:
    model, batch = model_of(), batch_of()
    fresh = model(batch).logits["humour"]
    trained(model)
    bias = model.hima[0].tokens.running_bias
    assert int(model.hima[0].tokens.num_updates) == 3
    assert bias.any()
    used = model(batch).logits["humour"]
    assert not torch.allclose(fresh, used)
    again = model_of()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(batch).logits["humour"], used)


def test_running_average_moves_by_its_momentum() -> None:
    model = model_of(hima={"momentum": 0.75}).train()
    attention = model.hima[0].regions
    attention.note_bias(torch.full((10,), 4.0))
    assert torch.equal(attention.running_bias, torch.full((10,), 4.0))
    attention.note_bias(torch.full((10,), 8.0))
    assert torch.equal(attention.running_bias, torch.full((10,), 5.0))


def test_batch_policy_depends_on_the_batch_and_one_sample_takes_the_average() -> None:
    model = trained(model_of(eval={"batch_policy": "batch"}, cmrl={"graphs": []}))
    batch = batch_of()
    whole, half = model(batch).logits["humour"], model(batch.take([0, 1, 2])).logits["humour"]
    assert not torch.allclose(whole[:3], half)
    running = model_of(eval={"batch_policy": "running"}, cmrl={"graphs": []})
    running.load_state_dict(model.state_dict())
    one = batch.take([4])
    assert torch.equal(model(one).logits["humour"], running.eval()(one).logits["humour"])


def test_one_sample_without_an_average_takes_its_own_vector() -> None:
    for policy in ("running", "batch", "single"):
        model = model_of(eval={"batch_policy": policy}, cmrl={"graphs": []})
        one = batch_of(1)
        joint = model.hima[0](one.features, policy)[0]
        regions = joint[:, :20]
        torch.testing.assert_close(regions[:, :10], regions[:, 10:])
        assert all(logits.isfinite().all() for logits in model(one).logits.values())


# A bank, and a whole split


def test_bank_takes_one_sample_per_family_until_full() -> None:
    model = model_of(cmrl={**LINKED["cmrl"], "scope": "bank", "bank_size": 5}).train()
    batch = replace(batch_of(4), families=torch.tensor([7, 8, 7, 9]))
    model(batch)
    assert model.bank.families.tolist() == [7, 8, 9, -1, -1]
    model(batch)
    assert len(model.bank) == 3
    later = replace(batch_of(4, seed=1), families=torch.tensor([8, 20, 21, 22]))
    model(later)
    assert model.bank.families.tolist() == [7, 8, 9, 20, 21]
    held = model.bank.image.clone()
    model(replace(batch_of(4, seed=2), families=torch.arange(30, 34)))
    assert torch.equal(model.bank.image, held)
    assert torch.equal(held[3], later.features["e_img"].values[1])


def test_bank_is_saved_and_makes_graphs_independent_of_the_batch() -> None:
    changes = {"cmrl": {**LINKED["cmrl"], "scope": "bank", "bank_size": 12}}
    model = trained(model_of(**changes))
    again = model_of(**changes)
    again.load_state_dict(model.state_dict())
    batch = batch_of()
    together = again(batch)
    assert float(together.diagnostics["graph/ii/mean_degree"]) > 0
    for row in range(6):
        alone = model(batch.take([row])).logits["humour"]
        torch.testing.assert_close(alone[0], together.logits["humour"][row])


def test_families_of_other_splits_do_not_compare_with_the_bank() -> None:
    model = trained(model_of(cmrl={**LINKED["cmrl"], "scope": "bank", "bank_size": 12}))
    batch = batch_of()
    held = model.bank.families[:6]
    same = model(replace(batch, families=held)).logits["humour"]
    other = model(replace(batch, families=held + 1000)).logits["humour"]
    assert torch.equal(same, other)


def test_an_empty_bank_is_filled_from_reference_samples() -> None:
    model = model_of(cmrl={**LINKED["cmrl"], "scope": "bank", "bank_size": 9})
    assert model.num_reference == 9
    model.prepare_evaluation(batch_of(9, seed=4))
    assert len(model.bank) == 9
    assert model.num_reference == 0


def test_a_training_sample_is_never_its_own_neighbour_in_the_bank() -> None:
    changes = {"thresholds": dict.fromkeys(("ii", "tt", "it", "ti"), 0.999)}
    model = model_of(cmrl={**changes, "scope": "bank", "exclude_siblings": False}).train()
    model(batch_of())
    notes = model(batch_of()).diagnostics
    assert float(notes["graph/ii/mean_degree"]) == 0


@pytest.mark.parametrize("edges", ["threshold", "topk"])
def test_whole_split_graph_equals_one_great_batch(edges: str) -> None:
    changes = {
        "cmrl": {**LINKED["cmrl"], "edges": edges, "k": 30, "chunk": 7},
        "eval": {"graph": "dataset"},
    }
    model = trained(model_of(**changes))
    assert model.wants_split
    whole = batch_of(25, seed=8)
    expected = model(whole).logits["humour"]
    parts = [whole.take(range(start, min(start + 4, 25))) for start in range(0, 25, 4)]
    model.observe_split(iter(parts))
    found = torch.cat([model(part).logits["humour"] for part in parts])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    model.observe_split(None)
    alone = torch.cat([model(part).logits["humour"] for part in parts])
    assert not torch.allclose(alone, expected)


# Learning


def summed_loss(model: FusionModel, batch: FusionBatch) -> Tensor:
    logits = model(batch).logits
    return sum(
        functional.cross_entropy(logits[task.name], batch.labels[task.name], ignore_index=-1)
        for task in TASKS
        if (batch.labels[task.name] >= 0).any()
    )


@pytest.mark.parametrize("preset", ["paper_figure", "author_code"])
def test_tasks_without_labels_give_their_heads_no_gradient(preset: str) -> None:
    model = model_of(preset).train()
    batch = batch_of()
    missing = {**batch.labels, "humour": torch.full((6,), -1)}
    summed_loss(model, replace(batch, labels=missing)).backward()
    heads = dict(model.mlc[-1].heads.named_parameters())
    joint = preset == "paper_figure"
    humour = [p.grad for key, p in heads.items() if key.startswith("heads.1") or not joint]
    assert len(humour) == 2
    assert all(gradient is None for gradient in humour)
    assert model.mlc[0].heads.heads[0][0].weight.grad.any()
    # Separate networks share nothing at all.
    trunk = next(model.mlc[-1].trunk.parameters()).grad
    assert (trunk is not None) == joint


def test_a_sample_without_labels_gives_no_gradient_by_itself() -> None:
    model = model_of(hima={"stage2": False}, cmrl={"graphs": []}).eval()
    batch = batch_of()
    labels = {task.name: torch.full((6,), -1) for task in TASKS}
    labels["humour"][0] = 1
    summed_loss(model, replace(batch, labels=labels)).backward()
    first = model.mlc[0].heads.heads[1][0].weight.grad.clone()
    model.zero_grad()
    summed_loss(model, replace(batch, labels=labels).take([0])).backward()
    torch.testing.assert_close(model.mlc[0].heads.heads[1][0].weight.grad, first)


def train(model: FusionModel, batch: FusionBatch, steps: int) -> list[float]:
    torch.manual_seed(5)
    optimiser = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = summed_loss(model, batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("preset", ["paper_figure", "author_code"])
def test_overfits_32_samples(preset: str) -> None:
    model, batch = model_of(preset), batch_of(32)
    train(model, batch, 150)
    # The graph and the bias of the batch that was trained on.
    model.train()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.eval()
    logits = model(batch).logits
    for task in TASKS:
        right = logits[task.name].argmax(1) == batch.labels[task.name]
        assert right.float().mean() > 0.95


def test_a_seeded_run_repeats_to_the_last_bit() -> None:
    runs = []
    for _ in range(2):
        model = model_of()
        runs.append((train(model, batch_of(8), 5), model.state_dict()))
    (first, left), (second, right) = runs
    assert first == second
    assert all(torch.equal(value, right[key]) for key, value in left.items())


def test_reduced_precision_changes_no_edge() -> None:
    model = model_of().train()
    expected = model(batch_of()).diagnostics
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch_of())
    for name, value in output.diagnostics.items():
        if name.startswith("graph/"):
            assert float(value) == float(expected[name]), name
    assert all(logits.isfinite().all() for logits in output.logits.values())


def test_diagnostics_of_separate_networks_are_averaged() -> None:
    names = set(model_of()(batch_of()).diagnostics)
    separate = model_of(heads="separate")(batch_of())
    assert set(separate.diagnostics) == names
    assert "hima/tokens/stage1/entropy" in names
    assert "hima/regions/stage2/max_weight" in names
    assert "hima/regions/stage2/bias_norm" in names
    assert "graph/ti/isolated" in names
