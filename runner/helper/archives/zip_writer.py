"""Writes zip archives to where nobody can seek, with every processor.

Files are cut into pieces that are packed beside each other and written in order; a piece knows the end of the one
before, so little is lost by the cut. Memory is bounded by a window of pieces, and the directory at the end lies in a
temporary file once it is long. The format is PKWARE's APPNOTE, with Info-ZIP's fields for times and owners.
"""

import os
import stat
import struct
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from runner.helper.archives.entries import CHUNK_BYTES, Entry, read_chunks

STORED, DEFLATED, ZSTANDARD = 0, 8, 93

_DICTIONARY_BYTES = 32768
_DIRECTORY_IN_MEMORY_BYTES = 4 * 1024 * 1024
_MAX_32 = 0xFFFFFFFF
_MAX_16 = 0xFFFF
_UTF8 = 1 << 11
_SIZES_FOLLOW = 1 << 3
_VERSION = 45
_UNIX = 3 << 8


@dataclass(frozen=True, slots=True)
class _Piece:
    """A packed piece of one file."""

    entry: Entry
    data: bytes
    checksum: int
    size: int
    method: int
    first: bool
    last: bool


def write_zip(
    entries: Iterable[Entry], *, root: str, write: Callable[[bytes], object], level: int, method: int = DEFLATED
) -> int:
    """Write an archive and give its size in bytes. `level` is the method's; 0 only stores.

    Raises OSError if a file cannot be read.
    """
    writer = _Writer(write)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="zip") as pool:
        window: deque[Future[_Piece]] = deque()
        try:
            for entry, data, before, first, last in _cut(entries, root):
                window.append(
                    pool.submit(_packed, entry, data, before, first=first, last=last, level=level, method=method)
                )
                if len(window) > 2 * workers:
                    writer.add(window.popleft().result())
            while window:
                writer.add(window.popleft().result())
        finally:
            for future in window:
                future.cancel()
    return writer.finish()


def _cut(entries: Iterable[Entry], root: str) -> Iterator[tuple[Entry, bytes, bytes, bool, bool]]:
    """Each piece with the end of the one before it, and whether it is its file's first or last."""
    for entry in entries:
        if entry.kind != "file":
            yield entry, os.fsencode(entry.target), b"", True, True
            continue
        before, data = b"", b""
        first = True
        for following in read_chunks(root, entry):
            if data:
                yield entry, data, before, first, False
                before, first = data[-_DICTIONARY_BYTES:], False
            data = following
        yield entry, data, before, first, True


def _packed(entry: Entry, data: bytes, before: bytes, *, first: bool, last: bool, level: int, method: int) -> _Piece:
    checksum = zlib.crc32(data)
    whole = first and last
    if not level or (whole and (entry.kind != "file" or not data)):
        return _Piece(entry, data, checksum, len(data), STORED, first, last)
    if method == ZSTANDARD:
        from runner.helper.archives.zstandard import pack

        packed = pack(data, level)
    else:
        packed = _deflated(data, before, level, last=last)
    if whole and len(packed) >= len(data):
        return _Piece(entry, data, checksum, len(data), STORED, first, last)
    return _Piece(entry, packed, checksum, len(data), method, first, last)


