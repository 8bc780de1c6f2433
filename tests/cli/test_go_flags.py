"""Flags in the original's syntax."""

from __future__ import annotations

import click
import pytest

from runner.cli.go_flags import FlagError, GoCommand, bool_flag


def parsed(*words: str) -> dict[str, object]:
    """What a command with one flag of each kind is told."""

    @click.command(cls=GoCommand)
    @click.option("-n", "--name", default="")
    @click.option("--many", multiple=True)
    @bool_flag("-y", "--yes", help="")
    def command(**values: object) -> dict[str, object]:
        return values

    result = command.main(args=list(words), standalone_mode=False)
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param([], {"name": "", "many": (), "yes": None}, id="nothing"),
        pytest.param(["--name", "a", "-y"], {"name": "a", "many": (), "yes": True}, id="apart"),
        pytest.param(["--name=a=b", "--yes=false"], {"name": "a=b", "many": (), "yes": False}, id="with-equals"),
        pytest.param(["-name", "a", "-yes=0"], {"name": "a", "many": (), "yes": False}, id="one-dash"),
        pytest.param(["--many", "a", "--many=b"], {"name": "", "many": ("a", "b"), "yes": None}, id="many"),
        pytest.param(["--name", "--yes"], {"name": "--yes", "many": (), "yes": None}, id="value-like-a-flag"),
        pytest.param(["-n", "-5"], {"name": "-5", "many": (), "yes": None}, id="short-with-a-dash"),
        pytest.param(["-n=a"], {"name": "a", "many": (), "yes": None}, id="short-with-equals"),
    ],
)
def test_flags_are_read_as_the_original_does(words: list[str], told: dict[str, object]) -> None:
    """Two dashes or one, apart or with `=`."""
    assert parsed(*words) == told


def test_wrong_value_is_told_with_its_flag() -> None:
    """Of ten flags it could be any."""
    with pytest.raises(FlagError, match=r"'--yes'.*neither true nor false"):
        parsed("--yes=maybe")


def test_word_behind_a_flag_of_true_or_false_is_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and the flags behind it count."""
    assert parsed("--yes", "false", "--name", "a") == {"name": "a", "many": (), "yes": True}
    assert "Ignored, for they are no flags: false" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--nme", "a"], ["--name"], ["--yes=maybe"], ["-x"]])
def test_wrong_flag_ends_with_1(words: list[str]) -> None:
    """Unknown, without its value, or with a wrong one."""
    with pytest.raises(FlagError) as caught:
        parsed(*words)
    assert caught.value.exit_code == 1
