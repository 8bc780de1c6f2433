"""Which files an archive takes: `paths:`, `exclude:` and `untracked:` below the working directory.

Law: what lies outside the working directory is never taken, and said so; a file that vanished is passed over. Links,
folders and files are taken as what they are; what they point to is not followed.
"""

import os
import posixpath
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.helper.archives.expansion import ExpansionError, expand
from runner.helper.archives.globs import find, matches
from runner.helper.console import Console

GIT_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Selection:
    """What a job asks for, as it is written."""

    paths: Sequence[str] = ()
    excludes: Sequence[str] = ()
    untracked: bool = False


@dataclass(slots=True)
class _Taken:
    names: dict[str, None] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)


def enumerate_files(
    selection: Selection, *, root: str, console: Console, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Give the paths to archive, relative to the root, sorted; tells what each pattern found."""
    taken = _Taken()
    excludes = [_relative(root, each) or each for each in expanded(selection.excludes, environ, console)]
    for path in expanded(selection.paths, environ, console):
        _take_path(path, root, excludes, taken, console)
    if selection.untracked:
        _take_untracked(root, excludes, taken, console)
    for pattern, count in taken.excluded.items():
        console.info(f"{pattern}: excluded {count} files")
    return tuple(sorted(taken.names))


def expanded(texts: Sequence[str], environ: Mapping[str, str], console: Console) -> list[str]:
    """Put the environment into texts of the job; one that cannot be expanded stays as it is, with a warning."""
    found = []
    for text in texts:
        try:
            found.append(expand(text, environ))
        except ExpansionError as error:
            console.warning(f"{text}: used as it is, {error}")
            found.append(text)
    return found


def _take_path(path: str, root: str, excludes: list[str], taken: _Taken, console: Console) -> None:
    pattern = _relative(root, path)
    if pattern is None:
        console.warning(f"processPath: artifact path is not a subpath of project directory: {path}")
        return
    count = 0
    for match in find(root, pattern):
        for name in _walk(root, match, console):
            count += _take(name, excludes, taken)
    if count:
        console.info(f"{path}: found {count} matching artifact files and directories")
    else:
        console.warning(
            f"{path}: no matching files. Ensure that the artifact path is relative to the working directory ({root})"
        )


def _take_untracked(root: str, excludes: list[str], taken: _Taken, console: Console) -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-o", "-z"], cwd=root, capture_output=True, timeout=GIT_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        console.warning(f"untracked: git cannot list them: {os.fsdecode(said).strip() or type(error).__name__}")
        return
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    count = sum(_take(name, excludes, taken) for name in names)
    if count:
        console.info(f"untracked: found {count} files")
    else:
        console.warning("untracked: no files")


def _take(name: str, excludes: list[str], taken: _Taken) -> int:
    """Take a path unless it is excluded or taken; 1 if it is one more match, as the log counts them."""
    for pattern in excludes:
        if matches(pattern, name):
            taken.excluded[pattern] = taken.excluded.get(pattern, 0) + 1
            return 0
    taken.names[name] = None
    return 1


def _walk(root: str, match: str, console: Console) -> Iterator[str]:
    """The match, and everything below it when it is a folder."""
    full = posixpath.join(root, match)
    if not os.path.lexists(full):
        return
    if match != ".":
        yield match
    if not os.path.isdir(full) or os.path.islink(full):
        return
    prefix = len(root.rstrip("/")) + 1

    def tell(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            console.warning(f"{str(error.filename)[prefix:]}: its files are passed over: {error.strerror}")

    for folder, folders, files in os.walk(full, onerror=tell):
        folders.sort()
        yield from (f"{folder}/{name}"[prefix:].removeprefix("./") for name in (*folders, *sorted(files)))


def _relative(root: str, path: str) -> str | None:
    """The path from the root, cleaned; None outside of it."""
    relative = posixpath.relpath(posixpath.join(root, path), root)
    if relative != ".." and not relative.startswith("../"):
        return relative
    # The root may be named in another way, through a link.
    real = posixpath.relpath(posixpath.join(root, path), os.path.realpath(root))
    return None if real == ".." or real.startswith("../") else real
