"""Arrays as Parquet bytes: the Arrow extension type and both directions of conversion.

A value column holds raw little-endian C-order bytes: `fixed_size_binary` for fixed shapes,
`large_binary` for ragged ones. Shape, dtype and time base stand in the field's metadata and in the
extension type, so that any Parquet reader gets bytes and ours gets arrays.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import StoreError
from ..records import FeatureSpec

EXTENSION_NAME = "affectflow.tensor"


class TensorType(pa.ExtensionType):
    """Extension type of a value column; its parameter is the feature's spec."""

    def __init__(self, storage: pa.DataType, spec_json: str) -> None:
        self._spec_json = spec_json
        super().__init__(storage, EXTENSION_NAME)

    @property
    def spec(self) -> FeatureSpec:
        """The feature's spec."""
        return FeatureSpec.from_json(json.loads(self._spec_json))

    def __arrow_ext_serialize__(self) -> bytes:
        return self._spec_json.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> TensorType:
        return cls(storage, serialized.decode())


def register() -> None:
    """Register the extension type once per process."""
    try:
        pa.register_extension_type(TensorType(pa.large_binary(), "{}"))
    except pa.ArrowKeyError:
        # Already registered by an earlier import.
        return


register()


def row_bytes(spec: FeatureSpec) -> int:
    """Return the bytes of one row of a fixed shape, or of one step of the ragged axis."""
    shape = spec.shape[1:] if spec.ragged else spec.shape
    return math.prod(int(size or 0) for size in shape) * np.dtype(spec.dtype).itemsize


def storage_type(spec: FeatureSpec) -> pa.DataType:
    """Return the Arrow type that stores the bytes of ``spec``."""
    return pa.large_binary() if spec.ragged else pa.binary(row_bytes(spec))


def value_type(spec: FeatureSpec) -> TensorType:
    """Return the extension type of the value column."""
    text = json.dumps(spec.to_json(), sort_keys=True, separators=(",", ":"))
    return TensorType(storage_type(spec), text)


def pack(values: Sequence[np.ndarray | None], spec: FeatureSpec) -> pa.Array:
    """Return arrays of ``spec`` as the storage array; None becomes null."""
    raw = [None if value is None else value.tobytes() for value in values]
    return pa.array(raw, type=storage_type(spec))


class NotFinite(ValueError):
    """A value is NaN or infinite, or would become so in the declared dtype."""


def check_value(value: Any, spec: FeatureSpec) -> np.ndarray:
    """Return ``value`` as a contiguous little-endian array of the spec's dtype.

    Raises:
        NotFinite: A value is not finite, or does not fit the dtype (a cast to fp16).
        ValueError: The shape is not the declared one.
    """
    array = np.asarray(value)
    wanted = np.dtype(spec.dtype).newbyteorder("<")
    shape_fits = len(array.shape) == len(spec.shape) and all(
        expected in (None, got) for expected, got in zip(spec.shape, array.shape, strict=True)
    )
    if not shape_fits:
        raise ValueError(f"{spec.name}: got shape {array.shape}, declared {spec.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise NotFinite(f"{spec.name}: {count} of {array.size} values are NaN or infinite")
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype=wanted)
    if wanted.kind == "f" and array.dtype != wanted and not np.isfinite(cast).all():
        raise NotFinite(f"{spec.name}: values beyond the range of {spec.dtype}")
    return cast


def storage(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the bytes array of a value column, as one chunk, registered type or not."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(_chunks(array))
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _chunks(array: pa.ChunkedArray) -> list[pa.Array]:
    if array.num_chunks:
        return [storage(chunk) for chunk in array.chunks]
    kind = array.type.storage_type if isinstance(array.type, pa.ExtensionType) else array.type
    return [pa.array([], type=kind)]


def fixed_to_numpy(array: pa.Array, spec: FeatureSpec) -> np.ndarray:
    """Return a fixed-shape column as ``(rows, *shape)`` without copying.

    Null rows hold whatever the buffer holds: drop them by the validity mask before use.
    """
    width = row_bytes(spec)
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0 or width == 0:
        return np.zeros((len(array), *_sizes(spec)), dtype=spec.dtype)
    flat = np.frombuffer(buffer, dtype=np.dtype(spec.dtype).newbyteorder("<"))
    per_row = width // flat.dtype.itemsize
    start = array.offset * per_row
    return flat[start : start + len(array) * per_row].reshape(len(array), *_sizes(spec))


def ragged_to_numpy(array: pa.Array, spec: FeatureSpec) -> list[np.ndarray]:
    """Return a ragged column as ``(n, *rest)`` views, one per row; nulls are empty."""
    if spec.ragged is False:
        raise StoreError(f"feature '{spec.name}' is not ragged", "read it as fixed")
    rest = tuple(int(size or 0) for size in spec.shape[1:])
    kind = np.dtype(spec.dtype).newbyteorder("<")
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    raw = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    valid = np.ones(len(array), bool) if array.null_count == 0 else ~np.asarray(array.is_null())
    empty = np.zeros((0, *rest), kind)
    return [
        raw[offsets[i] : offsets[i + 1]].view(kind).reshape(-1, *rest) if valid[i] else empty
        for i in range(len(array))
    ]


def _sizes(spec: FeatureSpec) -> tuple[int, ...]:
    return tuple(int(size or 0) for size in spec.shape)
