"""Token ids back to tokens, with the tokenizer that made them and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AffectflowError

_TOKENIZER = "tokenizer.json"


def words_of(ids: Sequence[np.ndarray], recipe: Mapping[str, Any]) -> list[list[str]]:
    """Return the tokens of each text; ``#<id>`` where the tokenizer is not on this machine.

    Args:
        ids: (N,) token ids of each text.
        recipe: What the feature was made with; its tokenizer must have the recorded digest.
    """
    tokenizer = _tokenizer(recipe)

    def word(number: int) -> str:
        found = tokenizer.id_to_token(number) if tokenizer is not None else None
        return str(found) if found is not None else f"#{number}"

    return [[word(int(number)) for number in row] for row in ids]


def _tokenizer(recipe: Mapping[str, Any]) -> Any:
    weights = (recipe.get("identity") or {}).get("weights") or {}
    recorded = (weights.get("files") or {}).get(_TOKENIZER)
    path = _folder_of(str(weights.get("name") or ""))
    if recorded is None or path is None or not (path / _TOKENIZER).is_file():
        return None
    data = (path / _TOKENIZER).read_bytes()
    if hashlib.sha256(data).hexdigest() != recorded:
        return None
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        # Numbers are shown in place of words.
        return None
    return Tokenizer.from_str(data.decode("utf-8"))


def _folder_of(name: str) -> Path | None:
    from ...weights import locate

    try:
        return locate(name) if name else None
    except AffectflowError:
        # The weights are not on this machine, or not those of the catalogue.
        return None
