"""`runner run-single` as a process: one runner, described by flags and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import Fate, Script, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from tests.cli.commands import CommandLine

pytestmark = pytest.mark.slow


def kubelet() -> ScriptedKubelet:
    """Pods whose script prints a word."""
    return ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")])}))


async def test_it_leaves_after_so_many_jobs(tmp_path: Path) -> None:
    """Nothing is read from a file, and none is written."""
    runner = CommandLine(tmp_path)
    async with GitLabServer() as gitlab, KubernetesServer(kubelet()) as cluster:
        jobs = [gitlab.queue(script=["true"]) for _ in range(3)]
        kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
        flags = ["-u", gitlab.url, "-t", gitlab.token, "--kubernetes-image", "busybox", "--kubeconfig", kubeconfig]
        done = await runner("run-single", *flags, "--max-builds", "2", RUNNER_EXECUTOR="kubernetes")
        assert done.code == 0, done.err
        assert [job.state for job in jobs] == ["success", "success", "pending"]
        assert gitlab.token not in done.err
        assert gitlab.violations == []
    assert not runner.config.exists()


async def test_it_leaves_when_no_job_comes_and_takes_settings_from_the_file(tmp_path: Path) -> None:
    """The runner of a name; flags win."""
    runner = CommandLine(tmp_path)
    async with GitLabServer() as gitlab, KubernetesServer(kubelet()) as cluster:
        runner.config.write_text(
            f'[[runners]]\nname = "other"\n[[runners]]\nname = "mine"\nurl = "{gitlab.url}"\ntoken = "wrong"\n'
            'executor = "kubernetes"\n[runners.kubernetes]\nimage = "busybox"\n'
        )
        kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
        flags = ["-r", "mine", "-t", gitlab.token, "--wait-timeout", "1", "--kubeconfig", kubeconfig]
        done = await runner("run-single", *flags)
        assert done.code == 0, done.err
        assert {request.path for request in gitlab.requests} == {"/api/v4/jobs/request"}
        assert gitlab.violations == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param([], "--url, --token, --executor", id="nothing"),
        pytest.param(["-r", "nobody"], "no runner of the name nobody", id="unknown-name"),
        pytest.param(["-u", "http://a", "-t", "t", "--executor", "docker"], "no executor 'docker'", id="executor"),
        pytest.param(["--kubernetes-privileged=x"], "neither true nor false", id="flag"),
    ],
)
async def test_what_is_missing_is_told(tmp_path: Path, flags: list[str], words: str) -> None:
    """One sentence, exit code 1."""
    done = await CommandLine(tmp_path)("run-single", *flags)
    assert done.code == 1
    assert words in done.err
    assert "Traceback" not in done.err
