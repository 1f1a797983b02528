"""Ranking one positive among negatives, with the expected value over random tie-breaking.

``Q`` queries, ``n`` negatives each. ``g`` negatives score strictly higher than the positive and
``e`` equal. If ties are broken at random, the positive's rank is uniform over g+1 … g+e+1, hence

    Hit@k = min(1, max(0, (k - g) / (e + 1)))     share, in [0, 1]
    MRR   = mean of 1/r for r = g+1 … g+e+1       in (0, 1]
    rank  = g + 1 + e/2                           in [1, n+1], smaller is better

A NaN score counts as the lowest, below minus infinity, and is counted. A model that gives every
candidate the same score gets chance, not Hit@1 = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from .classification import Floats

SIMILARITIES = ("TT", "II", "TI", "IT", "AVG")
"""Text or image of the source against text or image of the target, and the mean of the four."""


class Ranking(NamedTuple):
    """Where the positives stand.

    Attributes:
        higher: (Q,) g.
        equal: (Q,) e.
        num_candidates: n + 1.
        num_nan: NaN scores, of positives and negatives together.
    """

    higher: NDArray[np.int64]
    equal: NDArray[np.int64]
    num_candidates: int
    num_nan: int


def ranking(positive: NDArray[np.floating], negatives: NDArray[np.floating]) -> Ranking:
    """Return where each positive stands among its negatives.

    Args:
        positive: (Q,) scores, larger is better.
        negatives: (Q, n) scores.

    Raises:
        InvalidInput: The shapes do not fit.
    """
    if positive.ndim != 1 or negatives.ndim != 2 or len(positive) != len(negatives):
        raise InvalidInput(
            f"scores have shapes {positive.shape} and {negatives.shape}, expected (Q,) and (Q, n)"
        )
    mine = positive[:, None]
    mine_nan, other_nan = np.isnan(mine), np.isnan(negatives)
    higher = (negatives > mine) | (mine_nan & ~other_nan)
    equal = (negatives == mine) | (mine_nan & other_nan)
    counts = higher.sum(1, dtype=np.int64), equal.sum(1, dtype=np.int64)
    return Ranking(*counts, negatives.shape[1] + 1, int(mine_nan.sum() + other_nan.sum()))


def per_query(found: Ranking, hits: Sequence[int] = (1, 5)) -> dict[str, Floats]:
    """Return ``hit@k``, ``mrr`` and ``rank`` of each query, (Q,) each."""
    g, e = found.higher.astype(np.float64), found.equal.astype(np.float64)
    result = {f"hit@{k}": np.clip((k - g) / (e + 1), 0.0, 1.0) for k in hits}
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, found.num_candidates + 1))])
    last = found.higher + found.equal + 1
    result["mrr"] = (harmonic[last] - harmonic[found.higher]) / (e + 1)
    result["rank"] = g + 1 + e / 2
    return result


def retrieval(
    positive: NDArray[np.floating], negatives: NDArray[np.floating], hits: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Return the means over queries, the number of queries ``n`` and of NaN scores ``num_nan``.

    Without queries the means are NaN.
    """
    found = ranking(positive, negatives)
    values = per_query(found, hits)
    number = len(positive)
    means = {name: float(v.mean()) if number else float("nan") for name, v in values.items()}
    return {"n": float(number), "num_nan": float(found.num_nan), **means}


def chance(num_candidates: int, hits: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Return what random scores give; for 21 candidates 4.76 %, 23.81 %, 0.1736 and rank 11."""
    zeros = np.zeros((1, num_candidates - 1))
    values = per_query(ranking(zeros[:, 0] if num_candidates > 1 else np.zeros(1), zeros), hits)
    return {name: float(value[0]) for name, value in values.items()}


def by_similarity(
    scores: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]],
    hits: Sequence[int] = (1, 5),
) -> dict[str, dict[str, float]]:
    """Return `retrieval` for TT, II, TI, IT, and for AVG, the mean of their four scores.

    Args:
        scores: ``TT``, ``II``, ``TI`` and ``IT`` to scores of positives (Q,) and negatives (Q, n).
        hits: The k of Hit@k.

    Raises:
        InvalidInput: One of the four is absent.
    """
    four = SIMILARITIES[:-1]
    missing = [name for name in four if name not in scores]
    if missing:
        raise InvalidInput(f"no scores for {', '.join(missing)}, expected {', '.join(four)}")
    result = {name: retrieval(*scores[name], hits) for name in four}
    mean = (np.mean([scores[name][part] for name in four], axis=0) for part in (0, 1))
    positive, negatives = mean
    result["AVG"] = retrieval(positive, negatives, hits)
    return result
