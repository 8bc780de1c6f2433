"""`runner run` as a process: configuration, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
import pytest
from anyio.abc import Process

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import Fate, Script, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

pytestmark = pytest.mark.slow

CONFIG = """\
concurrent = {concurrent}
check_interval = 1
shutdown_timeout = {shutdown_timeout}
[[runners]]
  name = "test"
  url = "{url}"
  token = "{token}"
  executor = "kubernetes"
  [runners.kubernetes]
    image = "busybox"
"""


async def run_to_end(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command and give its exit code and all it printed."""
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [sys.executable, "-m", "runner", *arguments],
            check=False,
            stdout=PIPE,
            stderr=STDOUT,
            env={**os.environ, **environment},
        )
    return done.returncode, done.stdout.decode()


def write_config(
    folder: Path, gitlab: GitLabServer, *, concurrent: object = 2, token: str = "", shutdown_timeout: int = 10
) -> None:
    """Write config.toml in place, as an editor might."""
    values = {"url": gitlab.url, "token": token or gitlab.token, "shutdown_timeout": shutdown_timeout}
    (folder / "config.toml").write_text(CONFIG.format(concurrent=json.dumps(concurrent), **values))


@asynccontextmanager
async def serving(
    folder: Path,
    gitlab: GitLabServer,
    cluster: KubernetesServer,
    *flags: str,
    written: bool = True,
    shutdown_timeout: int = 10,
) -> AsyncIterator[Process]:
    """A `runner run` between the two servers; unless it is `written`, its configuration is not there yet."""
    config = folder / "config.toml"
    if written:
        write_config(folder, gitlab, shutdown_timeout=shutdown_timeout)
    kubeconfig = cluster.kubeconfig(folder / "kubeconfig")
    command = [sys.executable, "-m", "runner", "run", "--config", str(config), "--kubeconfig", str(kubeconfig), *flags]
    process = await anyio.open_process(command, stdout=PIPE, stderr=STDOUT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def printed(process: Process, words: bytes) -> None:
    """Wait until the process has printed some words."""
    assert process.stdout is not None
    seen = b""
    with anyio.fail_after(30):
        while words not in seen:
            seen += await process.stdout.receive()


async def exit_code(process: Process) -> int:
    """Wait for the process to leave by itself."""
    with anyio.fail_after(30):
        return await process.wait()


async def test_run_names_what_is_wrong_in_the_configuration(tmp_path: Path) -> None:
    """Each error has file, line, key and reason; the process leaves with 1 and without a traceback."""
    file = tmp_path / "config.toml"
    file.write_text(
        'concurrent = "ten"\n[[runners]]\nurl = "http://x"\ntoken = "t"\nexecutor = "kubernetes"\nlimt = 3\n'
    )
    code, text = await run_to_end("run", "--config", str(file))
    assert code == 1
    assert f"error: {file}:1: concurrent: Input should be an integer" in text
    assert f"warning: {file}:6: runners.0.limt: the key is unknown and ignored; did you mean limit?" in text
    assert "Traceback" not in text


async def test_run_says_that_the_kubeconfig_is_missing(tmp_path: Path) -> None:
    """A name that is misspelled would fail every job otherwise."""
    (tmp_path / "config.toml").write_text("concurrent = 1\n")
    code, text = await run_to_end("run", "--config", str(tmp_path / "config.toml"), "--kubeconfig", "kubeconf")
    assert (code, text) == (1, "Error: kubeconf is not there. Name a kubeconfig with --kubeconfig.\n")


@pytest.mark.parametrize("named", ["flag", "environment"])
async def test_run_says_that_the_folder_is_missing(tmp_path: Path, named: str) -> None:
    """A file whose folder is not there either is one sentence with the way out; `CONFIG_FILE` names it too."""
    file = str(tmp_path / "none" / "config.toml")
    if named == "flag":
        code, text = await run_to_end("run", "--config", file)
    else:
        code, text = await run_to_end("run", CONFIG_FILE=file)
    assert code == 1
    assert f"Error: {file} is not there, nor is its folder. Name the configuration with --config." in text
    assert "Traceback" not in text


async def test_run_waits_for_the_file(tmp_path: Path) -> None:
    """A file that is not there yet is waited for, as `register` may write it; the log says so, and what is near."""
    (tmp_path / "conf.toml").write_text("")
    async with (
        GitLabServer() as gitlab,
        KubernetesServer(ScriptedKubelet(Fate())) as cluster,
        serving(tmp_path, gitlab, cluster, written=False) as process,
    ):
        await printed(process, b"config.toml is not there: waiting for it, without runners. Its folder has conf.toml")
        job = gitlab.queue(script=["true"])
        write_config(tmp_path, gitlab)
        await job.wait_finished()
        process.send_signal(signal.SIGTERM)
        assert await exit_code(process) == 0
    assert job.state == "success"


async def test_run_takes_an_edit_of_the_file(tmp_path: Path) -> None:
    """A broken edit changes nothing and is told with file, line and key; the next good one is applied; HUP asks too."""
    async with (
        GitLabServer(tokens=("glrt-one", "glrt-two")) as gitlab,
        KubernetesServer(ScriptedKubelet(Fate())) as cluster,
        serving(tmp_path, gitlab, cluster) as process,
    ):
        await printed(process, b"taking jobs")
        write_config(tmp_path, gitlab, concurrent="none")
        await printed(process, f"{tmp_path}/config.toml:1: concurrent: Input should be an integer".encode())
        job = gitlab.queue(script=["true"])
        await job.wait_finished()
        write_config(tmp_path, gitlab, token="glrt-two")
        await printed(process, b"configuration loaded")
        other = gitlab.queue(script=["true"], runner="glrt-two")
        await other.wait_finished()
        process.send_signal(signal.SIGHUP)
        await printed(process, b"configuration loaded")
        process.send_signal(signal.SIGQUIT)
        assert await exit_code(process) == 0
    assert (job.state, other.state) == ("success", "success")


async def test_run_leaves_with_1_when_something_is_left(tmp_path: Path) -> None:
    """A job that was ended and whose end GitLab did not take within `shutdown_timeout` is an exit code of 1."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=anyio.Event())}))
    async with GitLabServer() as gitlab, KubernetesServer(kubelet) as cluster:
        async with serving(tmp_path, gitlab, cluster, shutdown_timeout=1) as process:
            job = gitlab.queue(script=["true"])
            await job.wait_trace(b"here")
            await gitlab.outage()
            process.send_signal(signal.SIGTERM)
            assert await exit_code(process) == 1
        await cluster.wait_until_gone()


@pytest.mark.parametrize(
    ("flags", "number", "state", "reason"),
    [
        pytest.param((), signal.SIGQUIT, "success", None, id="QUIT lets the job end"),
        pytest.param(("--on-sigterm", "drain"), signal.SIGTERM, "success", None, id="TERM lets it end in the image"),
        pytest.param((), signal.SIGTERM, "failed", "runner_interrupted", id="TERM ends the job"),
        pytest.param((), signal.SIGINT, "failed", "runner_interrupted", id="INT ends the job"),
    ],
)
async def test_a_signal_ends_the_process(
    tmp_path: Path, flags: tuple[str, ...], number: signal.Signals, state: str, reason: str | None
) -> None:
    """The running job ends as the signal means, GitLab hears of it, nothing is left, and the process leaves with 0."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=go_on)}))
    async with GitLabServer() as gitlab, KubernetesServer(kubelet) as cluster:
        async with serving(tmp_path, gitlab, cluster, *flags) as process:
            job = gitlab.queue(script=["true"])
            await job.wait_trace(b"here")
            process.send_signal(number)
            if state == "success":
                await printed(process, b"no more jobs are asked for")
                late = gitlab.queue(script=["true"])
                go_on.set()
            await job.wait_finished()
            assert await exit_code(process) == 0
            if state == "success":
                assert late.state == "pending"
        assert (job.state, job.failure_reason) == (state, reason), job.text
        await cluster.wait_until_gone()
        assert gitlab.violations == []


async def test_a_second_signal_insists(tmp_path: Path) -> None:
    """After QUIT a TERM ends the job that would have gone on."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=anyio.Event())}))
    async with GitLabServer() as gitlab, KubernetesServer(kubelet) as cluster:
        async with serving(tmp_path, gitlab, cluster) as process:
            job = gitlab.queue(script=["true"])
            await job.wait_trace(b"here")
            process.send_signal(signal.SIGQUIT)
            process.send_signal(signal.SIGTERM)
            await job.wait_finished()
            assert await exit_code(process) == 0
        assert job.failure_reason == "runner_interrupted"
        await cluster.wait_until_gone()


async def test_max_jobs_leaves_after_so_many(tmp_path: Path) -> None:
    """`--max-jobs 1` runs one job and leaves."""
    async with GitLabServer() as gitlab, KubernetesServer(ScriptedKubelet()) as cluster:
        first = gitlab.queue(script=["true"])
        async with serving(tmp_path, gitlab, cluster, "--max-jobs", "1") as process:
            await first.wait_finished()
            assert await exit_code(process) == 0
        assert first.state == "success"
