"""The manager in the cluster, deployed as docs/running.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from runner.testing.gitlab import GitLabServer
from tests.documents import ROOT, blocks

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NO_SOURCES = {"GIT_STRATEGY": "none"}
URL = "https://gitlab.example.com"


@pytest.fixture
def objects(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The documented objects, with this run's namespace and image; removed after the test."""
    text = "---\n".join(block.text for block in blocks(ROOT / "docs/running.md", "yaml"))
    text = text.replace("registry.example.com/runner:0.1.0", cluster.helper_image)
    text = text.replace("namespace: ci}", f"namespace: {cluster.namespace}}}")
    text = text.replace('namespace = "ci"', f'namespace = "{cluster.namespace}"')
    # The test's images are on the node already, and may be nowhere else.
    text = text.replace('image = "alpine:latest"', 'image = "alpine:latest"\n        pull_policy = "if-not-present"')
    path = tmp_path / "objects.yaml"
    path.write_text(text)
    yield path
    cluster.kubectl("delete", "--ignore-not-found", f"--filename={path}", "--wait=false")
    cluster.kubectl("delete", "--ignore-not-found", "secret/runner-token")


async def kubectl(cluster: Cluster, *arguments: str, timeout: float = 30) -> str:
    """Run kubectl beside the servers of this test."""
    return await anyio.to_thread.run_sync(lambda: cluster.kubectl(*arguments, timeout=timeout))


async def test_documented_deployment_runs_a_job_and_drains(cluster: Cluster, objects: Path) -> None:
    """A job runs; the Deployment's end lets the running one go on to its own end, and the manager leaves after it."""
    async with GitLabServer(host=cluster.host) as gitlab:
        text = await anyio.Path(objects).read_text()
        await anyio.Path(objects).write_text(text.replace(URL, gitlab.url))
        await kubectl(cluster, "create", "secret", "generic", "runner-token", f"--from-literal=token={gitlab.token}")
        await kubectl(cluster, "apply", f"--filename={objects}")
        first = gitlab.queue(script=["echo in the cluster"], image=cluster.busybox_image, variables=NO_SOURCES)
        await first.wait_finished(timeout=90)
        assert first.state == "success", first.text

        second = gitlab.queue(script=["echo begun", "sleep 5"], image=cluster.busybox_image, variables=NO_SOURCES)
        await second.wait(lambda job: "begun" in job.text.splitlines(), timeout=60)
        await kubectl(cluster, "delete", "deployment/runner", "--wait=false")
        await second.wait_finished(timeout=60)
        assert second.state == "success", second.text
        await kubectl(cluster, "wait", "--for=delete", "pod", "--selector=app=runner", "--timeout=60s", timeout=70)
        assert gitlab.violations == []
