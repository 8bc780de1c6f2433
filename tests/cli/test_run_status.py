"""Where `runner run` listens: flag, environment, configuration, and what becomes of an address that is none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import aiohttp
import anyio
import pytest
from anyio.abc import Process

pytestmark = pytest.mark.slow

RUNNER = '[[runners]]\n  name = "r"\n  url = "http://127.0.0.1:9"\n  token = "glrt-Ab3dEfGh1JkLmNoPqRsT"\n'


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@asynccontextmanager
async def running(
    folder: Path, *flags: str, config: str = "", environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """A `runner run` of a runner whose GitLab is not there."""
    file = folder / "config.toml"
    file.write_text(config + RUNNER)
    command = [sys.executable, "-m", "runner", "run", "--config", str(file), *flags]
    process = await anyio.open_process(command, stdout=PIPE, stderr=STDOUT, env={**os.environ, **(environ or {})})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def printed(process: Process, words: str) -> str:
    """What the process prints until some words come."""
    assert process.stdout is not None
    seen = b""
    with anyio.fail_after(30):
        while words.encode() not in seen:
            seen += await process.stdout.receive()
    return seen.decode()


async def test_address_when_each_place_names_one(tmp_path: Path) -> None:
    """The flag goes before the environment, that before config.toml, and the former names come last, with a word."""
    flag, variable, file, former = (f"127.0.0.1:{free_port()}" for _ in range(4))
    config = f'listen_address = "{file}"\n'
    environ = {"LISTEN_ADDRESS": variable, "METRICS_SERVER": former}
    flags = ("--listen-address", flag)
    listening = "status server listening"
    async with running(tmp_path, *flags, config=config, environ=environ) as process:
        seen = await printed(process, "taking jobs")
        assert f"address\x1b[0;m={flag}" in seen
        assert "METRICS_SERVER are deprecated" in seen
        async with aiohttp.ClientSession() as session, session.get(f"http://{flag}/metrics") as answer:
            text = await answer.text()
        assert 'gitlab_runner_errors_total{level="warning"}' in text
        assert "gitlab_runner_configuration_loaded_total 1.0" in text
    async with running(tmp_path, config=config, environ=environ) as process:
        assert f"address\x1b[0;m={variable}" in await printed(process, "taking jobs")
    async with running(tmp_path, config=config, environ={"METRICS_SERVER": former}) as process:
        assert f"address\x1b[0;m={file}" in await printed(process, "taking jobs")
    async with running(tmp_path, "--metrics-server", former) as process:
        assert f"address\x1b[0;m={former}" in await printed(process, "taking jobs")
    async with running(tmp_path) as process:
        assert listening not in await printed(process, "taking jobs")


async def test_address_when_it_is_taken(tmp_path: Path) -> None:
    """The process ends with one sentence, before a job is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running(tmp_path, "--listen-address", address) as process:
            seen = await printed(process, "already in use")
            with anyio.fail_after(20):
                assert await process.wait() == 1
    assert f"The status server cannot listen at {address}: address already in use." in seen
    assert "Traceback" not in seen
    assert "taking jobs" not in seen


async def test_address_when_it_is_none(tmp_path: Path) -> None:
    """An error in the log, and jobs are taken all the same."""
    async with running(tmp_path, config='listen_address = "nowhere:at:all"\n') as process:
        seen = await printed(process, "taking jobs")
    assert "there is no status server" in seen
    assert "'nowhere:at:all' is no address to listen at: write host:port, such as :9252." in seen


def test_help_loads_neither_metrics_nor_a_web_server() -> None:
    """Whoever asks for help waits for neither."""
    command = [sys.executable, "-X", "importtime", "-m", "runner", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--listen-address" in done.stdout
    assert "prometheus_client" not in done.stderr
    assert "aiohttp" not in done.stderr
