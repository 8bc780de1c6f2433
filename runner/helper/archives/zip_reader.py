"""Extracts zip archives, with every processor.

Law: a file is as long as the directory of the archive says and has the checksum that it says, or nothing is extracted.
Names, links and modes are as Info-ZIP wrote them; what is no file, folder or link is passed over with a warning.
"""

import os
import stat
import struct
import zipfile
import zlib
from calendar import timegm
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from runner.helper.archives.entries import CHUNK_BYTES, Entry, Kind, write_all
from runner.helper.archives.placing import ArchiveError, Placer, check_room, placing
from runner.helper.archives.zip_writer import DEFLATED, STORED, ZSTANDARD
from runner.helper.console import Console

LINK_BYTES = 4096
"""The longest target of a link; Linux takes no longer one."""

_UTF8 = 1 << 11
_UNIX = 3
_LATEST = float(2**33)


def extract_zip(path: str, *, root: str, console: Console) -> int:
    """Extract an archive and give the number of its entries. Raises ArchiveError, OSError."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ArchiveError(f"the zip archive is broken: {error}") from error
    with archive:
        items = archive.infolist()
        check_room(root, sum(item.file_size for item in items))
        with placing(root) as placer, open(path, "rb", buffering=0) as file:
            _extract(file.fileno(), items, placer, console)
    return len(items)


def _extract(descriptor: int, items: list[zipfile.ZipInfo], placer: Placer, console: Console) -> None:
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="unzip") as pool:
        window: deque[Future[None]] = deque()
        try:
            for item in items:
                entry = _entry(descriptor, item)
                if entry is None:
                    console.warning(f"{item.filename}: no file, folder or link, passed over")
                elif entry.kind != "file":
                    placer.add(entry)
                else:
                    window.append(pool.submit(_write, descriptor, item, entry, placer))
                    if len(window) > 8 * workers:
                        window.popleft().result()
            while window:
                window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def _entry(descriptor: int, item: zipfile.ZipInfo) -> Entry | None:
    mode = item.external_attr >> 16
    kind = _kind(item, mode)
    if kind is None:
        return None
    modified, owner = _extra(item)
    target = ""
    if kind == "link":
        if item.file_size > LINK_BYTES:
            raise ArchiveError(f'"{item.filename}" is a link of {item.file_size} bytes: nothing was extracted')
        target = os.fsdecode(b"".join(_unpacked(descriptor, item)))
    return Entry(
        name=_name(item).rstrip("/") or "/",
        kind=kind,
        mode=stat.S_IMODE(mode),
        size=item.file_size,
        modified=modified,
        owner=owner,
        target=target,
    )


def _name(item: zipfile.ZipInfo) -> str:
    """The name as it is on disk: programs on Unix store its bytes, without saying that they are UTF-8."""
    if item.flag_bits & _UTF8 or item.create_system != _UNIX:
        return item.filename
    return os.fsdecode(item.orig_filename.encode("cp437"))


def _kind(item: zipfile.ZipInfo, mode: int) -> Kind | None:
    if stat.S_ISLNK(mode):
        return "link"
    if item.is_dir():
        return "folder"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else None


def _extra(item: zipfile.ZipInfo) -> tuple[float, tuple[int, int] | None]:
    """The time of the last change, by Info-ZIP's field or, for want of it, DOS's; and the owner."""
    modified: float = timegm((*item.date_time, 0, 0, 0))
    owner = None
    data = item.extra
    while len(data) >= 4:
        kind, size = struct.unpack_from("<HH", data)
        body, data = data[4 : 4 + size], data[4 + size :]
        if kind == 0x5455 and len(body) >= 5 and body[0] & 1:
            modified = struct.unpack_from("<i", body, 1)[0]
        elif kind == 0x7875 and body[:2] == b"\x01\x04" and len(body) >= 11 and body[6] == 4:
            owner = (int.from_bytes(body[2:6], "little"), int.from_bytes(body[7:11], "little"))
    return min(max(modified, 0.0), _LATEST), owner


def _write(descriptor: int, item: zipfile.ZipInfo, entry: Entry, placer: Placer) -> None:
    with placer.file(entry) as file:
        for data in _unpacked(descriptor, item):
            write_all(file, data)


def _unpacked(descriptor: int, item: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of one file, checked as they pass."""
    if item.flag_bits & 1:
        raise ArchiveError(f'"{item.filename}" is encrypted: nothing was extracted')
    header = os.pread(descriptor, 30, item.header_offset)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise ArchiveError(f'the zip archive is broken: "{item.filename}" is not where its directory says')
    offset = item.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
    left, size, checksum = item.compress_size, 0, 0
    unpack = _unpacker(item)
    while left:
        packed = os.pread(descriptor, min(left, CHUNK_BYTES), offset)
        if not packed:
            raise ArchiveError(f'the zip archive is broken: "{item.filename}" ends early')
        left -= len(packed)
        offset += len(packed)
        for data in unpack(packed):
            size += len(data)
            checksum = zlib.crc32(data, checksum)
            if size > item.file_size:
                break
            yield data
    if size != item.file_size or checksum != item.CRC:
        raise ArchiveError(f'the zip archive is broken: "{item.filename}" is not what its checksum says')


def _unpacker(item: zipfile.ZipInfo) -> Callable[[bytes], Iterable[bytes]]:
    """A function from packed bytes to pieces of bounded size: a small archive may hold a very large file."""
    if item.compress_type == STORED:
        return lambda packed: (packed,)
    if item.compress_type == DEFLATED:
        return partial(_inflated, zlib.decompressobj(-15), item)
    if item.compress_type == ZSTANDARD:
        from runner.helper.archives.zstandard import decompressor

        return partial(_decompressed, [decompressor()], decompressor, item)
    raise ArchiveError(f'"{item.filename}" is packed in a way that is not known here ({item.compress_type})')


def _inflated(state: Any, item: zipfile.ZipInfo, packed: bytes) -> Iterator[bytes]:
    try:
        while packed:
            yield state.decompress(packed, CHUNK_BYTES)
            packed = state.unconsumed_tail
    except zlib.error as error:
        raise ArchiveError(f'the zip archive is broken: "{item.filename}": {error}') from error


def _decompressed(states: list[Any], begin: Callable[[], Any], item: zipfile.ZipInfo, packed: bytes) -> Iterator[bytes]:
    """A file may be of several frames, one after the other."""
    try:
        while True:
            state = states[0]
            yield state.decompress(packed, CHUNK_BYTES)
            packed = b""
            if state.eof:
                packed, states[0] = state.unused_data, begin()
                if not packed:
                    return
            elif state.needs_input:
                return
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise ArchiveError(f'the zip archive is broken: "{item.filename}": {error}') from error
