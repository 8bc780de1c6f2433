"""Commands that the original has and this program answers in another way, and the helper's names without `helper`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import runner
from runner.__main__ import HELPER_COMMANDS
from runner.__main__ import main as program
from runner.cli.command_word import command_word
from runner.cli.main import GONE, SERVICE_COMMANDS, main
from runner.cli.service import is_running
from runner.helper.__main__ import COMMANDS as OF_THE_HELPER


@pytest.mark.parametrize("name", [name for name in SERVICE_COMMANDS if name != "status"])
def test_service_command_says_what_to_do_instead(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the original's flags, on stderr, and 1."""
    assert main([name, "-n", "ci", "--user-service"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ci: `{name}` is not done here")
    assert "systemd" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "running"),
    [
        pytest.param(["/opt/runner/bin/python3", "/usr/bin/gitlab-runner", "run", "-n", "x"], True, id="image"),
        pytest.param(["python3", "-m", "runner", "--log-level", "debug", "run"], True, id="module"),
        pytest.param(["gitlab-ci-multi-runner", "--debug", "run"], True, id="old-name"),
        pytest.param(["python3", "/usr/bin/gitlab-runner", "unregister", "-n", "run"], False, id="another-command"),
        pytest.param(["bash", "run"], False, id="another-program"),
        pytest.param([""], False, id="kernel"),
    ],
)
def test_status_looks_for_the_process(tmp_path: Path, line: list[str], running: bool) -> None:
    """By its words, under each of its names."""
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cmdline").write_text("\0".join(line) + "\0")
    (tmp_path / "13").mkdir()
    (tmp_path / "self").mkdir()
    assert is_running(tmp_path) is running


def test_nothing_runs_where_processes_cannot_be_listed(tmp_path: Path) -> None:
    """No /proc is no error."""
    assert not is_running(tmp_path / "none")


@pytest.mark.parametrize("name", GONE)
def test_command_that_is_gone_names_what_is_instead(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As one that never was it ends with 1."""
    assert main([name, "docker", "job"]) == 1
    assert f"There is no command {name!r} here: {GONE[name]}." in capsys.readouterr().err


@pytest.mark.parametrize("words", [["help", "register"], ["h", "register"], ["register", "-h"]])
def test_help_is_a_command_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of the command that is named behind it."""
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("Usage: runner register")


@pytest.mark.parametrize("words", [["version"], ["-v"], ["--version"]])
def test_version_is_told_in_the_originals_rows(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A script takes the second word of the first line."""
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Version",
        "Git revision",
        "Git branch",
        "Python version",
        "OS/Arch",
    ]
    assert lines[0].split()[1] == runner.__version__


@pytest.mark.parametrize("words", [["--log-level", "loud", "list"], ["--log-format=xml", "list"]])
def test_level_or_format_that_is_none_ends_with_1(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before the command does anything."""
    assert main(words) == 1
    assert "takes one of" in capsys.readouterr().err


def test_lint_is_the_check_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for anything but notes, and no system id is left beside the file."""
    config = tmp_path / "config.toml"
    config.write_text("concurrent = 2\n")
    assert main(["lint", "-c", str(config)]) in {0, 1}
    config.write_text("concurrent = 'two'\n")
    assert main(["lint", "--config", str(config)]) == 1
    assert "Input should be an integer" in capsys.readouterr().out
    assert main(["lint", "-c", str(tmp_path / "none.toml")]) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param(["cache-init", "/cache"], "cache-init", id="first"),
        pytest.param(["--debug", "--log-format=json", "list"], "list", id="options"),
        pytest.param(["-l", "cache-init", "list"], "list", id="value-like-a-command"),
        pytest.param(["-log-level", "debug", "list"], "list", id="one-dash"),
        pytest.param(["register", "--name", "cache-init"], "register", id="flags-behind"),
        pytest.param(["--version"], "", id="option-alone"),
    ],
)
def test_command_word_is_found_behind_options(arguments: list[str], word: str) -> None:
    """The original takes options before its command."""
    assert command_word(arguments) == word


def test_names_are_the_helpers() -> None:
    """`agent` is ours alone, and `health-check` answers on both sides."""
    assert {*HELPER_COMMANDS, "agent", "health-check"} == set(OF_THE_HELPER)


@pytest.mark.parametrize("name", HELPER_COMMANDS)
def test_helper_command_answers_without_helper(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in the original's one program: each says which of its flags is missing or wrong."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gitlab-runner", "--log-level", "info", name, "--no-such-flag"])
    assert program() == 1
    assert "no-such-flag" in capfd.readouterr().err


def test_program_called_as_the_helper_is_the_helper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name alone."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gitlab-runner-helper", "--help"])
    assert program() == 0
    assert capsys.readouterr().out.startswith("usage: gitlab-runner-helper")
