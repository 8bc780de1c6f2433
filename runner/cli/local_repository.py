"""What `runner local` asks git about the repository: its root, its commit, its files. Nothing is changed in it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import click

from runner.pipeline.files import Files
from runner.pipeline.findings import PipelineError
from runner.pipeline.predefined import Checkout

_GIT_TIMEOUT = 60.0
_DETACHED = "detached"
_REMOTE_PATH = re.compile(r"(?:^[a-z+]+://[^/]+/|^[^/:]+:)(?:~?/)?([\w.-]+(?:/[\w.-]+)+?)(?:\.git)?/?$", re.ASCII)


class LocalRepository:
    """The git repository around the working folder.

    Making one raises ClickException with a sentence where there is none, or none with a commit.
    """

    def __init__(self, folder: Path | None = None) -> None:
        found = run_git("rev-parse", "--show-toplevel", folder=folder)
        if found.returncode:
            raise click.ClickException(_no_repository(found.stderr.decode("utf-8", "replace")))
        self.root = Path(os.fsdecode(found.stdout.rstrip(b"\n")))
        if self._ask("rev-parse", "--verify", "HEAD^{commit}") is None:
            raise click.ClickException(
                "The repository has no commit, and jobs see the last commit. Make one with `git commit`."
            )
        self.detached = self._ask("symbolic-ref", "-q", "HEAD") is None

    def checkout(self) -> Checkout:
        """The last commit, for the jobs' variables."""
        shown = self._ask("log", "-1", "--format=%H%x00%an <%ae>%x00%cI%x00%s%x00%B") or ""
        sha, author, committed_at, title, message = (*shown.split("\0"), "", "", "", "")[:5]
        ref = _DETACHED if self.detached else self._ask("symbolic-ref", "--short", "HEAD") or _DETACHED
        return Checkout(
            path=self._project_path(),
            repo_url="",
            ref=ref,
            sha=sha,
            title=title,
            message=message,
            author=author,
            committed_at=committed_at,
            default_branch=self._default_branch(ref),
        )

    def user(self) -> str:
        """Who runs this, as a login name."""
        name = self._ask("config", "user.name") or os.environ.get("USER", "")
        return re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or "local"

    def changes(self) -> int:
        """How many files differ from the last commit, new ones included."""
        return len((self._ask("status", "--porcelain", "--untracked-files=normal") or "").splitlines())

    def files(self) -> Files:
        """The working folder's files for the pipeline itself, the commit's files for its rules."""

        @lru_cache(maxsize=1)
        def committed() -> frozenset[str]:
            return frozenset(self._paths("ls-tree", "-r", "-z", "--name-only", "HEAD"))

        @lru_cache(maxsize=1)
        def names() -> tuple[str, ...]:
            return tuple(self._paths("ls-files", "-z", "--cached", "--others", "--exclude-standard"))

        return Files(read=self._read, names=names, committed=committed)

    def path_of(self, file: str) -> str:
        """A file of the command line as a path from the root: below the working folder, or else below the root."""
        here = Path(file).absolute()
        if here.is_file() and here.resolve().is_relative_to(self.root.resolve()):
            return here.resolve().relative_to(self.root.resolve()).as_posix()
        return file

    def _read(self, path: str) -> str | None:
        # `realpath` gives a path for a circle of links too, and reading that says what it is.
        root = Path(os.path.realpath(self.root))
        file = Path(os.path.realpath(root / path))
        if not file.is_relative_to(root):
            raise PipelineError([f"{path}: the file lies outside of the repository."])
        try:
            return file.read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise PipelineError([f"{path}:{line}: the file is not UTF-8 here."]) from None
        except (OSError, ValueError) as error:
            raise PipelineError([f"{path}:1: the file cannot be read: {error}."]) from None

    def _project_path(self) -> str:
        """`group/project` of the remote, else `local/<folder>`."""
        remote = self._ask("config", "--get", "remote.origin.url") or ""
        found = _REMOTE_PATH.search(remote)
        if found and not any(part.startswith(".") for part in found[1].split("/")):
            return found[1]
        folder = re.sub(r"[^\w.-]+", "-", self.root.name, flags=re.ASCII).strip("-.")
        return f"local/{folder or 'project'}"

    def _default_branch(self, ref: str) -> str:
        remote = self._ask("symbolic-ref", "--short", "-q", "refs/remotes/origin/HEAD")
        if remote:
            return remote.removeprefix("origin/")
        for name in ("main", "master"):
            if self._ask("rev-parse", "--verify", "-q", f"refs/heads/{name}") is not None:
                return name
        return "main" if ref == _DETACHED else ref

    def _paths(self, *arguments: str) -> Iterable[str]:
        return (self._ask(*arguments) or "").split("\0")

    def _ask(self, *arguments: str) -> str | None:
        """What git answers, None when it says no."""
        done = run_git(*arguments, folder=self.root)
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _no_repository(complaint: str) -> str:
    if "not a git repository" in complaint:
        return "This is no git repository, and jobs get their sources from git. Make one with `git init`."
    return f"git cannot read this repository: {complaint.strip().partition(chr(10))[0].removeprefix('fatal: ')}."


def run_git(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Ask git. Raises ClickException when there is no git, or no end of its answer."""
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=_GIT_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise click.ClickException("git is not installed: jobs get their sources from it.") from None
    except subprocess.TimeoutExpired:
        raise click.ClickException(f"`git {arguments[0]}` gives no answer within {_GIT_TIMEOUT:.0f} s.") from None
