"""What Linux lets programs have of a job's variables."""

from __future__ import annotations

import os
import subprocess

import pytest

from runner.job.room import LONGEST_BYTES, exported_bytes, is_too_long, room_warnings
from runner.job.variables import Variable, Variables

LONG = "x" * LONGEST_BYTES


def test_the_longest_variable_is_the_kernels() -> None:
    """One byte more, and no program starts."""
    value = "x" * (LONGEST_BYTES - len("BIG=") - 1)
    assert not is_too_long("BIG", value)
    subprocess.run(["true"], env={**os.environ, "BIG": value}, check=True)
    assert is_too_long("BIG", f"{value}x")
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["true"], env={**os.environ, "BIG": f"{value}x"}, check=True)


def test_what_programs_get_is_counted_once_and_without_what_is_too_long() -> None:
    """In bytes, each with a pointer to it; a file variable counts by its path."""
    variables = Variables(
        (
            Variable("RUNNER_TEMP_PROJECT_DIR", "/t"),
            Variable("A", "overridden"),
            Variable("A", "äö"),
            Variable("LONG", LONG),
            Variable("FILE", LONG, file=True),
        )
    )
    assert exported_bytes(variables) == len("RUNNER_TEMP_PROJECT_DIR=/t") + len("A=....") + len("FILE=/t/FILE") + 3 * 9


def test_nothing_is_said_of_ordinary_variables() -> None:
    """Nor of a file variable of any size."""
    assert room_warnings(Variables((Variable("A", "a"), Variable("FILE", LONG * 50, file=True)))) == ()


def test_what_programs_cannot_have_is_told() -> None:
    """By name, not by value."""
    long = [Variable(f"LONG{number}", LONG) for number in range(7)]
    many = [Variable(f"MANY{number}", "x" * 120_000) for number in range(60)]
    assert room_warnings(Variables((*long, *many))) == (
        "Linux gives programs no variable of more than 128 KiB. The script can use LONG0, LONG1, LONG2, LONG3, LONG4 "
        "and 2 more, the commands that it calls cannot: let a file variable have such a value.",
        "The job's variables have 6.9 MiB together, and Linux gives programs less than 6 MiB: commands may fail with "
        "`Argument list too long`. Let file variables have the large values.",
    )
