"""Which files an archive takes."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.helper.archives.enumeration import Selection, enumerate_files
from runner.helper.console import Console

Take = Callable[..., tuple[tuple[str, ...], str]]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Enumerate below a small tree and give what was taken and what was said."""
    root = tmp_path / "project"
    for name in ("a.txt", "dist/app", "dist/sub/lib", "dist/sub/lib.map"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    os.symlink("app", root / "dist/link")
    os.mkfifo(root / "dist/pipe")

    def run(*paths: str, **selection: object) -> tuple[tuple[str, ...], str]:
        said: list[str] = []
        chosen = Selection(paths, **selection)  # type: ignore[arg-type]
        names = enumerate_files(chosen, root=str(root), console=Console(write=said.append), environ={"OUT": "dist"})
        return names, "".join(said)

    return run


def test_a_folder_is_taken_with_everything_below(take: Take) -> None:
    """Folders count too, as the original counts them."""
    names, said = take("dist")
    assert names == ("dist", "dist/app", "dist/link", "dist/pipe", "dist/sub", "dist/sub/lib", "dist/sub/lib.map")
    assert "dist: found 7 matching artifact files and directories" in said


def test_an_exclude_drops_entries_and_not_what_is_below_a_folder(take: Take) -> None:
    """`/**` takes what is below."""
    assert take("dist/sub", excludes=("dist/sub",))[0] == ("dist/sub/lib", "dist/sub/lib.map")
    names, said = take("dist/sub", excludes=("**/*.map",))
    assert names == ("dist/sub", "dist/sub/lib")
    assert "**/*.map: excluded 1 files" in said


def test_what_is_not_there_and_what_is_outside_is_told(take: Take) -> None:
    """Neither ends the command."""
    names, said = take("nothing", "../other", "/etc/passwd")
    assert names == ()
    assert "WARNING: nothing: no matching files. Ensure that the artifact path is relative to the working dir" in said
    assert said.count("processPath: artifact path is not a subpath of project directory: ") == 2


def test_parameters_are_expanded_and_commands_are_not(take: Take) -> None:
    """A path with a command is used as it is, and finds nothing."""
    assert take("$OUT/app")[0] == ("dist/app",)
    names, said = take("$(echo dist)")
    assert (names, "command substitution is not supported" in said) == ((), True)


def test_an_absolute_path_inside_the_directory_is_taken(take: Take, tmp_path: Path) -> None:
    """Jobs write `$CI_PROJECT_DIR/dist`."""
    assert take(f"{tmp_path}/project/a.txt")[0] == ("a.txt",)


def test_untracked_files_are_those_that_git_does_not_know(take: Take, tmp_path: Path) -> None:
    """Ignored ones too."""
    root = tmp_path / "project"
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / ".gitignore").write_text("dist\n")
    subprocess.run(["git", "-C", root, "add", "a.txt"], check=True)
    names, said = take(untracked=True)
    assert names == (".gitignore", "dist/app", "dist/link", "dist/sub/lib", "dist/sub/lib.map")
    assert "untracked: found 5 files" in said


def test_untracked_without_a_repository_says_so(take: Take) -> None:
    """Git's own words."""
    names, said = take(untracked=True)
    assert names == ()
    assert "untracked: git cannot list them" in said


def test_a_folder_that_cannot_be_read_is_told(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds is lost, so the log says so."""
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    (tmp_path / "project" / "out" / "closed").mkdir(parents=True)
    monkeypatch.setattr(os, "scandir", scandir)
    names, said = take("out")
    assert names == ("out", "out/closed")
    assert "WARNING: out/closed: its files are passed over: Permission denied" in said
