"""The helper's command line: flags, exit codes, small commands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner.helper.console import Console, HelperError
from runner.helper.flags import Flag, parse_duration, parse_flags
from tests.helper.commands.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--text", "a"], "text", "a"),
        (["-text=a=b"], "text", "a=b"),
        (["--yes"], "yes", True),
        (["--yes=false"], "yes", False),
        (["--number", "-3"], "number", -3),
        (["--wait", "1h0m0.5s"], "wait", 3600.5),
        ([], "text", "from the environment"),
    ],
)
def test_flags_are_read_as_gos_are(arguments: list[str], name: str, value: object) -> None:
    """One dash or two, a value behind `=` or in the next word, booleans alone."""
    flags = (
        Flag("text", env="TEXT"),
        Flag("yes", "boolean", default=False),
        Flag("number", "number", default=0),
        Flag("wait", "duration", default=0.0),
    )
    given = parse_flags(flags, [*arguments, "--", "rest"], {"TEXT": "from the environment"})
    read = {"text": given.text, "yes": given.boolean, "number": given.number, "wait": given.seconds}
    assert (read[name](name), given.words) == (value, ("rest",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--other"], "flag provided but not defined: -other"),
        (["--number"], "flag needs an argument: -number"),
        (["--number", "many"], "invalid value for flag -number: a number is needed"),
    ],
)
def test_wrong_flags_are_named(arguments: list[str], message: str) -> None:
    """Without the value, which may be a secret at the wrong place."""
    with pytest.raises(HelperError) as raised:
        parse_flags((Flag("number", "number", default=0),), arguments, {})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m30s", 90), ("-1s", -1), ("0", 0), ("5", None), ("", None)]
)
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    """A number needs its unit."""
    assert parse_duration(text) == seconds


def test_lines_are_as_wide_as_the_originals() -> None:
    """Fifty columns, then the fields by name."""
    said: list[str] = []
    console = Console(write=said.append)
    console.warning("short", b=2, a="x")
    assert said == ["\033[0;33mWARNING: short" + " " * 36 + "\033[0;m  \033[0;33ma\033[0;m=x \033[0;33mb\033[0;m=2\n"]


@pytest.mark.parametrize(
    ("form", "line"),
    [("json", '"level": "error", "msg": "it", "a": 1}'), ("text", "level=error msg=it a=1")],
)
def test_records_for_machines(form: str, line: str) -> None:
    """One a line."""
    said: list[str] = []
    Console(form=form, write=said.append).error("it", a=1)
    assert said[0].rstrip().endswith(line)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["unknown"], 1), ([], 1), (["--log-format", "json", "--version"], 0)],
)
def test_exit_codes_of_the_line(run: Run, arguments: list[str], code: int) -> None:
    """The scripts of jobs ask for the version to see whether the helper is there."""
    assert run(*arguments)[0] == code


def test_cache_init_opens_folders(run: Run) -> None:
    """For every user."""
    Path("shared").mkdir(mode=0o700)
    assert run("cache-init", "shared")[0] == 0
    assert Path("shared").stat().st_mode & 0o777 == 0o777
    code, said = run("cache-init", "missing")
    assert (code, "missing: No such file or directory" in said) == (1, True)


def test_a_health_check_ends_when_all_ports_answer(run: Run) -> None:
    """Two listeners of this machine."""
    with socket.create_server(("localhost", 0)) as one, socket.create_server(("localhost", 0)) as two:
        ports = [str(each.getsockname()[1]) for each in (one, two)]
        code, said = run("health-check", "--port", ports[0], "-p", ports[1])
    assert code == 0
    assert f"waiting for TCP connection to localhost on [{ports[0]} {ports[1]}]..." in said
    assert said.count("dial succeeded") == 2


def test_a_health_check_without_a_port_says_what_is_needed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to wait for is a failure."""
    for name in list(os.environ):
        if name.endswith(("_TCP_ADDR", "_TCP_PORT")):
            monkeypatch.delenv(name)
    code, said = run("health-check")
    assert code == 1
    assert "No HOST or PORT found" in said


def test_read_logs_writes_each_line_with_where_it_ends(tmp_path: Path) -> None:
    """And ends with 100 when the file is gone."""
    log = tmp_path / "output.log"
    log.write_bytes(b"one\ntwo\n")
    command = [sys.executable, "-m", "runner.helper", "read-logs", "--path", str(log), "--offset", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"8 two\n"
        with log.open("ab") as file:
            file.write(b"three\n")
        assert process.stdout.readline() == b"14 three\n"
        log.unlink()
        assert process.wait(timeout=20) == 100


def test_commands_load_nothing_but_the_standard_library() -> None:
    """What a pod starts several times a job."""
    commands = "artifacts_uploader, artifacts_downloader, cache_archiver, cache_extractor"
    foreign = "('aiohttp', 'anyio', 'pydantic', 'backports')"
    text = (
        f"import sys; from runner.helper import {commands}\n"
        f"print([name for name in sys.modules if name.partition('.')[0] in {foreign}])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
