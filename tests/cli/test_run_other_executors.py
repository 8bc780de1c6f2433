"""`runner run` on files that hold what is not for this service: it is named with its line, and the rest runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
import pytest
from anyio.abc import Process

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer

pytestmark = pytest.mark.slow

OTHERS = """\
concurrent = 2
check_interval = 1

[[runners]]
  name = "docker"
  url = "{url}"
  token = "glrt-of-docker"
  executor = "docker"
  [runners.docker]
    image = "ruby"
    tls_verify = "not even a boolean"

[[runners]]
  name = "shell"
  url = "{url}"
  token = "glrt-of-shell"
  executor = "shell"
"""
OURS = """\

[[runners]]
  name = "kubernetes"
  url = "{url}"
  token = "{token}"
  executor = "kubernetes"
  [runners.docker]
    image = "ruby"
  [runners.referees.metrics]
    prometheus_address = "prometheus:9090"
  [runners.kubernetes]
    image = "busybox"
"""
NAMED = (
    'config.toml:8: runners.0.executor: there is no executor "docker" here; the runner is left out',
    'config.toml:17: runners.1.executor: there is no executor "shell" here; the runner is left out',
)
NAMED_OF_OURS = (
    "config.toml:24: runners.2.docker: the table is of an executor that is not here: not supported",
    "config.toml:26: runners.2.referees: this version does not act on the key",
)


async def printed(process: Process, until: bytes = b"") -> str:
    """What a process prints, until some words or its end."""
    assert process.stdout is not None
    seen = b""
    with anyio.fail_after(60):
        while not until or until not in seen:
            try:
                seen += await process.stdout.receive()
            except anyio.EndOfStream:
                break
    return seen.decode()


async def test_runner_beside_those_of_other_executors_runs(tmp_path: Path) -> None:
    """Its job is done, nobody asks with the others' tokens, and each is named with file and line."""
    async with GitLabServer() as gitlab, KubernetesServer(ScriptedKubelet()) as cluster:
        text = (OTHERS + OURS).format(url=gitlab.url, token=gitlab.token)
        (tmp_path / "config.toml").write_text(text)
        command = [sys.executable, "-m", "runner", "run", "--config", str(tmp_path / "config.toml")]
        environ = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig"))}
        async with await anyio.open_process(command, stdout=PIPE, stderr=STDOUT, env=environ) as process:
            job = gitlab.queue(script=["true"])
            await job.wait_finished(timeout=60)
            process.send_signal(signal.SIGTERM)
            said = await printed(process)
        assert job.state == "success", job.text
        assert [line for line in (*NAMED, *NAMED_OF_OURS) if line not in said] == [], said
        assert {entry.headers.get("RUNNER-TOKEN") for entry in gitlab.requests} <= {gitlab.token, None}
        assert gitlab.violations == []


async def test_file_of_other_executors_alone_starts_and_says_so(tmp_path: Path) -> None:
    """As the original does with no runner at all: one may be added later. GitLab hears nothing."""
    async with GitLabServer() as gitlab:
        (tmp_path / "config.toml").write_text(OTHERS.format(url=gitlab.url))
        command = [sys.executable, "-m", "runner", "run", "--config", str(tmp_path / "config.toml")]
        environ = {**os.environ, "LOG_FORMAT": "json"}
        async with await anyio.open_process(command, stdout=PIPE, stderr=STDOUT, env=environ) as process:
            lines = (await printed(process, b"taking jobs")).splitlines()
            process.send_signal(signal.SIGTERM)
            await printed(process)
            assert await process.wait() == 0
        said = "\n".join(json.loads(line)["msg"] for line in lines)  # what there is to warn of has the log's form too
        assert "none of the runners is for this service" in said
        assert [line for line in NAMED if line not in said] == [], said
        assert not gitlab.requests
