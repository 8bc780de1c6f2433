"""The manager in the cluster, deployed as docs/running.md says and by the Helm chart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import anyio
import pytest

from runner.testing.gitlab import GitLabServer
from tests.documents import ROOT, blocks

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NO_SOURCES = {"GIT_STRATEGY": "none"}
IMAGE = "registry.example.com/runner:0.1.0"
CONFIG = """\
concurrent = 10

[[runners]]
  name = "kubernetes"
  url = "{url}"
  token = "$RUNNER_TOKEN"
  executor = "kubernetes"
  [runners.kubernetes]
    namespace = "{namespace}"
    pull_policy = "if-not-present"
"""


def documented(cluster: Cluster, url: str) -> str:
    """The objects of docs/running.md with this run's namespace and image, and the policy of images that are there."""
    text = "---\n".join(block.text for block in blocks(ROOT / "docs/running.md", "yaml"))
    for given, wanted in (
        (IMAGE, cluster.helper_image),
        ("https://gitlab.example.com", url),
        ("namespace: ci}", f"namespace: {cluster.namespace}}}"),
        ("namespace: ci\n", f"namespace: {cluster.namespace}\n"),
        ('namespace = "ci"', f'namespace = "{cluster.namespace}"\n        pull_policy = "if-not-present"'),
    ):
        assert given in text
        text = text.replace(given, wanted)
    return text


def charted(cluster: Cluster, url: str) -> str:
    """The objects that the chart makes."""
    helm = pytest.importorskip("helm_python", reason="the chart extra is not installed")
    repository, _, tag = cluster.helper_image.rpartition(":")
    values = {
        "config": CONFIG.format(url=url, namespace=cluster.namespace),
        "image": {"repository": repository, "tag": tag},
        "token": {"existingSecret": "runner-token"},
    }
    with helm.Chart.load(str(ROOT / "charts/runner")) as chart:
        files: dict[str, str] = chart.render(values, name="runner", namespace=cluster.namespace)
    return "\n---\n".join(text for name, text in files.items() if name.endswith(".yaml"))


@pytest.fixture
def clean(cluster: Cluster) -> Iterator[None]:
    """Nothing of one deployment is left for the next."""
    yield
    for kind in ("deployment", "configmap", "rolebinding", "role", "serviceaccount"):
        cluster.kubectl("delete", "--ignore-not-found", kind, "runner")
    cluster.kubectl("delete", "--ignore-not-found", "secret", "runner-token")


@pytest.mark.parametrize("objects", [documented, charted])
@pytest.mark.usefixtures("clean")
async def test_deployment_runs_a_job_and_drains(cluster: Cluster, objects: Callable[[Cluster, str], str]) -> None:
    """A job runs; the Deployment's end lets the running one go on to its own end, and the manager leaves after it."""

    async def kubectl(*arguments: str) -> str:
        return await anyio.to_thread.run_sync(lambda: cluster.kubectl(*arguments, timeout=70))

    async with GitLabServer(host=cluster.host) as gitlab, anyio.NamedTemporaryFile("w", suffix=".yaml") as file:
        await file.write(objects(cluster, gitlab.url))
        await file.flush()
        await kubectl("create", "secret", "generic", "runner-token", f"--from-literal=token={gitlab.token}")
        await kubectl("apply", f"--filename={file.name}")
        first = gitlab.queue(script=["echo in the cluster"], image=cluster.busybox_image, variables=NO_SOURCES)
        await first.wait_finished(timeout=90)
        assert first.state == "success", first.text

        second = gitlab.queue(script=["echo begun", "sleep 5"], image=cluster.busybox_image, variables=NO_SOURCES)
        await second.wait(lambda job: "begun" in job.text.splitlines(), timeout=60)
        await kubectl("delete", "deployment/runner", "--wait=false")
        await second.wait_finished(timeout=60)
        assert second.state == "success", second.text
        await kubectl("wait", "--for=delete", "pod", "--selector=app=runner", "--timeout=60s")
        await kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/instance=runner", "--timeout=60s")
        assert gitlab.violations == []
