"""Two calls of Linux that the standard library lacks: inotify and punching holes.

Both are help, not need: where the kernel, the sandbox or the C library has none, the answer is None or False and the
caller polls or keeps the bytes.
"""

import ctypes
import os

IN_MODIFY = 0x2
IN_FILES = 0x8 | 0x80 | 0x100
"""Files written whole, renamed in, created."""

_PUNCH_HOLE_KEEP_SIZE = 0x1 | 0x2
_EVENT_BYTES = 1 << 16


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


_LIBC = _library()


def watch(path: str, mask: int) -> int | None:
    """Open an inotify descriptor that is readable when this happens to `path`; None where the kernel has none."""
    if _LIBC is None or not hasattr(_LIBC, "inotify_init1"):
        return None
    fd = int(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        return None
    if _LIBC.inotify_add_watch(fd, os.fsencode(path), mask) < 0:
        os.close(fd)
        return None
    return fd


def drain(fd: int) -> None:
    """Throw away the waiting events: what happened is looked up in the files."""
    try:
        while len(os.read(fd, _EVENT_BYTES)) > _EVENT_BYTES // 2:
            pass
    except BlockingIOError:
        pass


def punch_hole(fd: int, start: int, size: int) -> bool:
    """Free the blocks of a range, which reads as zeros from then on. False when the file system cannot."""
    if _LIBC is None or not hasattr(_LIBC, "fallocate"):
        return False
    offsets = ctypes.c_int64(start), ctypes.c_int64(size)
    return int(_LIBC.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, *offsets)) == 0
