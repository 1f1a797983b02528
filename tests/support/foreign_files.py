"""Small made-up files in the layouts of published features, with their defects.

Every value is a multiple of 1/64 below 4, so that it is exact in half precision.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = {"train": 5, "valid": 3, "test": 2}
WIDTHS = {"text": 8, "audio": 5, "vision": 6}


def numbers(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Return values that are never 0."""
    whole = generator.integers(1, 255, shape) * generator.choice([-1, 1], shape)
    return (whole / 64).astype(np.float32)


def padded(rows: Sequence[np.ndarray], length: int, side: str) -> np.ndarray:
    """Return rows (n, D) as (N, L, D) with zeros on one side."""
    out = np.zeros((len(rows), length, rows[0].shape[1]), np.float32)
    for place, row in zip(out, rows, strict=True):
        if len(row):
            place[slice(0, len(row)) if side == "end" else slice(-len(row), None)] = row
    return out


def sentiment(generator: np.random.Generator, size: int, high: float = 3.0) -> np.ndarray:
    """Return labels between -high and high, the first of them 0."""
    labels = generator.integers(-12, 13, size) / 12 * high
    labels[0], labels[-1] = 0.0, high
    return labels.astype(np.float32)


def mmsa(
    *,
    aligned: bool = False,
    side: str = "end",
    sims: bool = False,
    lengths: Mapping[str, int] | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Return an MMSA layout and, per feature and key, the rows without padding."""
    generator = np.random.default_rng(seed)
    full = lengths or (
        {"text": 9, "audio": 9, "vision": 9} if aligned else {"text": 9, "audio": 14, "vision": 11}
    )
    data: dict[str, Any] = {}
    truth: dict[str, dict[str, np.ndarray]] = {name: {} for name in (*WIDTHS, "text_bert")}
    for split, size in SPLITS.items():
        ids = [f"video{split}$_${index}" for index in range(size)]
        words = generator.integers(3, full["text"], size)
        part: dict[str, Any] = {"id": ids, "raw_text": [f"words of {key}" for key in ids]}
        for name, width in WIDTHS.items():
            steps = words if aligned or name == "text" else generator.integers(2, full[name], size)
            rows = [numbers(generator, int(step), width) for step in steps]
            part[name] = padded(rows, full[name], side)
            truth[name].update(zip(ids, rows, strict=True))
            if not aligned and name != "text":
                part[f"{name}_lengths"] = [int(step) for step in steps]
        part["text_bert"] = tokens(generator, words, full["text"], side)
        for key, row, step in zip(ids, part["text_bert"], words, strict=True):
            kept = row[:, :step] if side == "end" else row[:, -step:]
            truth["text_bert"][key] = kept.T.astype(np.int32)
        add_mmsa_labels(part, generator, size, sims)
        data[split] = part
    return data, truth


def tokens(generator: np.random.Generator, words: np.ndarray, length: int, side: str) -> np.ndarray:
    """Return (N, 3, L) as the published files have them, in floating point."""
    out = np.zeros((len(words), 3, length), np.float32)
    for place, step in zip(out, words, strict=True):
        here = slice(0, step) if side == "end" else slice(length - step, length)
        place[0, here] = generator.integers(100, 30_000, step)
        place[1, here] = 1
    return out


def add_mmsa_labels(
    part: dict[str, Any], generator: np.random.Generator, size: int, sims: bool
) -> None:
    """Add labels, their names and, for SIMS, one label per modality."""
    high = 1.0 if sims else 3.0
    part["regression_labels"] = sentiment(generator, size, high)
    names = np.array(["Negative", "Neutral", "Positive"])
    part["annotations"] = names[np.sign(part["regression_labels"]).astype(int) + 1].tolist()
    part["classification_labels"] = np.sign(part["regression_labels"]) + 1
    for letter in "TAV" if sims else "":
        part[f"regression_labels_{letter}"] = sentiment(generator, size, high)


def mult(
    *,
    emotions: bool = False,
    side: str = "end",
    ids: str = "bytes",
    lengths: Mapping[str, int] | None = None,
    widths: Mapping[str, int] = WIDTHS,
    labels: Callable[[np.random.Generator, int], np.ndarray] | None = None,
    seed: int = 1,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return a MulT or MultiBench layout and the text rows without padding, in file order."""
    generator = np.random.default_rng(seed)
    full = lengths or {"text": 9, "audio": 14, "vision": 11}
    data: dict[str, Any] = {}
    texts: list[np.ndarray] = []
    for split, size in SPLITS.items():
        words = generator.integers(3, full["text"], size)
        part: dict[str, Any] = {}
        for name, width in widths.items():
            same = full[name] == full["text"]
            steps = words if same else generator.integers(2, full[name], size)
            rows = [numbers(generator, int(step), width) for step in steps]
            texts += rows if name == "text" else []
            part[name] = padded(rows, full[name], side)
        if emotions:
            part["labels"] = np.eye(2)[generator.integers(0, 2, (size, 4))]
        else:
            made = (labels or sentiment)(generator, size)
            part["labels"] = made.reshape(size, 1, 1)
        if ids != "none":
            part["id"] = identifiers(split, size, ids)
        data[split] = part
    return data, texts


def identifiers(split: str, size: int, kind: str) -> np.ndarray:
    """Return (N, 3) of video, start and end, as text or as bytes."""
    rows = [(f"{split}{index}", f"{index}.5", f"{index + 1}.0") for index in range(size)]
    return np.array(rows, "S16" if kind == "bytes" else "U16")


def write(path: Path, data: Any, protocol: int = 4) -> Path:
    """Write a pickle."""
    path.write_bytes(pickle.dumps(data, protocol))
    return path


def write_python2(path: Path, data: Mapping[str, Any]) -> Path:
    """Write a pickle as Python 2 wrote it: byte strings, and NumPy's old module paths."""
    content = _Python2(data).dumps()
    path.write_bytes(content)
    return path


class _Python2:
    """Writes protocol 2 with STRING opcodes for text, as the old pickle module did."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def dumps(self) -> bytes:
        return b"\x80\x02" + self._value(self._data) + b"."

    def _value(self, value: Any) -> bytes:
        if isinstance(value, Mapping):
            items = b"".join(self._value(k) + self._value(v) + b"s" for k, v in value.items())
            return b"}" + items
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, str | bytes):
            raw = value.encode("utf-8") if isinstance(value, str) else value
            return b"T" + len(raw).to_bytes(4, "little") + raw
        if isinstance(value, list):
            return b"](" + b"".join(map(self._value, value)) + b"e"
        return pickle.dumps(value, 2)[2:-1]

    def _array(self, value: np.ndarray) -> bytes:
        dtype = value.dtype.str[1:].encode()
        order = b"|" if value.dtype.kind == "S" else b"<"
        size = value.dtype.itemsize if value.dtype.kind == "S" else -1
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        made += self._value((0,)) + self._value(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + self._value(dtype) + self._value(0) + self._value(1) + b"tR"
        state = [3, order, None, None, None, size, 1 if size > 0 else -1, 0]
        kind += b"(" + b"".join(map(self._value, state)) + b"tb"
        fields = self._value(1) + self._value(value.shape) + kind
        raw = np.ascontiguousarray(value).tobytes()
        fields += b"I00\n" + self._value(raw)
        return made + b"(" + fields + b"tb"