def _deflated(data: bytes, before: bytes, level: int, *, last: bool) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, *([before] if before else []))
    return packer.compress(data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class _Writer:
    """Puts headers around pieces and notes the directory."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._offset = 0
        self._count = 0
        self._directory = tempfile.SpooledTemporaryFile(_DIRECTORY_IN_MEMORY_BYTES)  # noqa: SIM115 -- closed by finish
        self._begun_at = 0
        self._checksum = self._size = self._packed_size = 0

    def add(self, piece: _Piece) -> None:
        """Write the next piece of the file at hand."""
        known = piece.first and piece.last
        if piece.first:
            self._begun_at = self._offset
            self._checksum = self._size = self._packed_size = 0
            self._put(_local_header(piece, known=known))
        self._put(piece.data)
        self._checksum = piece.checksum if known else _combined(self._checksum, piece.checksum, piece.size)
        self._size += piece.size
        self._packed_size += len(piece.data)
        if piece.last:
            if not known:
                self._put(struct.pack("<4sIQQ", b"PK\x07\x08", self._checksum, self._packed_size, self._size))
            self._note(piece, known=known)

    def finish(self) -> int:
        """Write the directory and its end; the size of the whole."""
        begun = self._offset
        with self._directory as directory:
            directory.seek(0)
            while data := directory.read(CHUNK_BYTES):
                self._put(data)
        size = self._offset - begun
        if self._count >= _MAX_16 or size >= _MAX_32 or begun >= _MAX_32:
            record = (b"PK\x06\x06", 44, _UNIX | _VERSION, _VERSION, 0, 0, self._count, self._count, size, begun)
            self._put(struct.pack("<4sQHHIIQQQQ", *record) + struct.pack("<4sIQI", b"PK\x06\x07", 0, self._offset, 1))
        count = min(self._count, _MAX_16)
        end = (b"PK\x05\x06", 0, 0, count, count, min(size, _MAX_32), min(begun, _MAX_32), 0)
        self._put(struct.pack("<4sHHHHIIH", *end))
        return self._offset

    def _put(self, data: bytes) -> None:
        self._write(data)
        self._offset += len(data)

    def _note(self, piece: _Piece, *, known: bool) -> None:
        """Write the file's record into the directory; numbers too large for it go into an extra field."""
        entry = piece.entry
        large = b""
        for number in (self._size, self._packed_size, self._begun_at):
            large += struct.pack("<Q", number) if number >= _MAX_32 else b""
        extra = (struct.pack("<HH", 1, len(large)) + large if large else b"") + _extra(entry, directory=True)
        name = _name(entry)
        record = struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            b"PK\x01\x02",
            _UNIX | _VERSION,
            _VERSION,
            _flags(entry, known=known),
            piece.method,
            *_dos_time(entry.modified),
            self._checksum,
            min(self._packed_size, _MAX_32),
            min(self._size, _MAX_32),
            len(name),
            len(extra),
            0,
            0,
            0,
            _attributes(entry),
            min(self._begun_at, _MAX_32),
        )
        self._directory.write(record + name + extra)
        self._count += 1


def _local_header(piece: _Piece, *, known: bool) -> bytes:
    entry, name = piece.entry, _name(piece.entry)
    # With sizes that follow the data, the extra field says that they are of eight bytes.
    sizes = b"" if known else struct.pack("<HHQQ", 1, 16, 0, 0)
    extra = sizes + _extra(entry, directory=False)
    numbers = (piece.checksum, len(piece.data), piece.size) if known else (0, _MAX_32, _MAX_32)
    flags = _flags(entry, known=known)
    header = (b"PK\x03\x04", _VERSION, flags, piece.method, *_dos_time(entry.modified), *numbers, len(name), len(extra))
    return struct.pack("<4sHHHHHIIIHH", *header) + name + extra


def _extra(entry: Entry, *, directory: bool) -> bytes:
    seconds = int(entry.modified)
    fields = b""
    if -(2**31) <= seconds < 2**31:
        fields += struct.pack("<HHBi", 0x5455, 5, 1, seconds)
    if entry.owner is not None:
        fields += struct.pack("<HHBBIBI", 0x7875, 11, 1, 4, entry.owner[0], 4, entry.owner[1])
    return fields


def _name(entry: Entry) -> bytes:
    return os.fsencode(entry.name + ("/" if entry.kind == "folder" else ""))


def _flags(entry: Entry, *, known: bool) -> int:
    # A name with bytes that are no UTF-8 is stored as it is, and must not be called UTF-8.
    encoded = 0 if any("\udc80" <= character <= "\udcff" for character in entry.name) else _UTF8
    return encoded | (0 if known else _SIZES_FOLLOW)


def _attributes(entry: Entry) -> int:
    kinds = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK}
    return (kinds[entry.kind] | entry.mode) << 16 | (0x10 if entry.kind == "folder" else 0)


def _dos_time(seconds: float) -> tuple[int, int]:
    year, month, day, hour, minute, second = time.gmtime(max(seconds, 0))[:6]
    if not 1980 <= year <= 2107:
        year, month, day, hour, minute, second = (1980, 1, 1, 0, 0, 0) if year < 1980 else (2107, 12, 31, 23, 59, 58)
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _combined(first: int, second: int, second_size: int) -> int:
    """The checksum of two pieces one after the other, from theirs: the first is moved on by the second's length.

    The arithmetic is that of polynomials over GF(2), as in zlib's crc32_combine, which Python does not pass on.
    """
    return _times(_power_of_x(8 * second_size), first) ^ second


_POLYNOMIAL = 0xEDB88320


def _times(left: int, right: int) -> int:
    """Multiply modulo the polynomial; the highest bit is x to the 0."""
    product, bit = 0, 1 << 31
    while bit:
        if left & bit:
            product ^= right
        right = (right >> 1) ^ (_POLYNOMIAL if right & 1 else 0)
        bit >>= 1
    return product


def _power_of_x(exponent: int) -> int:
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _times(square, result)
        square = _times(square, square)
        exponent >>= 1
    return result
