"""tar archives packed with zstd: `tarzstd` in a job's variables, the quickest both ways.

Law: as for zip: bounded memory, nothing outside the root, nothing at all from a broken archive.
"""

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from runner.helper.archives import zstandard
from runner.helper.archives.entries import CHUNK_BYTES, Entry, Kind, read_chunks, write_all
from runner.helper.archives.placing import ArchiveError, Placer, check_room, placing
from runner.helper.console import Console

_ROOM_STEP_BYTES = 256 * 1024 * 1024
_BLOCK_BYTES = 512
_READ_BYTES = 128 * _BLOCK_BYTES


def write_tar_zstd(entries: Iterable[Entry], *, root: str, level: str, write: Callable[[bytes], object]) -> int:
    """Write an archive and give its size in bytes. `level` is one of zstandard.LEVELS. Raises OSError."""
    sink = _Packed(zstandard.compressor(zstandard.LEVELS[level], workers=min(8, os.cpu_count() or 1)), write)
    for entry in entries:
        sink.write(_header(entry))
        if entry.kind == "file":
            for data in _exactly(read_chunks(root, entry), entry.size):
                sink.write(data)
            sink.write(bytes(-entry.size % _BLOCK_BYTES))
    sink.write(bytes(2 * _BLOCK_BYTES))
    return sink.finish()


def extract_tar_zstd(path: str, *, root: str, console: Console) -> int:
    """Extract an archive and give the number of its entries. Raises ArchiveError, OSError."""
    count = 0
    try:
        with open(path, "rb", buffering=0) as file, placing(root) as placer:
            source = cast("BinaryIO", _Unpacked(file))
            with tarfile.open(fileobj=source, mode="r|", bufsize=_READ_BYTES) as tar:
                for count, member in enumerate(iter(tar.next, None), 1):  # noqa: B007 -- the last number counts
                    _take(tar, member, placer, console, root)
                    vars(tar)["members"] = []  # a list that grows with the archive
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise ArchiveError(f"the tar archive is broken: {error}") from error
    return count


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, placer: Placer, console: Console, root: str) -> None:
    kind = _kind(member)
    if kind is None:
        console.warning(f"{member.name}: no file, folder or link, passed over")
        return
    entry = Entry(
        name=member.name.rstrip("/") or "/",
        kind=kind,
        mode=member.mode & 0o7777,
        size=member.size,
        modified=float(member.mtime),
        owner=(member.uid, member.gid),
        target=member.linkname if kind == "link" else "",
    )
    if kind != "file":
        placer.add(entry)
        return
    if member.size > _ROOM_STEP_BYTES:
        check_room(root, member.size)
    content = tar.extractfile(member)
    assert content is not None  # a file has one
    with placer.file(entry) as file:
        while data := content.read(CHUNK_BYTES):
            write_all(file, data)


def _kind(member: tarfile.TarInfo) -> Kind | None:
    if member.isdir():
        return "folder"
    if member.issym():
        return "link"
    return "file" if member.isreg() else None


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.type = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}[entry.kind]
    # Whole seconds: a fraction would cost a header of its own for each file.
    info.mode, info.mtime, info.size, info.linkname = entry.mode, int(entry.modified), entry.size, entry.target
    if entry.owner is not None:
        info.uid, info.gid = entry.owner
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """As many bytes as the header says: a file that shrank since is filled up with zeros."""
    for data in chunks:
        size -= len(data)
        yield data
    while size:
        filling = bytes(min(size, CHUNK_BYTES))
        size -= len(filling)
        yield filling


class _Packed:
    """Packs what is written and passes it on."""

    def __init__(self, compressor: Any, write: Callable[[bytes], object]) -> None:
        self._compressor = compressor
        self._sink = write
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pass(self._compressor.compress(data))

    def finish(self) -> int:
        """Write what is left; the size of the whole."""
        self._pass(self._compressor.flush())
        return self._size

    def _pass(self, packed: bytes) -> None:
        if packed:
            self._sink(packed)
            self._size += len(packed)


class _Unpacked:
    """A file to read from, that unpacks; an archive that ends in the middle is an error."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._state = zstandard.decompressor()

    def read(self, size: int) -> bytes:
        data = b""
        while not data and not self._state.eof:
            packed = self._file.read(CHUNK_BYTES) if self._state.needs_input else b""
            if self._state.needs_input and not packed:
                raise EOFError("it ends early")
            data = self._state.decompress(packed, size)
        return data
