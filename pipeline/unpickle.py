"""Reading foreign pickles without running foreign code.

Only plain data is rebuilt: the literals that the pickle machine knows by itself, a few built-in
containers, and NumPy arrays, dtypes and scalars under the module paths of NumPy 1 and 2. Every
other global is refused by its name before anything of it is called.
"""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import DatasetError

MAX_BYTES = 16 * 2**30
_NUMPY_ROOTS = ("numpy.core", "numpy._core")
_BUILTINS: dict[str, Any] = {
    "set": set,
    "frozenset": frozenset,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "complex": complex,
    "int": int,
    "long": int,
    "float": float,
    "bool": bool,
}


def load_pickle(path: Path, *, encoding: str = "ASCII", max_bytes: int = MAX_BYTES) -> Any:
    """Return the plain data in a pickle file.

    Args:
        path: The file.
        encoding: How Python 2 strings become text; ``latin1`` for arrays that Python 2 wrote.
        max_bytes: Files above this size are refused unread.

    Raises:
        DatasetError: The file cannot be read, is too large, is no pickle or refers to a global
            that is not plain data (the global is named).
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise DatasetError(f"{path.name}: {size} bytes, the limit for a pickle is {max_bytes}")
        # Read as it is needed: a file of many gigabytes would else be in memory twice.
        with open(path, "rb") as stream:
            return _plain_data(stream, path.name, encoding)
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None


def loads_pickle(data: bytes, *, name: str = "pickle", encoding: str = "ASCII") -> Any:
    """Return the plain data in pickled bytes; see `load_pickle`.

    Raises:
        DatasetError: As for `load_pickle`.
    """
    return _plain_data(io.BytesIO(data), name, encoding)


def _plain_data(stream: BinaryIO, name: str, encoding: str) -> Any:
    try:
        return _PlainData(stream, name, encoding).load()
    except (DatasetError, OSError):
        raise
    except Exception as error:
        # Damaged and hostile pickles raise nearly every type there is; each means the same here.
        cause = f"{type(error).__name__}: {error}"
        # Who asked for another encoding can do something about it, and is no user of a command.
        by_caller = "a pickle written by Python 2 needs encoding='latin1'; or "
        hint = f"{'' if encoding == 'latin1' else by_caller}obtain the file again"
        raise DatasetError(f"{name}: not a readable pickle: {cause}", hint) from None


class _Latin1Bytes:
    """Stands for ``_codecs.encode``, which protocols 0 to 2 use for bytes; latin1 only.

    An instance without attributes, because the BUILD opcode can set those of a function.
    """

    __slots__ = ()

    def __call__(self, text: str, encoding: str = "latin1") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}, expected latin1")
        return text.encode("latin1")


class _Text:
    """Stands for ``str``: what a nested list would be written as can be larger than any memory."""

    __slots__ = ()

    def __call__(self, content: Any = "") -> str:
        if isinstance(content, str):
            return content
        raise pickle.UnpicklingError(f"text from {type(content).__name__}")


class _Bytes:
    """Stands for ``bytes`` and ``bytearray``; a length in place of content is refused."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type[bytes] | type[bytearray]) -> None:
        self._kind = kind

    def __call__(self, content: Any = b"", encoding: str | None = None) -> bytes | bytearray:
        if isinstance(content, str):
            return self._kind(content.encode(encoding or "latin1"))
        if isinstance(content, bytes | bytearray | list):
            return self._kind(content)
        raise pickle.UnpicklingError(f"bytes from {type(content).__name__}")


class _ArrayType:
    """Stands for ``numpy.ndarray``, which is not to be called: it takes bytes for pointers."""


class _Reconstruct:
    """Stands for ``_reconstruct``: an empty array, whatever is asked for; its state fills it."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> np.ndarray:
        if kind is not _ArrayType:
            raise pickle.UnpicklingError("an array of a type other than numpy.ndarray")
        return np.ndarray((0,), dtype=np.int8)


class _FromBuffer:
    """Stands for NumPy's function of protocol 5 that makes an array of bytes in the pickle."""

    __slots__ = ()

    def __call__(
        self, content: Any, dtype: Any, shape: Any, order: str, axes: Any = None
    ) -> np.ndarray:
        if not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError(f"array from {type(content).__name__}")
        flat = np.frombuffer(content, dtype=dtype)
        if order == "K" and axes is not None:
            return flat.reshape(shape).transpose(axes)
        return flat.reshape(shape, order=order)  # type: ignore[call-overload]


class _PlainData(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, name: str, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        found = _plain_global(module, name)
        if found is None:
            raise DatasetError(
                f"{self._name}: refused, it refers to '{module}.{name}'",
                "only built-in containers and NumPy arrays are read; convert the file to CSV or "
                "JSON where it is trusted",
            )
        return found


def _plain_global(module: str, name: str) -> Any:
    """Return what a global of a pickle stands for, or None where it is refused."""
    if module in {"builtins", "__builtin__"}:
        if name in {"bytes", "bytearray"}:
            return _Bytes(bytes if name == "bytes" else bytearray)
        return _Text() if name in {"str", "unicode"} else _BUILTINS.get(name)
    if module == "collections":
        known = {"OrderedDict": collections.OrderedDict, "defaultdict": collections.defaultdict}
        return known.get(name)
    if module == "_codecs" and name == "encode":
        return _Latin1Bytes()
    if module == "numpy":
        return {"ndarray": _ArrayType, "dtype": np.dtype}.get(name)
    if module in {f"{root}.multiarray" for root in _NUMPY_ROOTS}:
        return _numpy_makers().get(name)
    if module in {f"{root}.numeric" for root in _NUMPY_ROOTS} and name == "_frombuffer":
        return _FromBuffer()
    return None


def _numpy_makers() -> dict[str, Any]:
    """Return what rebuilds arrays and scalars; scalars by NumPy's own function, wherever it is."""
    scalar = np.float64(0).__reduce__()[0]
    return {"_reconstruct": _Reconstruct(), "scalar": scalar}
