"""Zstandard: the standard library's from Python 3.14 on, its backport before. Imported by the commands that need it."""

import sys
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVELS = {"fastest": 1, "fast": 1, "default": 3, "slow": 7, "slowest": 11}
"""The original's names for how hard to try."""

ZstdError = zstd.ZstdError


def decompressor() -> Any:
    """Unpack one frame, piece by piece."""
    return zstd.ZstdDecompressor()


def compressor(level: int, *, workers: int) -> Any:
    """Pack one frame with a checksum, with threads beside the caller's."""
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: level,
        parameter.nb_workers: workers,
        parameter.checksum_flag: 1,
    }
    return zstd.ZstdCompressor(options=options)


def pack(data: bytes, level: int) -> bytes:
    """Pack one piece as a frame of its own."""
    packed: bytes = zstd.compress(data, level)
    return packed
