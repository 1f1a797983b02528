"""Caps on requests, tokens and money, and the user's price table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from ..config import Config
from ..errors import BudgetExceeded, ConfigError


@dataclass(frozen=True, slots=True)
class Usage:
    """An amount of use: requests, tokens, US dollars."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(
            -other.requests, -other.input_tokens, -other.output_tokens, -other.cost_usd
        )

    def to_json(self) -> dict[str, Any]:
        """Return the amounts as JSON."""
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Usage:
        """Return what `to_json` wrote."""
        return Usage(**value)


@dataclass(frozen=True, slots=True)
class Caps:
    """Hard limits over the whole life of a ledger; None is no limit.

    Requests that were refused without charge (429, 5xx) do not count; requests whose fate is
    unknown count at the most they can have cost.
    """

    max_requests: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    budget_usd: float | None = None

    def check(self, used: Usage, wanted: Usage) -> None:
        """Refuse ``wanted`` when it could pass a cap.

        Args:
            used: Settled amounts plus the most that requests in flight can cost.
            wanted: The most that the next request can cost.

        Raises:
            BudgetExceeded: Naming the cap, what is used and what would be needed.
        """
        after = used + wanted
        pairs = (
            ("max_requests", self.max_requests, used.requests, after.requests),
            ("max_input_tokens", self.max_input_tokens, used.input_tokens, after.input_tokens),
            ("max_output_tokens", self.max_output_tokens, used.output_tokens, after.output_tokens),
            ("budget_usd", self.budget_usd, used.cost_usd, after.cost_usd),
        )
        for name, cap, before, total in pairs:
            if cap is not None and total > cap:
                raise BudgetExceeded(
                    f"the next request could bring the total to {total:.6g}, above {name} = "
                    f"{cap:.6g}; {before:.6g} is spent or in flight",
                    f"raise {name} or go on without; every paid reply is in the ledger",
                )


class Price(Config):
    """US dollars per million tokens.

    Attributes:
        batch_factor: Share of the price that the batch interface charges.
    """

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    batch_factor: float = Field(default=1.0, ge=0, le=1)

    def cost(self, input_tokens: int, output_tokens: int, batch: bool = False) -> float:
        """Return the cost in US dollars."""
        whole = (input_tokens * self.input + output_tokens * self.output) / 1e6
        return whole * (self.batch_factor if batch else 1.0)


def load_prices(path: Path) -> dict[str, Price]:
    """Read a price table (YAML or JSON): model name to ``input``, ``output``, ``batch_factor``.

    Raises:
        ConfigError: The file is missing or does not validate.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
        return TypeAdapter(dict[str, Price]).validate_python(values)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ConfigError(
            f"price table '{path.name}': {reason}",
            "expected lines such as  my-model: {input: 0.5, output: 1.5}  in USD per 1M tokens",
        ) from None


def price_of(model: str, table: Path | None, budget_usd: float | None) -> Price | None:
    """Return the price of ``model``, or None when no table was given.

    Raises:
        ConfigError: A budget in dollars cannot be kept without the price.
    """
    prices = load_prices(table) if table else {}
    if model in prices:
        return prices[model]
    if budget_usd is not None or table is not None:
        where = f"the table '{table.name}' has no" if table else "there is no"
        raise ConfigError(
            f"{where} price for model '{model}', so its cost is unknown",
            "name a price table: --set paraphrase.price_table=prices.yaml",
        )
    return None
