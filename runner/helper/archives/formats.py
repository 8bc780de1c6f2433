"""The formats of archives by name, and which one a file has by its first bytes."""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote

from runner.helper.archives.entries import Entry, entries_of, read_chunks
from runner.helper.archives.placing import ArchiveError
from runner.helper.archives.zip_writer import ZSTANDARD, write_zip
from runner.helper.console import Console, HelperError

Write = Callable[[bytes], object]

LEVELS = {"fastest": 0, "fast": 1, "default": 5, "slow": 7, "slowest": 9}
"""The original's names for how hard to try, as zlib's levels."""


def level_of(name: str, console: Console) -> str:
    """Give a known level; tells of one that is not."""
    known = name.lower()
    if known in LEVELS:
        return known
    if name:
        console.warning(f"compression level {name!r} is none of {', '.join(LEVELS)}: default is used")
    return "default"


def write_archive(
    form: str, names: Sequence[str], *, root: str, level: str, write: Write, console: Console | None = None
) -> int:
    """Write an archive of a format and give its size. Raises HelperError for what the format cannot hold, OSError.

    `console` hears of sockets, pipes and devices, which are passed over.
    """

    def tell(name: str) -> None:
        if console:
            console.warning(f"{name}: no file, folder or link, passed over")

    writers = {"tarzstd": _write_tar_zstd, "zipzstd": _write_zip_zstd, "gzip": _write_gzip, "raw": _write_raw}
    return writers.get(form, _write_zip)(entries_of(root, names, tell), root, level, write)


def extract_archive(path: str, *, root: str, console: Console) -> int:
    """Extract an archive of whatever format it is. Raises ArchiveError, OSError."""
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"\x28\xb5\x2f\xfd":
        from runner.helper.archives.tar_zstd import extract_tar_zstd

        return extract_tar_zstd(path, root=root, console=console)
    if magic[:2] == b"\x1f\x8b":
        raise ArchiveError("a gzip file cannot be extracted: it does not say what files it holds")
    from runner.helper.archives.zip_reader import extract_zip

    return extract_zip(path, root=root, console=console)


def _write_zip(entries: Iterable[Entry], root: str, level: str, write: Write) -> int:
    return write_zip(entries, root=root, level=LEVELS[level], write=write)


def _write_zip_zstd(entries: Iterable[Entry], root: str, level: str, write: Write) -> int:
    from runner.helper.archives import zstandard

    packing = zstandard.LEVELS[level]
    return write_zip(entries, root=root, level=packing, method=ZSTANDARD, write=write)


def _write_tar_zstd(entries: Iterable[Entry], root: str, level: str, write: Write) -> int:
    from runner.helper.archives.tar_zstd import write_tar_zstd

    return write_tar_zstd(entries, root=root, level=level, write=write)


def _write_gzip(entries: Iterable[Entry], root: str, level: str, write: Write) -> int:
    """One gzip member after the other, each with its file's name and path, as GitLab reads reports."""
    size = 0
    for entry in entries:
        if entry.kind != "file":
            raise HelperError(f"{entry.name} is no regular file: a gzip artifact holds files alone")
        for data in _gzip_member(entry, root, LEVELS[level]):
            write(data)
            size += len(data)
    return size


def _gzip_member(entry: Entry, root: str, level: int) -> Iterator[bytes]:
    """A member of RFC 1952 with a name and a comment, which Python's own writer cannot both write."""
    name, comment = _header_text(os.path.basename(entry.name)), _header_text(entry.name)
    yield b"\x1f\x8b\x08\x18" + struct.pack("<I", int(entry.modified) & 0xFFFFFFFF) + b"\x00\xff" + name + comment
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    checksum = size = 0
    for data in read_chunks(root, entry):
        checksum, size = zlib.crc32(data, checksum), size + len(data)
        yield packer.compress(data)
    yield packer.flush() + struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _header_text(text: str) -> bytes:
    """The header holds Latin-1 alone; what is not ASCII, and a percent sign, is written as in a URL."""
    plain = text.isascii() and "%" not in text
    return (text if plain else f"e:{quote(os.fsencode(text))}").encode() + b"\0"


def _write_raw(entries: Iterable[Entry], root: str, _level: str, write: Write) -> int:
    found = list(entries)
    if len(found) != 1:
        raise HelperError(f"only one file can be sent as raw, {len(found)} were found")
    (entry,) = found
    if entry.kind != "file":
        raise HelperError(f"{entry.name} is no regular file: raw sends one file")
    for data in read_chunks(root, entry):
        write(data)
    return entry.size
