"""The main job: from GitLab's queue to its final state, with everything that a user sees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}


async def test_a_job_succeeds_when_its_script_does(cluster: Cluster) -> None:
    """A job's script and after_script run in order, their output is in the log, and GitLab hears of the success."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["echo one", "echo two"], after_script=["echo status $CI_JOB_STATUS"], variables=NO_SOURCES
        )
        assert job.state == "success", job.text
        assert "$ echo one\none\n$ echo two\ntwo\n" in job.text
        assert "status success\n" in job.text
        assert job.text.rstrip().endswith("Job succeeded")
        assert h.gitlab.violations == []
        await h.wait_until_empty()


async def test_a_job_fails_with_its_scripts_exit_code(cluster: Cluster) -> None:
    """A script that ends with 3 is a script failure with exit code 3, and after_script has run all the same."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["echo before", "exit 3", "echo never"], after_script=["echo $CI_JOB_STATUS"], variables=NO_SOURCES
        )
        assert (job.state, job.failure_reason, job.exit_code) == ("failed", "script_failure", 3), job.text
        assert "\nnever" not in job.text
        assert "\nfailed\n" in job.text
        assert "ERROR: Job failed: command terminated with exit code 3" in job.text
        assert h.gitlab.violations == []


async def test_sources_come_from_git(cluster: Cluster) -> None:
    """The job sees the commit's files, checked out from a server that wants the job's token."""
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "from git\n"})
        job = await h.run(script=["cat hello.txt", "pwd"], repository=repository)
        assert job.state == "success", job.text
        assert f"Checking out {repository.sha[:8]} as detached HEAD" in job.text
        assert "$ cat hello.txt\nfrom git\n" in job.text
        asked = {one.headers["X-Request-Id"] for one in h.gitlab.requests if one.path.endswith("/jobs/request")}
        assert set(re.findall(r"Gitaly correlation ID: (\w+)", job.text)) <= asked
        assert "Gitaly correlation ID: " in job.text


async def test_the_first_bytes_of_the_log_leave_at_once(cluster: Cluster) -> None:
    """The log's header is at GitLab before the pod runs."""
    async with cluster.harness() as h:
        job = h.queue(script=["echo x"], variables=NO_SOURCES)
        await job.wait_trace(b"Running with")
        assert job.assigned_at is not None
        assert job.patches[0].at - job.assigned_at < 5
        await job.wait_finished(timeout=60)


async def test_no_polling_get_is_needed(cluster: Cluster) -> None:
    """A job costs the API server at most eight requests, none of them a poll of the pod."""
    async with cluster.harness() as h:
        await h.run(script=["true"], variables=NO_SOURCES)
        h.kube_requests.clear()
        await h.run(script=["true"], variables=NO_SOURCES)
        await h.wait_until_empty()
        assert h.kube_requests["get", "pods"] == 0
        assert sum(h.kube_requests.values()) <= 8, h.kube_requests
