"""config.toml as a file that several processes edit: one after the other, each change whole or not at all.

Law: a reader sees the file before an edit or after it, never between; mode and owner stay, a link stays a link. Where
a file cannot be replaced so (it is a mount of its own, its folder is closed, its owner is another), it is written in
place, which a crash could cut short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK_TIMEOUT = 30.0
_LOCK_POLL_INTERVAL = 0.02
_NOT_LOCKABLE = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_NOT_REPLACEABLE = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}


class ConfigFileError(Exception):
    """config.toml cannot be read or written; the message is a sentence that names it."""


def read_text(path: Path) -> str:
    """The text of a configuration; empty when there is none. Raises `ConfigFileError`."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigFileError(f"{path} cannot be read: {_reason(error)}.") from None
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path} is not UTF-8 at byte {error.start}; TOML files are.") from None


def edit_file(path: Path, edit: Callable[[str], str], *, lock_timeout: float = LOCK_TIMEOUT) -> str:
    """Replace the text of a configuration by what `edit` makes of it; returns the new text.

    `edit` gets the text as it is once the lock is held, so an edit of another process in the meantime is not lost; it
    may raise, and nothing changes. The file and its folder are made when they are missing. Blocks, at most for
    `lock_timeout` seconds. Raises `ConfigFileError`.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target.parent, lock_timeout):
            text = read_text(target)
            edited = edit(text)
            if edited != text or not target.exists():
                _write(target, edited.encode())
    except OSError as error:
        raise ConfigFileError(f"{path} cannot be written: {_reason(error)}.") from None
    return edited


def check_writable(path: Path) -> None:
    """Raise `ConfigFileError` when an edit will not be possible, as far as that can be told before."""
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            raise ConfigFileError(f"{path} is no file.")
        possible = os.access(target, os.W_OK)
    else:
        folder = next(folder for folder in target.parents if folder.exists())
        possible = os.access(folder, os.W_OK | os.X_OK) and folder.is_dir()
    if not possible:
        raise ConfigFileError(f"{path} cannot be written: permission denied or read-only.")


@contextlib.contextmanager
def _locked(folder: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a folder: unlike one on the file, it outlives the file's replacement and leaves no litter."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise ConfigFileError(f"Another process has been editing in {folder} for {timeout:.0f} s: try again.")
            time.sleep(_LOCK_POLL_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks for folders: an edit without one is better than none.
        if error.errno not in _NOT_LOCKABLE:
            raise
    return True


def _write(target: Path, data: bytes) -> None:
    try:
        _replace(target, data)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE or not target.exists():
            raise
        with target.open("r+b") as file:
            file.write(data)
            file.truncate()
            os.fsync(file.fileno())


def _replace(target: Path, data: bytes) -> None:
    """Write beside the file and put that in its place, durably."""
    known = target.stat() if target.exists() else None
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            if known is not None:
                if (known.st_uid, known.st_gid) != (os.geteuid(), os.fstat(descriptor).st_gid):
                    os.fchown(descriptor, known.st_uid, known.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(known.st_mode))
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # not every file system has it, and the file itself is safe
            os.fsync(folder)
    finally:
        os.close(folder)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
