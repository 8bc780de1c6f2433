"""The same tests on the embedded Kubernetes and on a real one.

A test takes `cluster` and opens `cluster.harness(...)` in its body. On the real cluster the images come from
`RUNNER_TEST_HELPER_IMAGE`, `RUNNER_TEST_BUSYBOX_IMAGE` and `RUNNER_TEST_DEBIAN_IMAGE`; pods reach this machine at
`RUNNER_TEST_HOST` or at the address that faces the first node.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.end_to_end.targets import Cluster


@pytest.fixture(scope="session")
def real_cluster(kubeconfig: str | None) -> Iterator[Cluster | None]:
    """The real cluster with a namespace of this run; None without one."""
    if kubeconfig is None:
        yield None
        return
    namespace = f"runner-tests-{uuid.uuid4().hex[:8]}"
    cluster = Cluster(
        kind="real",
        kubeconfig=kubeconfig,
        host=os.environ.get("RUNNER_TEST_HOST") or _facing_address(kubeconfig),
        namespace=namespace,
        helper_image=os.environ.get("RUNNER_TEST_HELPER_IMAGE", "localhost/runner:ci"),
        busybox_image=os.environ.get("RUNNER_TEST_BUSYBOX_IMAGE", "busybox:latest"),
        debian_image=os.environ.get("RUNNER_TEST_DEBIAN_IMAGE", "debian:stable-slim"),
    )
    cluster.kubectl("create", "namespace", namespace)
    # Pods are refused until the namespace has its service account.
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s", timeout=40)
    yield cluster
    cluster.forget_kept_folders()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on the embedded cluster, and on the real one where there is one; `--real-cluster`: there alone."""
    if "cluster" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    kinds = [] if option("--real-cluster") else ["embedded"]
    if option("--real-cluster") or option("--kubeconfig") or os.environ.get("KUBECONFIG"):
        kinds.append("real")
    wanted = metafunc.definition.get_closest_marker("only_on")
    if wanted:
        kinds = [kind for kind in kinds if kind in wanted.args]
    metafunc.parametrize("cluster", kinds, indirect=True)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster that this run of a test is for."""
    if request.param == "embedded":
        return Cluster(kind="embedded")
    real: Cluster | None = request.getfixturevalue("real_cluster")
    if real is None:
        pytest.fail("The real cluster's kubeconfig is not there.")
    return real


def _facing_address(kubeconfig: str) -> str:
    """The address of this machine from which it reaches the first node, which is where the node's pods find it."""
    found = subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", "get", "nodes", "-o", "json"], check=True, capture_output=True
    )
    addresses = json.loads(found.stdout)["items"][0]["status"]["addresses"]
    node = next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        address: str = probe.getsockname()[0]
    return address
