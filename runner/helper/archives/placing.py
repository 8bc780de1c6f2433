"""What comes out of an archive, put into its place when all of it is there.

Law: files are written beside the place and moved in at the end, so a broken archive leaves nothing behind, and one that
is interrupted neither. Nothing is written outside the root: no name leads out of it, no folder on the way is a link
that does, and links are made last. A file replaces what stood there, it is never written through it.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from runner.helper.archives.entries import Entry


class ArchiveError(Exception):
    """An archive that cannot be extracted; the message says what is wrong with it and where."""


class Placer:
    """Takes the entries of one archive; `place` moves all of them into the root."""

    def __init__(self, root: str, staging: str) -> None:
        self._root = os.path.realpath(root)
        self._staging = staging
        self._lock = threading.Lock()
        self._staged: dict[str, tuple[Entry, str]] = {}
        self._folders: dict[str, Entry] = {}
        self._links: dict[str, Entry] = {}

    @contextmanager
    def file(self, entry: Entry) -> Iterator[BinaryIO]:
        """Open the file that will be moved to the entry's place; may be called from several threads."""
        name = checked_name(entry.name)
        with self._lock:
            path = os.path.join(self._staging, str(len(self._staged)))
            self._staged[name + "\0" + path] = (entry, path)
        with open(path, "xb", buffering=0) as file:
            yield file

    def add(self, entry: Entry) -> None:
        """Note a folder or a link."""
        name = checked_name(entry.name)
        if name != ".":
            (self._folders if entry.kind == "folder" else self._links)[name] = entry

    def place(self) -> None:
        """Move everything into its place. Raises ArchiveError, before anything is moved, for a name that leads out."""
        names = [key.partition("\0")[0] for key in self._staged]
        parents = sorted({os.path.dirname(name) for name in (*names, *self._links)} | set(self._folders))
        for parent in parents:
            self._check_inside(parent)
        for parent in parents:
            os.makedirs(os.path.join(self._root, parent), mode=0o777, exist_ok=True)
        for entry, path in self._staged.values():
            target = os.path.join(self._root, checked_name(entry.name))
            _dress(path, entry)
            _clear(target)
            os.replace(path, target)
        for name, entry in self._links.items():
            target = os.path.join(self._root, name)
            _clear(target)
            os.symlink(entry.target, target)
            _own(target, entry)
        for name in sorted(self._folders, reverse=True):
            _dress(os.path.join(self._root, name), self._folders[name])

    def _check_inside(self, folder: str) -> None:
        real = os.path.realpath(os.path.join(self._root, folder))
        if real != self._root and not real.startswith(self._root.rstrip("/") + "/"):
            raise ArchiveError(f'"{folder}" is a link that leads out of the directory: nothing was extracted')


@contextmanager
def placing(root: str) -> Iterator[Placer]:
    """Give a placer, and move what it took into the root if the block ends well; whatever happens, clear up.

    The files wait in the runner's own folder beside the project when there is one on the same file system, else in a
    hidden folder of the root.
    """
    beside = root.rstrip("/") + ".tmp"
    with suppress(OSError):
        if os.stat(beside).st_dev != os.stat(root).st_dev:
            beside = root
    parent = beside if os.path.isdir(beside) and os.access(beside, os.W_OK) else root
    staging = tempfile.mkdtemp(prefix=".extracting-", dir=parent)
    try:
        placer = Placer(root, staging)
        yield placer
        placer.place()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def checked_name(name: str) -> str:
    """Give a name without needless parts. Raises ArchiveError for one that is absolute or leads out."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name or not name:
        raise ArchiveError(f'"{name[:200]}" is no path below the directory: nothing was extracted')
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def check_room(root: str, needed: int) -> None:
    """Raise ArchiveError if the disk has less room than an archive says it needs."""
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        raise ArchiveError(
            f"the archive holds {needed // 2**20} MiB, but only {free // 2**20} MiB are free in {root}: "
            "nothing was extracted"
        )


def _clear(target: str) -> None:
    """Make way for a file or link. A folder that is not empty stays, and is an error."""
    try:
        os.unlink(target)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(target)
        except OSError as error:
            raise ArchiveError(f'"{target}" is a folder here and a file in the archive') from error


def _dress(path: str, entry: Entry) -> None:
    _own(path, entry)
    os.chmod(path, entry.mode & 0o1777 if entry.mode else (0o777 if entry.kind == "folder" else 0o666))
    if entry.modified:
        os.utime(path, (entry.modified, entry.modified))


def _own(path: str, entry: Entry) -> None:
    """Give a path to whom the archive says, which only root may do."""
    if entry.owner is not None and os.geteuid() == 0:
        with suppress(OSError):
            os.lchown(path, *entry.owner)
