"""`FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY`: each stage is one exec, and its connection is its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.testing.faults import FaultRule, Reply
from runner.testing.kubelets import Fate, Script, ScriptedKubelet

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

LEGACY = {"FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true", "GIT_STRATEGY": "none"}


async def test_a_legacy_job_succeeds_when_its_script_does(cluster: Cluster) -> None:
    """Script and after_script run in order by exec; nothing is left."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["echo one", "echo two >&2"], after_script=["echo status $CI_JOB_STATUS"], variables=LEGACY
        )
        assert job.state == "success", job.text
        assert "Using exec strategy to execute scripts..." in job.text
        assert "\none\n" in job.text
        assert "\ntwo\n" in job.text
        assert "\nstatus success\n" in job.text
        assert h.kube_requests["get", "pods/attach"] == 0
        assert h.gitlab.violations == []
        await h.wait_until_empty()


async def test_a_legacy_job_fails_with_its_scripts_exit_code(cluster: Cluster) -> None:
    """A script that ends with 3 is a script failure with exit code 3."""
    async with cluster.harness() as h:
        job = await h.run(script=["echo before", "exit 3", "echo never"], variables=LEGACY)
        assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 3), job.text
        assert "\nbefore\n" in job.text
        assert "\nnever" not in job.text
        await h.wait_until_empty()


async def test_a_legacy_job_clones(cluster: Cluster) -> None:
    """Scripts of the helper run by exec too."""
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "from git\n"})
        variables = {"FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true"}
        job = await h.run(script=["cat hello.txt"], repository=repository, variables=variables)
        assert job.state == "success", job.text
        assert "\nfrom git\n" in job.text


async def test_a_legacy_job_whose_connection_is_lost_is_no_success(cluster: Cluster) -> None:
    """Nothing proves how a script ended whose connection was cut: a system failure, and never green."""
    async with cluster.harness(proxied=True) as h:
        job = h.queue(script=["echo waiting", "sleep 5", "echo not seen"], variables=LEGACY)
        await job.wait(lambda record: "waiting" in record.text.splitlines(), timeout=60)
        if h.cluster:
            h.cluster.cut_streams()
        else:
            assert h.proxy is not None
            await h.proxy.cut()
        await job.wait_finished()
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
        assert "the connection to the pod was lost" in job.text
        await h.wait_until_empty()


async def test_a_legacy_job_is_canceled(cluster: Cluster) -> None:
    """A cancel leaves the script to the pod's removal; after_script runs, and nothing is left."""
    async with cluster.harness() as h:
        job = h.queue(
            script=["echo waiting", "while :; do sleep 0.1; echo on; done"],
            after_script=["echo status $CI_JOB_STATUS"],
            variables=LEGACY,
        )
        await job.wait(lambda record: "waiting" in record.text.splitlines(), timeout=60)
        job.cancel()
        await job.wait_finished()
        assert job.state == "canceled", job.text
        assert "status canceled" in job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_exec_is_forbidden(cluster: Cluster) -> None:
    """The missing right is named in the job's log."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        h.cluster.forbid("create", "pods/exec")
        h.cluster.forbid("get", "pods/exec")
        job = await h.run(script=["true"], variables=LEGACY)
        last = job.text.rstrip().splitlines()[-1]
        assert last.startswith("ERROR: Job failed (system failure): ")
        assert 'resource "pods/exec"' in last
        assert job.failure_reason == "runner_system_failure"
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("status", [500, 429])
async def test_an_exec_that_cannot_be_opened_is_tried_again(cluster: Cluster, status: int) -> None:
    """Nothing has run before an exec is open, so a busy API server is asked again."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("GET", "/exec", Reply(status), times=2))
        job = await h.run(script=["true"], variables=LEGACY)
        assert job.state == "success", job.text
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_a_legacy_stage_fails_with_its_code(cluster: Cluster) -> None:
    """The code of the exec's own status decides, with the output before it."""
    failing = Script(output=((0.0, b"out of the exec\n"),), exit_code=7)
    fate = Fate(executed=lambda container, _command: failing if container == "build" else Script())
    async with cluster.harness(kubelet=ScriptedKubelet(fate)) as h:
        job = await h.run(script=["true"], variables=LEGACY)
        assert (job.state, job.exit_code) == ("failed", 7), job.text
        assert "\nout of the exec\n" in job.text
