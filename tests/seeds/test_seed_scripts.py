"""The scripts of the posts of 2017 and later, against the real command: register, list, run, unregister, replicas."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
import pytest
import yaml
from anyio.abc import Process

from runner.testing.gitlab import GitLabServer
from runner.testing.kubelets import Fate, Script, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer
from tests.documents import ROOT
from tests.seeds.published import block

pytestmark = pytest.mark.slow

REGISTRATION_TOKEN = "GR1348941of-the-post"


def programs(folder: Path) -> Path:
    """A folder with `runner` under the names that it had and has."""
    folder.mkdir()
    for name in ("gitlab-runner", "gitlab-ci-multi-runner"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m runner "$@"\n')
        program.chmod(0o755)
    return folder


def environment(folder: Path, home: Path) -> dict[str, str]:
    """What a container would give the script."""
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def started(command: list[str], environ: dict[str, str]) -> AsyncIterator[Process]:
    """A process, ended by force when a test leaves it behind."""
    process = await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=environ, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def output(process: Process, until: bytes = b"") -> str:
    """What a process has printed, until some words or its end."""
    assert process.stdout is not None
    seen = b""
    with anyio.fail_after(60):
        while not until or until not in seen:
            try:
                seen += await process.stdout.receive()
            except anyio.EndOfStream:
                break
    return seen.decode()


@pytest.mark.parametrize("kind", ["registration token", "runner's own token"])
async def test_run_script_of_2017_registers_runs_and_unregisters(tmp_path: Path, kind: str) -> None:
    """Word for word but for its paths and hosts: what `list | awk` prints is what `unregister` needs."""
    home = tmp_path / "home"
    home.mkdir()
    folder = programs(tmp_path / "bin")
    script = yaml.safe_load(block("002-scripts.yaml"))["data"]["run.sh"]
    script = script.replace("/usr/bin/", f"{folder}/").replace("/home/gitlab-runner/.gitlab-runner", str(home))
    given = yaml.safe_load(block("002-environment.yaml"))["data"]
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")])}))
    async with (
        GitLabServer(registration_tokens=(REGISTRATION_TOKEN,)) as gitlab,
        KubernetesServer(kubelet) as cluster,
    ):
        own = kind == "runner's own token"
        environ = {
            **given,
            **environment(folder, home),
            "CI_SERVER_URL": f"{gitlab.url}/ci",
            "METRICS_SERVER": "127.0.0.1:0",
            "KUBERNETES_NAMESPACE": "default",
            "KUBERNETES_IMAGE": "busybox",
            "KUBERNETES_POLL_INTERVAL": "1",
            "RUNNER_NAME": "gitlab-ci-runner-0",
            "GITLAB_CI_TOKEN": gitlab.token if own else REGISTRATION_TOKEN,
            "KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig")),
            "CONFIG_FILE": str(home / "config.toml"),  # root's configuration would lie elsewhere
        }
        async with started(["bash", "-c", script], environ) as process:
            job = gitlab.queue(script=["true"])
            await job.wait_finished(timeout=60)
            assert job.state == "success", job.text
            config = tomllib.loads((home / "config.toml").read_text())
            assert config["concurrent"] == 4
            process.send_signal(signal.SIGTERM)
            text = await output(process)
            with anyio.fail_after(30):
                await process.wait()
        assert "Unregistering runner from GitLab succeeded" in text, text
        assert "runners" not in tomllib.loads((home / "config.toml").read_text())
        [left] = gitlab.runners
        assert (left.token, left.managers) == (gitlab.token, set())
        assert gitlab.violations == []


async def test_registration_of_the_notes_gives_their_file(tmp_path: Path) -> None:
    """The answers of the transcript; what has changed since is a note in place of the lock, and the executor."""
    home = tmp_path / "home"
    home.mkdir()
    folder = programs(tmp_path / "bin")
    async with GitLabServer(registration_tokens=(REGISTRATION_TOKEN,)) as gitlab:
        environ = {**environment(folder, home), "CONFIG_FILE": str(home / "config.toml")}
        answers = [
            f"{gitlab.url}/",
            REGISTRATION_TOKEN,
            "My first Gitlab runner!",
            "tutorial",
            "",
            "docker",
            "kubernetes",
        ]
        with anyio.fail_after(60):
            done = await anyio.run_process(
                ["gitlab-runner", "register"],
                input="\n".join([*answers, ""]).encode(),
                env=environ,
                stderr=STDOUT,
                check=False,
            )
        text = done.stdout.decode()
        assert done.returncode == 0, text
        assert "Registering runner... succeeded" in text
        assert (
            "Runner registered successfully. Feel free to start it, "
            "but if it's running already the config should be automatically reloaded!"
        ) in text
        published = tomllib.loads(block("003-registered.toml").replace("[TOKEN]", '"t"'))
        written = tomllib.loads((home / "config.toml").read_text())
        assert {key: written[key] for key in ("concurrent", "check_interval")} == {
            key: published[key] for key in ("concurrent", "check_interval")
        }
        [runner] = written["runners"]
        assert runner["name"] == "My first Gitlab runner!"
        made = gitlab.runners.find(runner["token"])
        assert made is not None
        assert made.settings["tag_list"] == "tutorial"
        assert gitlab.violations == []


async def test_three_replicas_of_the_notes_share_the_jobs_of_one_token(tmp_path: Path) -> None:
    """Each takes one, and GitLab tells them apart by their system ids; each ends with 0."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=go_on)}))
    folder = programs(tmp_path / "bin")
    async with GitLabServer() as gitlab, KubernetesServer(kubelet) as cluster, AsyncExitStack() as stack:
        kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig"))
        processes = []
        for number in range(3):
            home = tmp_path / f"replica-{number}"
            home.mkdir()
            (home / ".runner_system_id").write_text(f"r_replica{number}0000")
            (home / "config.toml").write_text(
                f'concurrent = 1\ncheck_interval = 1\n[[runners]]\nname = "r"\nurl = "{gitlab.url}"\n'
                f'token = "{gitlab.token}"\nexecutor = "kubernetes"\n[runners.kubernetes]\nimage = "busybox"\n'
            )
            environ = {**environment(folder, home), "CONFIG_FILE": str(home / "config.toml"), "KUBECONFIG": kubeconfig}
            processes.append(await stack.enter_async_context(started(["gitlab-runner", "run"], environ)))
        jobs = [gitlab.queue(script=["true"]) for _ in range(3)]
        for job in jobs:
            await job.wait_trace(b"here", timeout=60)
        assert {job.request["system_id"] for job in jobs} == {f"r_replica{number}0000" for number in range(3)}
        go_on.set()
        for job in jobs:
            await job.wait_finished(timeout=60)
            assert job.state == "success", job.text
        for process in processes:
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30):
                assert await process.wait() == 0
        assert gitlab.violations == []


