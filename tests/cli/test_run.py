"""`runner run` as a process: configuration, signals, exit codes."""

from __future__ import annotations

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
concurrent = 2
check_interval = 1
shutdown_timeout = 10
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


@asynccontextmanager
async def serving(folder: Path, gitlab: GitLabServer, cluster: KubernetesServer, *flags: str) -> AsyncIterator[Process]:
    """A `runner run` between the two servers."""
    config = folder / "config.toml"
    config.write_text(CONFIG.format(url=gitlab.url, token=gitlab.token))
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


async def test_run_says_which_file_is_missing(tmp_path: Path) -> None:
    """A file that is not there is one sentence with the way out."""
    code, text = await run_to_end("run", "--config", str(tmp_path / "none.toml"))
    assert code == 1
    assert "none.toml: No such file or directory" in text
    assert "Traceback" not in text


async def test_config_file_is_an_environment_variable_too(tmp_path: Path) -> None:
    """`CONFIG_FILE` names the configuration as it does for the original."""
    code, text = await run_to_end("run", CONFIG_FILE=str(tmp_path / "other.toml"))
    assert code == 1
    assert "other.toml" in text


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
                await printed(process, b"taking no more jobs")
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
