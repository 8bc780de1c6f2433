"""What one process is told in several places: a flag wins over a variable, a variable over config.toml."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
import pytest

from tests.cli.commands import CommandLine

pytestmark = pytest.mark.slow

FLAG, VARIABLE, FILE, FORMER = "127.0.0.11:0", "127.0.0.12:0", "127.0.0.13:0", "127.0.0.14:0"


@pytest.mark.parametrize(
    ("told", "address"),
    [
        pytest.param(["flag", "LISTEN_ADDRESS", "file", "METRICS_SERVER"], FLAG, id="flag"),
        pytest.param(["LISTEN_ADDRESS", "file", "METRICS_SERVER"], VARIABLE, id="variable"),
        pytest.param(["file", "METRICS_SERVER"], FILE, id="file"),
        pytest.param(["METRICS_SERVER"], FORMER, id="former-name"),
        pytest.param(["old-file"], FILE, id="former-key"),
    ],
)
async def test_address_of_the_metrics(tmp_path: Path, told: list[str], address: str) -> None:
    """With the names of 2017 last, which are told as former ones."""
    keys = {"file": f'listen_address = "{FILE}"\n', "old-file": f'metrics_server = "{FILE}"\n'}
    text = "".join(keys.get(place, "") for place in told)
    flags = ["--listen-address", FLAG] if "flag" in told else []
    environ = {
        name: value for name, value in (("LISTEN_ADDRESS", VARIABLE), ("METRICS_SERVER", FORMER)) if name in told
    }
    said = await _until(tmp_path, text, "status server listening", *flags, **environ)
    host = address.partition(":")[0]
    assert re.search(rf"address\S*={re.escape(host)}", said), said
    assert ("METRICS_SERVER" in told) == ("deprecated" in said)
    assert ("old-file" in told) == ("former name" in said)


@pytest.mark.parametrize(
    ("flags", "variable", "key", "begin"),
    [
        pytest.param(["--log-format", "json"], "text", "runner", "{", id="flag"),
        pytest.param([], "json", "runner", "{", id="variable"),
        pytest.param([], "", "json", "{", id="file-beside-an-empty-variable"),
        pytest.param(["--log-format", "text"], "json", "json", "time=", id="flag-over-both"),
    ],
)
async def test_form_of_the_log(tmp_path: Path, flags: list[str], variable: str, key: str, *, begin: str) -> None:
    """The first line of the service shows it."""
    said = await _until(tmp_path, f'log_format = "{key}"\n', "starting", *flags, LOG_FORMAT=variable)
    line = next(line for line in said.splitlines() if "starting" in line)
    assert line.startswith(begin)


async def test_configuration_of_the_flag_wins(tmp_path: Path) -> None:
    """Over CONFIG_FILE."""
    other = tmp_path / "other.toml"
    other.write_text("concurrent = 2\n")
    assert str(other) in await _until(tmp_path, "concurrent = 'no'\n", "starting", "--config", str(other))


async def _until(home: Path, text: str, words: str, *flags: str, **environ: str) -> str:
    """What `runner run` says on a configuration without runners, up to the line with some words."""
    runner = CommandLine(home)
    runner.config.write_text(text)
    command = [sys.executable, "-m", "runner", "run", *flags]
    said = b""
    async with await anyio.open_process(
        command, stdout=PIPE, stderr=STDOUT, env=runner.environment(environ), cwd=home
    ) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(60):
                while words.encode() not in said or not said.endswith(b"\n"):
                    said += await process.stdout.receive()
        except anyio.EndOfStream:
            pytest.fail(said.decode())
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(30):
            await process.wait()
    return said.decode()
