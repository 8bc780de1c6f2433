"""The manifests of the published documents on a real cluster, with this image's name in place of the original's.

What else differs is what Kubernetes itself has taken away since (`apps/v1beta1`), hosts, tokens and the namespace.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import yaml

from runner.testing.gitlab import GitLabServer
from tests.seeds.published import block

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("real")]

NO_SOURCES = {"GIT_STRATEGY": "none"}
REGISTRATION_TOKEN = "GR1348941of-the-post"
CONFIG = """\
concurrent = 1
check_interval = 0

[[runners]]
  name = "temp runner"
  url = "{url}/"
  token = "{token}"
  executor = "kubernetes"
  [runners.kubernetes]
    namespace = "{namespace}"
    pull_policy = "if-not-present"
  [runners.cache]
"""
MARK = {"published": "true"}


@pytest.fixture
def clean(cluster: Cluster) -> Iterator[None]:
    """Nothing of one deployment is left for the next."""
    yield
    kinds = "statefulset,deployment,pod,configmap,secret,rolebinding,role,serviceaccount"
    cluster.kubectl("delete", kinds, "-l", "published=true", timeout=90)


async def kubectl(cluster: Cluster, *arguments: str, stdin: str | None = None, timeout: float = 90) -> str:
    """Run kubectl beside what else the test does."""
    return await anyio.to_thread.run_sync(lambda: cluster.kubectl(*arguments, stdin=stdin, timeout=timeout))


def of_2017(cluster: Cluster, url: str) -> list[dict[str, Any]]:
    """Every object of the post but its namespace."""
    names = ("002-environment.yaml", "002-scripts.yaml", "002-secret.yaml", "002-rbac.yaml", "002-stateful-set.yaml")
    text = "\n---\n".join(block(name) for name in names)
    for published, wanted in (
        ("YOUR_GITLAB_BUILD_NAMESPACE", cluster.namespace),
        ("YOUR_GITLAB_CI_SERVER_URL", f"{url}/ci"),
        ("YOUR_BASE64_ENCODED_TOKEN", base64.b64encode(REGISTRATION_TOKEN.encode()).decode()),
        ("gitlab/gitlab-runner:v12.6.0", cluster.helper_image),
        ("apps/v1beta1", "apps/v1"),
    ):
        assert published in text
        text = text.replace(published, wanted)
    objects = [each for each in yaml.safe_load_all(text) if each]
    for each in objects:
        each["metadata"]["labels"] = {**each["metadata"].get("labels", {}), **MARK}
        if each["kind"] == "StatefulSet":
            each["spec"]["selector"] = {"matchLabels": {"app": "gitlab-ci-runner"}}
    return objects


def of_the_notes(cluster: Cluster, gitlab: GitLabServer) -> list[dict[str, Any]]:
    """One Deployment of three replicas with a volume on /etc/gitlab-runner/config.toml, and the rights they name."""
    _, _, account = block("003-service-account.md").partition("\n")
    rules = yaml.safe_load(account)["rules"]
    text = CONFIG.format(url=gitlab.url, token=gitlab.token, namespace=cluster.namespace)
    mount = {"name": "config", "mountPath": "/etc/gitlab-runner/config.toml", "subPath": "config.toml"}
    container = {"name": "gitlab-runner", "image": cluster.helper_image, "args": ["run"], "volumeMounts": [mount]}
    config = {"name": "config", "configMap": {"name": "gitlab-runner-config"}}
    pod = {"serviceAccountName": "gitlab-admin", "containers": [container], "volumes": [config]}
    labels = {"name": "gitlab-runner"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gitlab-admin"}
    rbac = "rbac.authorization.k8s.io/v1"
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gitlab-admin"}},
        {"apiVersion": rbac, "kind": "Role", "metadata": {"name": "gitlab-admin"}, "rules": [rules]},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "gitlab-admin"},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "gitlab-admin", "namespace": cluster.namespace}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "gitlab-runner-config"},
            "data": {"config.toml": text},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "gitlab-runner"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
    for each in objects:
        each["metadata"]["labels"] = MARK
    return objects


async def create(cluster: Cluster, objects: list[dict[str, Any]]) -> None:
    """Apply objects as `kubectl create -f` does."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    await kubectl(cluster, "create", "-f", "-", stdin=json.dumps(listed))


