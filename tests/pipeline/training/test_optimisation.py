"""Optimisers, schedules and clipping."""

from __future__ import annotations

import math

import pytest
import torch
from support.fusion_data import ToyModel, toy_model
from torch import nn

from affectflow.pipeline.errors import ConfigError
from affectflow.pipeline.training.optimisation import (
    OptimizerConfig,
    Schedule,
    clip,
    make_optimizer,
    set_rate,
)


def rates(total: int = 10, **config: object) -> list[float]:
    schedule = Schedule(OptimizerConfig(**config), total, maximise=False)
    return [schedule.scale(step) for step in range(total + 1)]


def test_warm_up_and_linear_decay() -> None:
    found = rates(schedule="linear", warmup_steps=2, final=0.2)
    assert found[:2] == [0.5, 1.0]
    assert found[2:] == pytest.approx([1 - 0.1 * step for step in range(9)])


def test_cosine_ends_at_its_final_share() -> None:
    found = rates(schedule="cosine", final=0.1)
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(11)]
    assert found == pytest.approx(expected)
    assert rates(schedule="none", warmup_steps=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("maximise", [False, True])
def test_plateau_equals_that_of_torch(maximise: bool) -> None:
    values = [5, 4, 4.1, 4.2, 4.3, 3.9, 4, 4, 4, 4, 4, 4, 4.0]
    values = [-value for value in values] if maximise else values
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max" if maximise else "min", patience=2, threshold=0.0
    )
    config = OptimizerConfig(schedule="plateau", plateau_patience=2)
    ours = Schedule(config, 100, maximise)
    for value in values:
        ours.validated(value)
        theirs.step(value)
        assert ours.scale(50) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert ours.scale(50) == pytest.approx(0.001)
    again = Schedule(config, 100, maximise)
    again.restore(ours.state())
    assert again.state() == ours.state()


class Grouped(ToyModel):
    def parameter_groups(self) -> list[dict[str, object]]:
        hidden = list(self.hidden.parameters())
        heads = list(self.heads.parameters())
        return [
            {"name": "hidden", "params": hidden, "lr_scale": 0.1, "weight_decay": 0.0},
            {"name": "heads", "params": heads},
        ]


def grouped() -> Grouped:
    model = toy_model()
    model.__class__ = Grouped
    assert isinstance(model, Grouped)
    return model


def test_groups_have_rates_and_decay_of_their_own() -> None:
    config = OptimizerConfig(lr=0.5, weight_decay=0.01, lr_scales={"heads": 2.0})
    optimizer = make_optimizer(grouped(), config)
    assert set_rate(optimizer, config, 0.5) == 0.25
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.5])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.01]
    with pytest.raises(ConfigError, match=r"no group 'head'; known: heads, hidden"):
        make_optimizer(grouped(), OptimizerConfig(lr_scales={"head": 2.0}))


def test_a_forgotten_parameter_is_an_error() -> None:
    model = grouped()
    model.extra = nn.Parameter(torch.zeros(2))
    with pytest.raises(ConfigError, match="every parameter exactly once"):
        make_optimizer(model, OptimizerConfig())


def test_clipping_by_value_and_by_norm() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, -4.0])
    assert float(clip([parameter], OptimizerConfig(clip_norm=1.0))) == pytest.approx(5.0)
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, -0.8]))
    parameter.grad = torch.tensor([3.0, -0.4])
    clip([parameter], OptimizerConfig(clip_value=0.5))
    assert parameter.grad.tolist() == pytest.approx([0.5, -0.4])