def mounted(folder: Path, number: int, text: str) -> None:
    """Write a ConfigMap's file as kubelet does: a new folder, and a link that is swapped for one to it."""
    (folder / f"..{number}").mkdir(parents=True)
    (folder / f"..{number}" / "config.toml").write_text(text)
    (folder / "..data_tmp").symlink_to(f"..{number}")
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / "config.toml").exists():
        (folder / "config.toml").symlink_to("..data/config.toml")


async def test_edited_config_map_of_the_notes_needs_no_restart(tmp_path: Path) -> None:
    """Three replicas on one mounted ConfigMap: an edit lets one take a second job while the first ones run on."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=[(0, b"here\n")], until=go_on)}))
    folder = programs(tmp_path / "bin")
    config_map = tmp_path / "config"
    async with GitLabServer() as gitlab, KubernetesServer(kubelet) as cluster, AsyncExitStack() as stack:
        text = (
            block("003-registered.toml")
            .replace("https://gitlab.com/", gitlab.url)
            .replace("[TOKEN]", f'"{gitlab.token}"')
            .replace('"docker"', '"kubernetes"')
            .replace("[runners.cache]", '[runners.kubernetes]\n    image = "busybox"\n  [runners.cache]')
        )
        mounted(config_map, 1, text)
        command = ["gitlab-runner", "run", "--kubeconfig", str(cluster.kubeconfig(tmp_path / "kubeconfig"))]
        processes = []
        for number in range(3):
            # A pod's name is its host's name, which tells the replicas apart.
            pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "HOSTNAME": f"gitlab-runner-{number}"}
            environ = {**environment(folder, tmp_path), **pod, "CONFIG_FILE": str(config_map / "config.toml")}
            processes.append(await stack.enter_async_context(started(command, environ)))
        jobs = [gitlab.queue(script=["true"]) for _ in range(3)]
        for job in jobs:
            await job.wait_trace(b"here", timeout=60)
        assert len({job.request["system_id"] for job in jobs}) == 3
        late = gitlab.queue(script=["true"])
        mounted(config_map, 2, text.replace("concurrent = 1", "concurrent = 2"))
        await late.wait_trace(b"here", timeout=30)
        assert [job.state for job in jobs] == ["running"] * 3
        go_on.set()
        for job in (*jobs, late):
            await job.wait_finished(timeout=60)
            assert job.state == "success", job.text
        for process in processes:
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(30):
                assert await process.wait() == 0
        assert sorted(entry.name for entry in config_map.iterdir()) == ["..1", "..2", "..data", "config.toml"]
        assert gitlab.violations == []