@pytest.mark.usefixtures("clean")
async def test_stateful_set_of_2017_registers_runs_and_unregisters(cluster: Cluster) -> None:
    """Its script in its pod, as its user: a job runs with its resources, and the pod's end takes the runner away."""
    async with GitLabServer(host=cluster.host, registration_tokens=(REGISTRATION_TOKEN,)) as gitlab:
        await create(cluster, of_2017(cluster, gitlab.url))
        job = gitlab.queue(script=["echo of 2017"], image=cluster.busybox_image, variables=NO_SOURCES)
        await job.wait_finished(timeout=90)
        assert job.state == "success", job.text
        assert "of 2017" in job.text
        first, made = gitlab.runners
        assert first.token == gitlab.token
        assert made.settings["description"] == "gitlab-ci-runner-0"
        assert made.settings["locked"] is False
        # METRICS_SERVER of the ConfigMap, on the port that the StatefulSet names.
        pod = f"/api/v1/namespaces/{cluster.namespace}/pods/gitlab-ci-runner-0:9100"
        assert "gitlab_runner_jobs" in await kubectl(cluster, "get", "--raw", f"{pod}/proxy/metrics")

        logs: list[str] = []

        async def follow() -> None:
            logs.append(await kubectl(cluster, "logs", "--follow", "gitlab-ci-runner-0"))

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await kubectl(cluster, "scale", "statefulset/gitlab-ci-runner", "--replicas=0")
        assert "Unregistering runner gitlab-ci-runner-0 ..." in logs[0]
        assert "Unregistering runner from GitLab succeeded" in logs[0], logs[0]
        assert [runner.token for runner in gitlab.runners] == [gitlab.token]
        assert gitlab.violations == []


@pytest.mark.usefixtures("clean")
async def test_three_replicas_of_the_notes_share_the_jobs(cluster: Cluster) -> None:
    """One token, three system ids: each of three jobs that run at once is another replica's, and TERM lets them end."""
    async with GitLabServer(host=cluster.host) as gitlab:
        await create(cluster, of_the_notes(cluster, gitlab))
        await kubectl(cluster, "rollout", "status", "deployment/gitlab-runner", "--timeout=80s")
        jobs = [
            gitlab.queue(script=["echo begun", "sleep 8"], image=cluster.busybox_image, variables=NO_SOURCES)
            for _ in range(3)
        ]
        for job in jobs:
            await job.wait(lambda job: "begun" in job.text.splitlines(), timeout=60)
        assert len({job.request["system_id"] for job in jobs}) == 3
        await kubectl(cluster, "delete", "deployment/gitlab-runner", "--wait=false")
        for job in jobs:
            await job.wait_finished(timeout=60)
            assert job.state == "success", job.text
        await kubectl(cluster, "wait", "--for=delete", "pod", "-l", "name=gitlab-runner", "--timeout=60s")
        assert gitlab.violations == []


CHART_SCRIPT = """\
set -e
cp /configmaps/config.toml /home/gitlab-runner/.gitlab-runner/
/entrypoint register --non-interactive --template-config /configmaps/template.toml
exec /entrypoint run --user=gitlab-runner --working-directory=/home/gitlab-runner
"""


