"""The system id: the original's file and form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.manager.system_id import system_id


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, ...]:
    """A machine's id."""
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    return (tmp_path / "missing", path)


def test_system_id_when_the_machine_has_an_id(tmp_path: Path, machine: tuple[Path, ...]) -> None:
    """Twelve characters of the HMAC-SHA256 of `gitlab-runner`, keyed with the machine's id; kept in a file."""
    assert system_id(tmp_path, machine_ids=machine) == "s_ee3af03959fe"
    assert (tmp_path / ".runner_system_id").read_text() == "s_ee3af03959fe"


def test_system_id_when_the_machine_has_none(tmp_path: Path) -> None:
    """A random one, the same at the next start."""
    made = system_id(tmp_path, machine_ids=())
    assert re.fullmatch(r"r_[0-9a-zA-Z]{12}", made)
    assert system_id(tmp_path, machine_ids=()) == made


@pytest.mark.parametrize("kept", ["r_abcdefghijkl", "s_012345678901\n"])
def test_system_id_when_the_file_is_good(tmp_path: Path, machine: tuple[Path, ...], kept: str) -> None:
    """What stands in the file is taken."""
    (tmp_path / ".runner_system_id").write_text(kept)
    assert system_id(tmp_path, machine_ids=machine) == kept.strip()


@pytest.mark.parametrize("broken", ["", "x_abcdefghijkl", "r_short", "r_abcdefghijklm", "r_abcdefghij-l"])
def test_system_id_when_the_file_is_broken(tmp_path: Path, machine: tuple[Path, ...], broken: str) -> None:
    """A file of another form is written anew."""
    (tmp_path / ".runner_system_id").write_text(broken)
    assert system_id(tmp_path, machine_ids=machine) == "s_ee3af03959fe"


def test_system_id_when_the_folder_cannot_be_written(machine: tuple[Path, ...], tmp_path: Path) -> None:
    """A place that takes no file costs only a warning."""
    assert system_id(tmp_path / "not there", machine_ids=machine) == "s_ee3af03959fe"
