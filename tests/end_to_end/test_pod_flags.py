"""Feature flags and hooks that shape the pod, seen from inside it: what they promise holds for a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NO_SOURCES = {"GIT_STRATEGY": "none"}


async def test_agents_run_under_an_init_process_when_the_flag_is_on(cluster: Cluster) -> None:
    """The job runs, its exit code is the script's, and the init process lies where both containers find it."""
    flags = {**NO_SOURCES, "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR": "true"}
    async with cluster.harness() as h:
        job = await h.run(variables=flags, script=["test -x /scripts-*/dumb-init", "echo init is there", "exit 7"])

    assert (job.state, job.exit_code) == ("failed", 7), job.text
    assert "init is there" in job.text


@pytest.mark.parametrize("flag", ["true", "false"])
async def test_sources_are_the_build_users_when_the_umask_is_left_alone(cluster: Cluster, flag: str) -> None:
    """With the flag the sources belong to the build container's user; without it they are open to everyone."""
    async with cluster.harness(kubernetes={"build_container_security_context": {"run_as_user": 1234}}) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"README": "hello\n"})
        job = await h.run(
            repository=repository,
            variables={"FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": flag},
            script=["id -u", "stat -c '%u %a' README"],
        )

    assert job.state == "success", job.text
    (owner_and_mode,) = re.findall(r"^(\d+ \d+)$", job.text, re.MULTILINE)
    assert (owner_and_mode == "1234 644") == (flag == "true"), job.text
    assert owner_and_mode.endswith(" 666") == (flag == "false"), job.text


@pytest.mark.parametrize("legacy", ["true", "false"])
async def test_job_runs_when_the_entrypoint_is_honored(cluster: Cluster, legacy: str) -> None:
    """Through the image's entrypoint, by attach and by exec; by exec a probe holds the stages back."""
    flags = {
        **NO_SOURCES,
        "FF_KUBERNETES_HONOR_ENTRYPOINT": "true",
        "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": legacy,
    }
    async with cluster.harness(kubernetes={"poll_interval": 1}) as h:
        job = await h.run(variables=flags, script=["echo through the entrypoint"])

    assert job.state == "success", job.text
    assert "through the entrypoint" in job.text


async def test_hooks_have_run_when_the_script_begins(cluster: Cluster) -> None:
    """`post_start` of the build container came before the first command of the job."""
    hook = {"post_start": {"exec": {"command": ["sh", "-c", "echo hooked > /tmp/hook"]}}}
    async with cluster.harness(kubernetes={"container_lifecycle": hook}) as h:
        job = await h.run(variables=NO_SOURCES, script=["cat /tmp/hook"])

    assert job.state == "success", job.text
    assert "hooked" in job.text


async def test_job_fails_when_a_hook_has_two_actions(cluster: Cluster) -> None:
    """The API server's own words, and nothing is left to wait for."""
    hook = {"pre_stop": {"exec": {"command": ["true"]}, "tcp_socket": {"port": 80}}}
    async with cluster.harness(kubernetes={"container_lifecycle": hook}) as h:
        job = await h.run(variables=NO_SOURCES, script=["true"])

    assert job.state == "failed"
    assert "may not specify more than 1 handler type" in job.text
