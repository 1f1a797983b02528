"""Whether a WAV, AIFF, AU or W64 file holds the samples its header promises.

libsndfile takes what there is, so that half a recording would look like a short one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Marker of the file, and the byte order of its sizes.
_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}
_SAMPLES = (b"data", b"SSND")
# Sizes from here on, and 0, stand for "unknown" in the headers of writers that cannot go back.
_UNKNOWN = 0x7FFF_F000
_MAX_CHUNKS = 1000
# AU: marker and byte order. W64: what every identifier ends with, and that of the file in full.
_AU_ORDER = {b".snd": ">", b"dns.": "<"}
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_FILE = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def missing_bytes(path: Path) -> tuple[int, int] | None:
    """Return how many bytes of samples are missing and how many were promised.

    None where nothing is missing, where the header does not know, and for other formats.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        for start, size in _promised(file, end):
            if start + size > end:
                return start + size - end, size
    return None


def _promised(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yield where samples start and how many bytes they are by the header."""
    head = file.read(16)
    if len(head) < 12:
        return
    if head[:4] in _AU_ORDER:
        start, size = struct.unpack(_AU_ORDER[head[:4]] + "II", head[4:12])
        if 0 < size < _UNKNOWN:
            yield start, size
    elif head == _W64_FILE:
        yield from _w64_chunks(file, end)
    elif head[:4] in _ORDER:
        yield from _sample_chunks(file, end, _ORDER[head[:4]])


def _w64_chunks(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    # Sizes count the 24 bytes of identifier and size; chunks begin at multiples of eight.
    start = 40
    for _ in range(_MAX_CHUNKS):
        file.seek(start)
        head = file.read(24)
        if len(head) < 24 or start >= end:
            return
        size = int(struct.unpack("<Q", head[16:])[0]) - 24
        if head[:16] == b"data" + _W64_TAIL:
            if 0 < size < 1 << 62:
                yield start + 24, size
            return
        start += 24 + -(-max(size, 0) // 8) * 8


def _sample_chunks(file: BinaryIO, end: int, order: str) -> Iterator[tuple[int, int]]:
    start, long_size = 12, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        (size,) = struct.unpack(order + "I", head[4:])
        if head[:4] == b"ds64":
            # 64-bit sizes of the file and of its samples, which then have 0xFFFFFFFF.
            sizes = file.read(16)
            long_size = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else 0
        if head[:4] in _SAMPLES:
            if size == 0xFFFF_FFFF and 0 < long_size < 1 << 62:
                yield start + 8, long_size
            elif 0 < size < _UNKNOWN:
                yield start + 8, size
            return
        start += 8 + size + size % 2
        if start >= end:
            return