def as_in_the_originals_chart(cluster: Cluster, gitlab: GitLabServer) -> list[dict[str, Any]]:
    """A Deployment in the form of the original's own chart: its init process, script, user, folders and probe."""
    template = f'[[runners]]\n[runners.kubernetes]\nnamespace = "{cluster.namespace}"\npull_policy = "if-not-present"\n'
    files = {"entrypoint": CHART_SCRIPT, "config.toml": "concurrent = 10\n", "template.toml": template}
    environ = {"CI_SERVER_URL": gitlab.url, "CI_SERVER_TOKEN": gitlab.token, "RUNNER_EXECUTOR": "kubernetes"}
    container = {
        "name": "gitlab-runner",
        "image": cluster.helper_image,
        "command": ["/usr/bin/dumb-init", "--", "/bin/bash", "/configmaps/entrypoint"],
        "env": [{"name": name, "value": value} for name, value in environ.items()],
        "livenessProbe": {"exec": {"command": ["pgrep", "gitlab.*runner"]}, "initialDelaySeconds": 1},
        "readinessProbe": {"exec": {"command": ["/usr/bin/pgrep", "gitlab.*runner"]}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "etc", "mountPath": "/home/gitlab-runner/.gitlab-runner"},
            {"name": "configmaps", "mountPath": "/configmaps"},
        ],
    }
    spec = {
        "serviceAccountName": "gitlab-admin",
        "securityContext": {"runAsUser": 100, "fsGroup": 65533},
        "containers": [container],
        "volumes": [
            {"name": "etc", "emptyDir": {"medium": "Memory"}},
            {"name": "configmaps", "configMap": {"name": "gitlab-runner-config"}},
        ],
    }
    objects = of_the_notes(cluster, gitlab)
    for each in objects:
        if each["kind"] == "ConfigMap":
            each["data"] = files
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 1
            each["spec"]["template"]["spec"] = spec
    return objects


@pytest.mark.usefixtures("clean")
async def test_deployment_of_the_originals_chart_works_with_this_image(cluster: Cluster) -> None:
    """It registers with a template, serves as any user, its probe finds the process, and TERM lets jobs end."""
    async with GitLabServer(host=cluster.host) as gitlab:
        await create(cluster, as_in_the_originals_chart(cluster, gitlab))
        await kubectl(cluster, "rollout", "status", "deployment/gitlab-runner", "--timeout=60s")
        job = gitlab.queue(script=["echo begun", "sleep 6"], image=cluster.busybox_image, variables=NO_SOURCES)
        await job.wait(lambda job: "begun" in job.text.splitlines(), timeout=60)
        await kubectl(cluster, "delete", "deployment/gitlab-runner", "--wait=false")
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        await kubectl(cluster, "wait", "--for=delete", "pod", "-l", "name=gitlab-runner", "--timeout=60s")
        assert gitlab.violations == []


SEEN = "import ssl; print([one['subject'] for one in ssl.create_default_context().get_ca_certs() if 'A4' in str(one)])"


@pytest.mark.parametrize("user", [0, 65532])
@pytest.mark.usefixtures("clean")
async def test_mounted_authority_is_trusted(cluster: Cluster, user: int, tmp_path: Path) -> None:
    """`/etc/gitlab-runner/certs/ca.crt` goes to the system's certificates, or beside them where these are another's."""
    certificate = tmp_path / "ca.crt"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -days 2 -subj /CN=A4"
    await anyio.run_process([*make.split(), "-out", str(certificate)])
    mount = {"name": "certs", "mountPath": "/etc/gitlab-runner/certs"}
    container = {
        "name": "gitlab-runner",
        "image": cluster.helper_image,
        "args": ["/opt/runner/bin/python3", "-c", SEEN],
        "securityContext": {"runAsUser": user},
        "volumeMounts": [mount],
    }
    volume = {"name": "certs", "configMap": {"name": "certs"}}
    name = f"trusts-{user}"
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "certs", "labels": MARK},
            "data": {"ca.crt": certificate.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": MARK},
            "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]},
        },
    ]
    await create(cluster, objects)
    await kubectl(cluster, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    assert "A4" in await kubectl(cluster, "logs", name)
