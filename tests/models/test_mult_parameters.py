from __future__ import annotations

from typing import Any

import pytest
import torch

from affectflow.models import mult
from affectflow.models.batch import InputSpec, Task

SENTIMENT = (Task("sentiment", "regression"),)
IEMOCAP = tuple(Task(str(number), classes=("no", "yes")) for number in range(4))
MOSI, MOSEI, SIMS = (768, 5, 20), (768, 74, 35), (768, 33, 709)
GLOVE_MOSI, GLOVE_MOSEI = (300, 5, 20), (300, 74, 35)


def built(config: mult.Config, widths: tuple[int, ...], tasks: Any = SENTIMENT) -> mult.Model:
    inputs = {
        role: InputSpec((None, width)) for role, width in zip(mult.ROLES, widths, strict=False)
    }
    with torch.device("meta"):
        return mult.Model(config, inputs, tasks)


def counted(model: mult.Model, prefix: str = "") -> int:
    parameters = model.named_parameters()
    return sum(values.numel() for name, values in parameters if name.startswith(prefix))


def unshared(config: mult.Config) -> mult.Config:
    return config.model_copy(update={"share_levels": False})


ORIGINAL = mult.original()
FOUR_LEVELS = ORIGINAL.model_copy(update={"levels": 4})


@pytest.mark.parametrize(
    ("config", "widths", "tasks", "total", "encoders"),
    [
        (ORIGINAL, GLOVE_MOSI, SENTIMENT, 1_071_211, 996_120),
        (ORIGINAL, GLOVE_MOSEI, SENTIMENT, 1_073_731, 996_120),
        (ORIGINAL, GLOVE_MOSEI, IEMOCAP, 1_074_998, 996_120),
        (FOUR_LEVELS, GLOVE_MOSI, SENTIMENT, 872_131, 797_040),
        (FOUR_LEVELS, GLOVE_MOSEI, SENTIMENT, 874_651, 797_040),
        (FOUR_LEVELS, GLOVE_MOSEI, IEMOCAP, 875_918, 797_040),
        (mult.mmsa(), MOSI, SENTIMENT, 2_571_551, 2_192_400),
        (mult.mmsa_mosei(), MOSEI, SENTIMENT, 982_951, 797_040),
        (mult.mmsa_sims(), SIMS, SENTIMENT, 1_870_701, 1_460_700),
        (mult.shared_level(), MOSI, SENTIMENT, 5_251_457, 3_561_984),
        (unshared(mult.shared_level()), MOSI, SENTIMENT, 15_928_193, 14_238_720),
        (mult.shared_level_mosei(), MOSEI, SENTIMENT, 5_258_369, 3_561_984),
        (mult.shared_level_sims(), SIMS, SENTIMENT, 959_001, 549_000),
    ],
)
def test_parameters_are_as_many_as_published(
    config: mult.Config,
    widths: tuple[int, ...],
    tasks: tuple[Task, ...],
    total: int,
    encoders: int,
) -> None:
    model = built(config, widths, tasks)
    assert counted(model) == total
    assert counted(model, "trans_") == encoders
    assert encoders == formula(config)
    head = counted(model, "proj1") + counted(model, "proj2") + counted(model, "out_layer")
    assert counted(model, "proj_") == total - encoders - head


def formula(config: mult.Config) -> int:
    """6 E(d) + 3 E(2 d) with E(w, L) = L (12 w² + 13 w) + 2 w."""

    def encoder(width: int, levels: int) -> int:
        distinct = 1 if config.share_levels else levels
        return distinct * (12 * width**2 + 13 * width) + 2 * width

    cross = encoder(config.width, config.levels)
    return 6 * cross + 3 * encoder(2 * config.width, max(config.levels, config.min_self_levels))


def test_convolutions_and_head_have_the_published_sizes() -> None:
    model = built(mult.mmsa(), MOSI)
    assert sum(counted(model, f"proj_{letter}") for letter in "lav") == 198_250
    assert sum(counted(model, name) for name in ("proj1", "proj2", "out_layer")) == 180_901


def test_two_modalities_have_two_encoders_of_each_kind() -> None:
    model = built(mult.shared_level(), MOSI[:2])
    assert counted(model, "trans_") == 794_112
    alone = built(mult.shared_level(), MOSI[:1])
    assert counted(alone, "trans_") == 794_112 // 4


def test_copies_of_shared_levels_are_read_where_they_are_equal() -> None:
    torch.manual_seed(0)
    inputs = {role: InputSpec((None, 6)) for role in mult.ROLES}
    config = mult.Config(width=12, heads=3, levels=2, share_levels=True)
    shared, other = (mult.Model(config, inputs, SENTIMENT) for _ in range(2))
    state = dict(shared.state_dict())
    for name in [name for name in state if ".layers.0." in name]:
        for level in range(1, 3 if "_mem" in name else 2):
            state[name.replace(".layers.0.", f".layers.{level}.")] = state[name].clone()
    separate = mult.Model(unshared(config), inputs, SENTIMENT)
    assert set(state) == set(separate.state_dict())
    mult.load_original(separate, state)
    mult.load_original(other, state)
    for name, values in other.state_dict().items():
        assert torch.equal(values, state[name])
    state["trans_l_mem.layers.2.fc1.bias"] = state["trans_l_mem.layers.2.fc1.bias"] + 1
    with pytest.raises(ValueError, match=r"hold trans_l_mem\.layers\.2\.fc1\.bias"):
        mult.load_original(other, state)
