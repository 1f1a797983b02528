"""Text to token ids: the model's own tokenizer, or a hash of words where there is none."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text.

    Attributes:
        ids: Token ids ``(N,)`` int32 with special tokens, at most ``max_length``.
        truncated: Whether the text had more.
    """

    ids: NDArray[np.int32]
    truncated: bool


class Tokenizer(Protocol):
    """Turns a text into ids; may be called from several threads."""

    pad_id: int

    def encode(self, text: str, max_length: int) -> Tokens:
        """Return the ids of a text, special tokens included."""


class PretrainedTokenizer:
    """The tokenizer that belongs to a Hugging Face model, read from a local folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self.pad_id = int(self._tokenizer.pad_token_id or 0)
        # Truncation is a setting of the shared tokenizer, so two threads must not encode at once.
        self._lock = threading.Lock()

    def encode(self, text: str, max_length: int) -> Tokens:
        """Return the ids of a text, special tokens included."""
        with self._lock:
            # One token more than fits tells that something was cut.
            ids = self._ids(text, max_length + 1)
            truncated = len(ids) > max_length
            if truncated:
                ids = self._ids(text, max_length)
        return Tokens(np.asarray(ids, dtype=np.int32), truncated)

    def _ids(self, text: str, length: int) -> list[int]:
        encoded = self._tokenizer(
            text, truncation=True, max_length=length, padding=False, add_special_tokens=True
        )
        return list(encoded["input_ids"])


class HashTokenizer:
    """Words to ids by a hash: needs no vocabulary file, keeps no meaning.

    Ids: 0 padding, 1 start, 2 end, then ``3 + sha256(word) mod (vocabulary - 3)``.
    """

    pad_id = 0

    def __init__(self, vocabulary: int) -> None:
        self._words = vocabulary - 3

    def encode(self, text: str, max_length: int) -> Tokens:
        """Return the ids of a text, special tokens included."""
        words = _WORD.findall(text.lower())
        kept = [self._id(word) for word in words[: max_length - 2]]
        ids = np.asarray([1, *kept, 2], dtype=np.int32)
        return Tokens(ids, len(words) > max_length - 2)

    def _id(self, word: str) -> int:
        digest = hashlib.sha256(word.encode(errors="surrogatepass")).digest()
        return 3 + int.from_bytes(digest[:8], "big") % self._words
