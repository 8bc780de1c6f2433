"""One file, folder or link of an archive, on its way in or out."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

Kind = Literal["file", "folder", "link"]

CHUNK_BYTES = 1024 * 1024
"""How much of a file is in memory at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an archive says about one path."""

    name: str
    """Relative, with `/`, without one at the end."""
    kind: Kind
    mode: int
    """Permissions alone."""
    size: int = 0
    modified: float = 0.0
    """Seconds since the epoch."""
    owner: tuple[int, int] | None = None
    """User and group; None if the archive does not say."""
    target: str = ""
    """Where a link points to."""


def entries_of(
    root: str, names: Sequence[str], passed_over: Callable[[str], object] = lambda name: None
) -> Iterator[Entry]:
    """Look at the files to archive, in order; what vanished is left out, sockets, pipes and devices are passed over."""
    for name in names:
        try:
            found = os.lstat(os.path.join(root, name))
            kind = _kind(found.st_mode)
            target = os.readlink(os.path.join(root, name)) if kind == "link" else ""
        except OSError:
            continue
        if kind is None:
            passed_over(name)
        else:
            yield Entry(
                name=name,
                kind=kind,
                mode=stat.S_IMODE(found.st_mode),
                size=found.st_size if kind == "file" else 0,
                modified=found.st_mtime,
                owner=(found.st_uid, found.st_gid),
                target=target,
            )


def read_chunks(root: str, entry: Entry) -> Iterator[bytes]:
    """Read a file to the length it had when it was looked at: one that grows meanwhile must not break the archive."""
    left = entry.size
    with open(os.path.join(root, entry.name), "rb", buffering=0) as file:
        while left and (data := file.read(min(left, CHUNK_BYTES))):
            left -= len(data)
            yield data


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write to a file without a buffer, which may take less than it is given where the disk ends. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _kind(mode: int) -> Kind | None:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else None
