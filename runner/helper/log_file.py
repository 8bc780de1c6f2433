"""`output.log`: the raw bytes of all stages, as the agent reads them.

Law: the agent never writes into it. Its size never shrinks for us: a job that cuts or removes the file gets the missing
bytes back as zeros, with a word of trouble, because a result whose bytes never come would hang the job.
"""

import os
from collections.abc import Callable

from runner.helper.kernel import punch_hole

READ_BYTES = 1 << 16
_PUNCH_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 16
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class LogFile:
    """Size, bytes, and what may be forgotten of the log."""

    def __init__(self, path: str, *, keep_bytes: int | None, trouble: Callable[[str], None]) -> None:
        self._path = path
        self._trouble = trouble
        self._forgotten = None if keep_bytes is None else -(-keep_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
        self._fd = self._open()

    def size(self, known: int) -> int:
        """Give the log's size, at least `known`: what was there once stays there."""
        found = os.fstat(self._fd)
        if found.st_nlink and found.st_size >= known:
            return found.st_size
        if not found.st_nlink:
            os.close(self._fd)
            self._fd = self._open()
            found = os.fstat(self._fd)
        if found.st_size < known:
            os.ftruncate(self._fd, known)
        self._trouble("output.log was cut or removed; what was lost reads as zeros")
        return max(known, found.st_size)

    def read(self, offset: int, size: int) -> bytes:
        """Read at most `size` and at most 64 KiB from `offset`."""
        return os.pread(self._fd, min(size, READ_BYTES), offset)

    def forget(self, before: int) -> None:
        """Give the disk space of bytes before `before` back, but for the kept beginning of the log."""
        if self._forgotten is None or before - self._forgotten < _PUNCH_BYTES:
            return
        end = before // _BLOCK_BYTES * _BLOCK_BYTES
        if punch_hole(self._fd, self._forgotten, end - self._forgotten):
            self._forgotten = end
        else:
            self._forgotten = None  # this file system cannot, so do not ask at every acknowledgement

    def _open(self) -> int:
        return os.open(self._path, _OPEN_FLAGS, 0o666)
