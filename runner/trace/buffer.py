"""What GitLab is to have of a job's log: every byte that was or will be sent, and no more than the limit.

Law: bytes are stored as they came and stay as they are (docs/decisions/002-log-bytes-are-exact.md); size and checksum
are those of exactly these bytes. Where the log is cut depends on its bytes alone, not on the pieces in which it was
written, so a log that is made again is cut at the same place.
"""

import zlib
from typing import Protocol

from runner.trace.timestamps import whole_characters

DEFAULT_LIMIT_BYTES = 4 << 20
"""GitLab Runner's limit where `output_limit` is not set."""

_YELLOW, _RESET = b"\x1b[33;1m", b"\x1b[0;m"
_CHARACTER_BYTES = 4


class Storage(Protocol):
    """The part of a binary file that a buffer needs. Whoever opened it closes it."""

    def seek(self, offset: int, /) -> object:
        """Go to a place."""

    def read(self, size: int, /) -> bytes:
        """Give the bytes at this place."""

    def write(self, data: bytes, /) -> object:
        """Put all these bytes at this place."""


class TraceBuffer:
    """A job's log in a file, up to its limit."""

    def __init__(self, file: Storage, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        """Store in `file`, which is empty and used by nobody else. A limit of 0 or less means the default."""
        self._file = file
        self._limit = limit_bytes if limit_bytes > 0 else DEFAULT_LIMIT_BYTES
        self._size = 0
        self._crc = 0
        self._held = b""
        self._full = False

    @property
    def size(self) -> int:
        """How many bytes are stored, with the notice about the limit: `output.bytesize`."""
        return self._size

    @property
    def checksum(self) -> str:
        """The checksum of what is stored, as GitLab wants it."""
        return f"crc32:{self._crc:08x}"

    @property
    def full(self) -> bool:
        """The limit has been reached and what is written now is thrown away."""
        return self._full

    def write(self, data: bytes) -> None:
        """Append; what reaches the limit (an exact fit does) is cut there, with a notice, and all later bytes are
        dropped.

        The cut never lies within a UTF-8 character: just before the limit a character's first bytes wait for its last.
        """
        if self._full or not data:
            return
        data, self._held = self._held + data, b""
        room = self._limit - self._size
        if len(data) >= room:
            self._full = True
            self._store(data[: whole_characters(data, room)] + self._notice())
        elif len(data) > room - _CHARACTER_BYTES:
            end = whole_characters(data, len(data))
            self._held = data[end:]
            self._store(data[:end])
        else:
            self._store(data)

    def write_final(self, data: bytes) -> None:
        """Append the log's last lines, whatever the limit: how a job ended is the one thing that everybody looks for.

        GitLab Runner drops them too; GitLab itself has room, its own limit being far above ours.
        """
        data, self._held = self._held + data, b""
        self._store(data)

    def read(self, offset: int, size: int) -> bytes:
        """Give up to `size` stored bytes from `offset` on."""
        self._file.seek(offset)
        return self._file.read(max(0, min(size, self._size - offset)))

    def _store(self, data: bytes) -> None:
        self._file.seek(self._size)
        self._file.write(data)
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def _notice(self) -> bytes:
        first = b"Job's log exceeded limit of %d bytes.\n" % self._limit
        return b"\n" + _YELLOW + first + b"The job goes on, but no more of its output is kept." + _RESET + b"\n"
