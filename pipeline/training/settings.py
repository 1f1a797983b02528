"""From a model's name, a preset and `--set` to the resolved configuration of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from affectflow.models.batch import ModelConfig, Task

from ..config import Config, parse, value_problem
from ..errors import ConfigError, UsageError, unknown_name
from .catalogue import ModelKind, load_model_kind
from .data import DataConfig
from .loader import LoaderConfig
from .losses import LossConfig
from .optimisation import OptimizerConfig
from .presets import Preset, default_preset, presets_of
from .scores import Monitor
from .trainer import Recipe, TrainerConfig

OWNERS = ("model", "data", "loader", "optimizer", "loss", "trainer")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training is, resolved; equal settings over equal data are the same run.

    Attributes:
        kind: The model's file.
        preset: Name of what the values were taken from.
        model: The model's configuration.
        data: Which samples and features.
        recipe: Loader, optimiser, loss and loop.
    """

    kind: ModelKind
    preset: str
    model: ModelConfig
    data: DataConfig
    recipe: Recipe

    def to_json(self) -> dict[str, Any]:
        """Return every configuration as JSON."""
        own = {"model": self.model, "data": self.data}
        found = {name: part.model_dump(mode="json") for name, part in own.items()}
        return {**found, **self.recipe.model_dump(mode="json")}

    def identity(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return what decides the result over given data, without how fast it is computed.

        All tasks, the automatic monitor, a feature that plays its role by default, a factor of one
        and the order of standardized roles are the same whether said aloud or not. Which features
        they are, the digest of the data says.

        Args:
            tasks: The tasks of the data, in order.
        """
        found = self.to_json()
        elsewhere = {
            "data": ("stores", "cache", "features"),
            "loader": ("workers",),
            "trainer": self.recipe.trainer.RUNTIME,
        }
        for owner, names in elsewhere.items():
            for name in names:
                del found[owner][name]
        for owner, name in (
            ("data", "scale"),
            ("loss", "task_weights"),
            ("optimizer", "lr_scales"),
        ):
            factors: dict[str, float] = found[owner][name]
            found[owner][name] = {key: factor for key, factor in factors.items() if factor != 1}
        # Absent where nothing is standardized, so that runs from before keep their folders.
        if names := sorted(set(found["data"].pop("standardize"))):
            found["data"]["standardize"] = names
        found["data"]["tasks"] = [task.name for task in tasks]
        found["trainer"]["monitor"] = Monitor.of(self.recipe.trainer.monitor, tasks).name
        return {"name": self.kind.name, **found}


def resolve(
    model: str,
    dataset: str,
    stores: Sequence[Path],
    preset: str | None,
    overrides: Mapping[str, Mapping[str, Any]],
) -> Settings:
    """Return the settings of a training.

    Without a preset, `default_preset` serves, or else the defaults of model and trainer.

    Args:
        model: Name of the model.
        dataset: Name of the dataset.
        stores: Folders of feature stores.
        preset: A training preset (see `presets`) or one of the model's own.
        overrides: Values by owner, see `OWNERS`.

    Raises:
        UsageError: An unknown model or preset.
        ConfigError: An unknown owner or key, or a value out of range.
    """
    kind = load_model_kind(model)
    if unknown := sorted(set(overrides) - set(OWNERS)):
        raise ConfigError(f"--set: {unknown_name('owner', unknown[0], OWNERS)}")
    name, base = _preset(kind, dataset, preset)
    values = {
        owner: merged(base.settings.get(owner, {}), overrides.get(owner, {})) for owner in OWNERS
    }
    # Absolute: the run is read from other folders too.
    names = tuple(str(store.absolute()) for store in stores)
    data = {**values["data"], "dataset": dataset, "stores": names}
    recipe = Recipe(
        loader=_parse(LoaderConfig, values, "loader"),
        optimizer=_parse(OptimizerConfig, values, "optimizer"),
        loss=_parse(LossConfig, values, "loss"),
        trainer=_parse(TrainerConfig, values, "trainer"),
    )
    config = model_config(kind, base.model_preset, values["model"])
    return Settings(kind, name, config, _parse(DataConfig, {"data": data}, "data"), recipe)


def _preset(kind: ModelKind, dataset: str, name: str | None) -> tuple[str, Preset]:
    known, default = presets_of(kind.name), default_preset(kind.name, dataset)
    base = known[default]() if default else Preset(kind.name)
    if name is None:
        return default or "", base
    if name in known:
        return name, known[name]()
    if name in kind.presets:
        # The model's own configuration, trained as the model is by default on this dataset.
        settings = {owner: found for owner, found in base.settings.items() if owner != "model"}
        return name, Preset(kind.name, name, settings)
    raise UsageError(unknown_name(f"preset of {kind.name}", name, [*known, *kind.presets]))


def _parse(kind: type[Any], values: Mapping[str, Mapping[str, Any]], owner: str) -> Any:
    parsed: Config = parse(kind, values[owner], f"--set {owner}")
    return parsed


def model_config(kind: ModelKind, preset: str | None, values: Mapping[str, Any]) -> ModelConfig:
    """Return a model's configuration: a preset of the model with values put over it.

    Raises:
        ConfigError: Naming the field at fault.
    """
    base = kind.presets[preset or next(iter(kind.presets))]()
    try:
        return kind.config.model_validate(merged(base.model_dump(), values))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            message = unknown_name("key", field, _fields(base.model_dump()))
            raise ConfigError(f"--set model: {message}") from None
        raise ConfigError(f"--set model: {value_problem(field, problem)}") from None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings with values put over them."""
    found = dict(base)
    for name, value in over.items():
        below = found.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            found[name] = merged(below, value)
        else:
            found[name] = value
    return found


def _fields(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found.append(prefix + name)
        if isinstance(value, Mapping):
            found += _fields(value, f"{prefix}{name}.")
    return found
