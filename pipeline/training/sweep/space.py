"""Which trials a sweep has: every point of a grid, or random draws, or draws at every point.

A trial is fixed by the space, the seed and its own number alone, so that asking for more trials
later keeps those that there are.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import yaml

from ...config import parse_overrides
from ...errors import ConfigError

MAX_TRIALS = 10_000
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_KINDS = ("loguniform(1e-6,1e-3)", "uniform(0,1)", "integers(1,8)", "choice(a,b)")
# Enough to tell draws apart, few enough to type one again.
_DIGITS = 6
# What the number is that trials are ranked by, and over which labels it is taken.
_SAME_FOR_ALL = (
    "trainer.monitor",
    "trainer.metrics",
    "data.tasks",
    "data.dataset",
    "data.stores",
    "data.samples",
    "data.missing",
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a random setting is drawn from.

    Attributes:
        kind: ``uniform`` and ``loguniform`` over [low, high], ``integers`` with both ends, or
            ``choice`` of ``values``.
        low, high: Ends; 0 for a choice.
        values: Of a choice.
    """

    kind: Literal["uniform", "loguniform", "integers", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether every draw is the same."""
        return self.kind == "choice" and len(self.values) == 1

    def draw(self, generator: np.random.Generator) -> Any:
        """Return one value, floats rounded to six significant digits."""
        if self.kind == "choice":
            return self.values[int(generator.integers(len(self.values)))]
        if self.kind == "integers":
            return int(generator.integers(int(self.low), int(self.high) + 1))
        share = float(generator.random())
        if self.kind == "loguniform":
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + share * (high - low))
        else:
            value = self.low + share * (self.high - self.low)
        # Rounding must not leave the range.
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        grid: ``owner.key`` to the values of the grid.
        random: ``owner.key`` to what is drawn.
        trials: Draws at each point of the grid; 1 where nothing is drawn.
        seed: Of the draws.
    """

    grid: Mapping[str, tuple[Any, ...]]
    random: Mapping[str, Distribution]
    trials: int = 1
    seed: int = 0

    def points(self) -> list[dict[str, Any]]:
        """Return the settings of every trial, by ``owner.key``."""
        names = list(self.grid)
        corners = [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]
        return [
            {**corner, **self._drawn(number)} for number in range(self.trials) for corner in corners
        ]

    def _drawn(self, number: int) -> dict[str, Any]:
        generator = np.random.default_rng([self.seed, number])
        # In the order of names, so that the order of the options does not matter.
        return {name: self.random[name].draw(generator) for name in sorted(self.random)}


def make_space(
    grid: Sequence[str], random: Sequence[str], trials: int | None, seed: int = 0
) -> Space:
    """Return the space of ``owner.key=a,b,c`` and ``owner.key=loguniform(low,high)``.

    Raises:
        ConfigError: An assignment is malformed, a setting is searched twice, nothing is searched,
            trials could not be compared, or there are too many.
    """
    axes = dict(_split(text, "--grid") for text in grid)
    draws = {name: _distribution(name, value) for name, value in map(_random_of, random)}
    both = sorted(set(axes) & set(draws))
    if both or len(axes) < len(grid) or len(draws) < len(random):
        name = both[0] if both else "one setting"
        raise ConfigError(f"a sweep searches {name} twice", "name each setting once")
    if not axes and not draws:
        raise ConfigError("a sweep without --grid or --random", "--grid optimizer.lr=1e-4,1e-3")
    if draws and trials is None:
        raise ConfigError("--random needs the number of draws", "--trials 20")
    if trials is not None and not draws and trials != 1:
        raise ConfigError("--trials counts draws, and nothing is --random", "leave it out")
    values = {name: tuple(_values(name, text)) for name, text in axes.items()}
    _check_comparable(values, draws)
    space = Space(values, draws, 1 if trials is None else trials, seed)
    number = space.trials * math.prod(map(len, values.values()))
    if not 1 <= number <= MAX_TRIALS:
        raise ConfigError(f"{number:,} trials, expected 1 to {MAX_TRIALS:,}", "search fewer values")
    return space


def _check_comparable(
    grid: Mapping[str, Sequence[Any]], random: Mapping[str, Distribution]
) -> None:
    searched = [name for name, values in grid.items() if len(values) > 1]
    searched += [name for name, found in random.items() if not found.is_constant]
    for name in searched:
        if any(f"{name}.".startswith(f"{fixed}.") for fixed in _SAME_FOR_ALL):
            raise ConfigError(
                f"a sweep cannot search {name}",
                "what trials are ranked by must be the same for all; make one sweep of each value",
            )


def overrides_of(base: Sequence[str], point: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``--set`` assignments with a trial's own settings put over them, by owner."""
    return parse_overrides([*base, *(f"{name}={as_text(value)}" for name, value in point.items())])


def as_text(value: Any) -> str:
    """Return a value as it is written after ``owner.key=``."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _split(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not value or len(name.split(".")) < 2 or not all(name.split(".")):
        hint = "for example --grid optimizer.lr=1e-4,1e-3"
        raise ConfigError(f"{option} got '{text}', expected owner.key=…", hint)
    return name, value


def _values(name: str, text: str) -> list[Any]:
    """Return the values of ``a,b,c``, read as `--set` reads them."""
    found = parse_overrides([f"grid.values=[{text}]"])["grid"]["values"]
    if not isinstance(found, list) or not found:
        raise ConfigError(f"--grid {name}={text}: expected values between commas")
    values = [parse_overrides([f"grid.value={as_text(item)}"])["grid"]["value"] for item in found]
    if len({as_text(value) for value in values}) < len(values):
        raise ConfigError(f"--grid {name}={text}: a value stands there twice")
    return values


def _random_of(text: str) -> tuple[str, str]:
    return _split(text, "--random")


def _distribution(name: str, text: str) -> Distribution:
    match = _CALL.fullmatch(text)
    if match is None:
        raise ConfigError(f"--random {name}={text}", f"expected one of {', '.join(_KINDS)}")
    kind, values = match[1], _values(name, match[2])
    if kind == "choice":
        return Distribution("choice", values=tuple(values))
    whole = kind == "integers"
    allowed = int if whole else (int, float)
    ends = [item for item in values if isinstance(item, allowed) and not isinstance(item, bool)]
    if kind not in ("uniform", "loguniform", "integers") or len(ends) != 2 or len(values) != 2:
        raise ConfigError(f"--random {name}={text}", f"expected one of {', '.join(_KINDS)}")
    low, high = map(float, ends)
    if not low < high < math.inf or (kind == "loguniform" and low <= 0):
        least = "0 < low < high" if kind == "loguniform" else "low < high"
        raise ConfigError(f"--random {name}={text}: expected {least}")
    return Distribution(kind, low, high)  # type: ignore[arg-type]
