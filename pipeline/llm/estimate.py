"""What asking about captions will cost, before anything is sent.

Tokens are predicted as a constant plus a rate per UTF-8 byte of the caption. Both are learnt from
the replies in the ledger to the same recipe when there are enough of them; otherwise a common rate
of four bytes per token is taken, which is rough. Beside the prediction stands the most that the
requests can cost, which is what the budget is checked against while they are in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from .budget import Price, Usage
from .ledger import Ledger
from .request import Recipe, Request

ENOUGH = 20
_BYTES_PER_TOKEN = 4.0
_TOKENS_PER_MESSAGE = 4
_TOKENS_AROUND_ITEM = 3
_MOST_READ = 5000


@dataclass(frozen=True, slots=True)
class Line:
    """Tokens as a function of a caption's bytes: ``constant + rate · bytes``."""

    constant: float
    rate: float

    def total(self, sizes: np.ndarray) -> int:
        """Return the sum over captions of these sizes, in tokens."""
        return max(0, round(float(np.sum(self.constant + self.rate * sizes))))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is going to be sent.

    Attributes:
        captions: Captions asked about; repeated ones count.
        cached: Different captions that the ledger answers already.
        expected: Requests, tokens and cost that are likely; the cost is 0 without a price.
        most: The most that they can cost.
        priced: Whether the price is known.
        basis: What the prediction rests on.
    """

    captions: int
    cached: int
    expected: Usage
    most: Usage
    priced: bool
    basis: str

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON; an unknown cost is null."""
        expected, most = self.expected.to_json(), self.most.to_json()
        if not self.priced:
            expected["cost_usd"] = most["cost_usd"] = None
        return {
            "captions": self.captions,
            "cached": self.cached,
            "expected": expected,
            "most": most,
            "basis": self.basis,
        }


def estimate(
    recipe: Recipe,
    captions: Sequence[str],
    ledger: Ledger | None,
    price: Price | None,
    batch: bool = False,
) -> Estimate:
    """Predict what asking about ``captions`` sends and costs.

    Args:
        recipe: What is asked.
        captions: Texts as the stage would send them.
        ledger: Answers what was asked before, and calibrates; None when there is none.
        price: None leaves the cost out.
        batch: Whether the batch price applies.
    """
    requests = [recipe.request(caption) for caption in dict.fromkeys(captions) if caption.strip()]
    answers: list[dict[str, Any]] = []
    cached: set[str] = set()
    if ledger is not None:
        ledger.refresh()
        cached = {request.key for request in requests if ledger.answer(request.key)}
        answers = list(islice(_of_recipe(ledger.answers(), recipe.digest), _MOST_READ))
    fresh = [request for request in requests if request.key not in cached]
    got, made, repairs, basis = _lines(recipe, answers)
    sizes = np.array([len(request.caption.encode("utf-8", "replace")) for request in fresh])
    expected = Usage(
        round(len(fresh) * (1 + repairs.requests)),
        got.total(sizes) + round(len(fresh) * repairs.input_tokens),
        made.total(sizes) + round(len(fresh) * repairs.output_tokens),
    )
    return Estimate(
        captions=len(captions),
        cached=len(cached),
        expected=_priced(expected, price, batch),
        most=_priced(_most(fresh), price, batch),
        priced=price is not None,
        basis=basis,
    )


@dataclass(frozen=True, slots=True)
class _Repairs:
    """Per first request: repair requests and their tokens."""

    requests: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0


def _of_recipe(records: Iterable[Mapping[str, Any]], recipe: str) -> Iterable[dict[str, Any]]:
    return (
        dict(record)
        for record in records
        if record.get("recipe") == recipe and not record.get("usage_estimated")
    )


def _lines(
    recipe: Recipe, answers: Sequence[Mapping[str, Any]]
) -> tuple[Line, Line, _Repairs, str]:
    first = [record for record in answers if not record["repair"]]
    if len(first) < ENOUGH:
        return (*_common(recipe), _Repairs(), "four bytes per token, rough")
    sizes = np.array([record["caption_bytes"] for record in first], dtype=np.float64)
    charges = [record["charge"] for record in first]
    lines = (
        _fit(sizes, np.array([charge[name] for charge in charges], dtype=np.float64))
        for name in ("input_tokens", "output_tokens")
    )
    again = [record["charge"] for record in answers if record["repair"]]
    repairs = _Repairs(
        len(again) / len(first),
        sum(charge["input_tokens"] for charge in again) / len(first),
        sum(charge["output_tokens"] for charge in again) / len(first),
    )
    got, made = lines
    return got, made, repairs, f"{len(first)} replies in the ledger"


def _fit(sizes: np.ndarray, tokens: np.ndarray) -> Line:
    spread = float(np.var(sizes))
    if spread == 0:
        return Line(float(np.mean(tokens)), 0.0)
    rate = float(np.mean((sizes - sizes.mean()) * (tokens - tokens.mean()))) / spread
    return Line(float(tokens.mean() - rate * sizes.mean()), rate)


def _common(recipe: Recipe) -> tuple[Line, Line]:
    empty = recipe.request("")
    messages = empty.body["messages"]
    fixed = sum(len(message["content"].encode()) for message in messages) / _BYTES_PER_TOKEN
    rate = 1 / _BYTES_PER_TOKEN
    got = Line(fixed + _TOKENS_PER_MESSAGE * len(messages), rate)
    return got, Line(_TOKENS_AROUND_ITEM * (recipe.n + 1), recipe.n * rate)


def _most(requests: Iterable[Request]) -> Usage:
    return sum((Usage(1, request.most_input, request.most_output) for request in requests), Usage())


def _priced(usage: Usage, price: Price | None, batch: bool) -> Usage:
    cost = price.cost(usage.input_tokens, usage.output_tokens, batch) if price else 0.0
    return Usage(usage.requests, usage.input_tokens, usage.output_tokens, cost)
