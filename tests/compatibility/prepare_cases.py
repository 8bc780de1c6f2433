"""The rows of `TestPrepare` that show in the pod or end the job. Names are those of the table, values are ours."""

from __future__ import annotations

from runner.testing.payloads import image, variable
from tests.compatibility.cases import Case
from tests.manifests import ABSENT

BUILD, HELPER, SERVICE = "spec.containers.build", "spec.containers.helper", "spec.containers.svc-0"
K = "runners.kubernetes"
ONE_SERVICE = {"services": ["redis:7"]}
LIMITS = """
cpu_limit = "1.5"
memory_limit = "4Gi"
ephemeral_storage_limit = "6Gi"
service_cpu_limit = "100m"
service_memory_limit = "200Mi"
service_ephemeral_storage_limit = "300Mi"
helper_cpu_limit = "50m"
helper_memory_limit = "100Mi"
helper_ephemeral_storage_limit = "200Mi"
"""
REQUESTS = """
cpu_request = "1"
memory_request = "1.5Gi"
ephemeral_storage_request = "1.3Gi"
service_cpu_request = "99m"
service_memory_request = "5Mi"
service_ephemeral_storage_request = "15Mi"
helper_cpu_request = "0.5m"
helper_memory_request = "42Mi"
helper_ephemeral_storage_request = "99Mi"
"""
_LIMITS = {
    BUILD: {"cpu": "1.5", "memory": "4Gi", "ephemeral-storage": "6Gi"},
    SERVICE: {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "300Mi"},
    HELPER: {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "200Mi"},
}
_REQUESTS = {
    BUILD: {"cpu": "1", "memory": "1.5Gi", "ephemeral-storage": "1.3Gi"},
    SERVICE: {"cpu": "99m", "memory": "5Mi", "ephemeral-storage": "15Mi"},
    HELPER: {"cpu": "0.5m", "memory": "42Mi", "ephemeral-storage": "99Mi"},
}
OWN_AMOUNTS = [
    variable("KUBERNETES_SERVICE_CPU_LIMIT", "2"),
    variable("KUBERNETES_SERVICE_MEMORY_REQUEST", "128Mi"),
]
"""Variables of one service."""

PREPARE_CASES: dict[str, Case] = {
    "all with limits": Case(
        LIMITS,
        job=ONE_SERVICE,
        pod={f"{container}.resources": {"limits": amounts} for container, amounts in _LIMITS.items()},
    ),
    "all with limits and requests": Case(
        LIMITS + REQUESTS,
        job=ONE_SERVICE,
        pod={
            f"{container}.resources": {"limits": amounts, "requests": _REQUESTS[container]}
            for container, amounts in _LIMITS.items()
        },
    ),
    "minimal configuration": Case(
        job=ONE_SERVICE,
        pod={
            "metadata.namespace": "default",
            "spec.serviceAccountName": ABSENT,
            f"{BUILD}.resources": ABSENT,
            f"{BUILD}.imagePullPolicy": ABSENT,
            f"{HELPER}.resources": ABSENT,
            f"{SERVICE}.resources": ABSENT,
        },
    ),
    "unmatched service account": Case(
        'service_account = "default"\nservice_account_overwrite_allowed = "allowed-.*"',
        job={"variables": {"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "not-allowed"}},
        error='couldn\'t prepare overwrites: provided value "not-allowed" does not match "allowed-.*"',
    ),
    "regexp match on service account and namespace": Case(
        'namespace = "default"\nnamespace_overwrite_allowed = "^n.*?e$"\n'
        'service_account = "default"\nservice_account_overwrite_allowed = ".*"',
        job={
            "variables": {
                "KUBERNETES_NAMESPACE_OVERWRITE": "new-namespace-name",
                "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "a_service_account",
            }
        },
        error="a_service_account",
    ),
    "regexp match on namespace": Case(
        'namespace = "default"\nnamespace_overwrite_allowed = "^n.*?e$"',
        job={"variables": {"KUBERNETES_NAMESPACE_OVERWRITE": "new-namespace-name"}},
        pod={"metadata.namespace": "new-namespace-name"},
        notes=("new-namespace-name",),
    ),
    "namespace isolation": Case(
        'namespace = "default"\nnamespace_per_job = true\nnamespace_overwrite_allowed = ".*"',
        job={"variables": {"KUBERNETES_NAMESPACE_OVERWRITE": "another"}},
        pod={"metadata.namespace": "ci-job-4711"},
    ),
    "image and one service": Case(
        job={"image": "test-image", "services": [image("test-service", entrypoint=["/init", "run"])]},
        pod={
            f"{BUILD}.image": "test-image",
            f"{SERVICE}.image": "test-service",
            f"{SERVICE}.command": ["/init", "run"],
        },
    ),
    "merged services": Case(
        f'[[{K}.services]]\nname = "test-service-k8s"\nalias = "alias"\n[[{K}.services]]\nname = "test-service-k8s2"\n'
        f'[[{K}.services]]\nname = ""\n[[{K}.services]]\nname = "test-service-k8s3"\n'
        'command = ["application", "--debug"]\n[[runners.kubernetes.services]]\nname = "test-service-k8s4"\n'
        'entrypoint = ["application", "--debug"]',
        job={"services": [image("test-service", alias="test-alias"), image("")]},
        pod={
            "spec.containers.alias.image": "test-service-k8s",
            "spec.containers.svc-0.image": "test-service-k8s2",
            "spec.containers.svc-1.args": ["application", "--debug"],
            "spec.containers.svc-2.command": ["application", "--debug"],
            "spec.containers.test-alias.image": "test-service",
            "spec.containers.7": ABSENT,
        },
    ),
    "service resources with guards": Case(
        'service_cpu_limit = "1"\nservice_cpu_limit_overwrite_max_allowed = "4"\n'
        'service_memory_request = "64Mi"\nservice_memory_request_overwrite_max_allowed = "1Gi"',
        job={"services": [image("redis:7", variables=OWN_AMOUNTS), image("busybox:1", alias="other")]},
        pod={
            f"{SERVICE}.resources": {"limits": {"cpu": "2"}, "requests": {"memory": "128Mi"}},
            "spec.containers.other.resources": {"limits": {"cpu": "1"}, "requests": {"memory": "64Mi"}},
        },
    ),
    "service resources without guards": Case(
        'service_cpu_limit = "1"',
        job={"services": [image("redis:7", variables=OWN_AMOUNTS)]},
        pod={f"{SERVICE}.resources": {"limits": {"cpu": "1"}}},
    ),
    "service resources with guards and without defaults": Case(
        'service_cpu_limit_overwrite_max_allowed = "4"',
        job={"services": [image("redis:7", variables=OWN_AMOUNTS)]},
        pod={f"{SERVICE}.resources": {"limits": {"cpu": "2"}}},
    ),
    "invalid service resource": Case(
        'service_cpu_limit_overwrite_max_allowed = "4"',
        job={"services": [image("redis:7", variables=[variable("KUBERNETES_SERVICE_CPU_LIMIT", "much")])]},
        error="couldn't prepare explicit service overwrites: invalid service limits specified: parsing resource limit",
    ),
    "no image": Case(job={"image": None}, error="no image specified and no default set in config"),
    "image of the configuration": Case(
        'image = "ruby:$CI_JOB_ID"', job={"image": None}, pod={f"{BUILD}.image": "ruby:4711"}
    ),
    "helper image: default": Case(pod={f"{HELPER}.image": "runner:1.0.0"}),
    "helper image: flavor": Case(
        'helper_image_flavor = "ubuntu"',
        pod={
            f"{HELPER}.image": (
                "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:ubuntu-x86_64-latest"
            )
        },
    ),
    "helper image: arm by the node selector": Case(
        f'helper_image_flavor = "alpine"\n[{K}.node_selector]\n"kubernetes.io/arch" = "arm"',
        pod={f"{HELPER}.image": "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:arm-latest"},
    ),
    "helper image: arm64 by an overwritten node selector": Case(
        f'helper_image_flavor = "alpine"\nnode_selector_overwrite_allowed = ".*"\n[{K}.node_selector]\n'
        '"kubernetes.io/arch" = "amd64"',
        job={"variables": {"KUBERNETES_NODE_SELECTOR_ARCH": "kubernetes.io/arch=arm64"}},
        pod={f"{HELPER}.image": "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:arm64-latest"},
    ),
    "helper image: windows by the node selector": Case(
        f'[{K}.node_selector]\n"kubernetes.io/os" = "windows"', error='the pod would run on "windows"'
    ),
    "helper image: an unknown system by the node selector": Case(
        f'[{K}.node_selector]\n"kubernetes.io/os" = "plan9"', error='the pod would run on "plan9"'
    ),
    "builds_dir: default": Case(
        runner='builds_dir = "/custom"', pod={"spec.volumes.repo": {"name": "repo", "emptyDir": {}}}
    ),
    "builds_dir: an empty_dir of the configuration": Case(
        f'[[{K}.volumes.empty_dir]]\nname = "mine"\nmount_path = "/builds"',
        pod={"spec.volumes.mine.emptyDir": {}, "spec.volumes.repo": ABSENT},
    ),
    "builds_dir: a host_path of the configuration": Case(
        f'[[{K}.volumes.host_path]]\nname = "mine"\nmount_path = "/builds"\nhost_path = "/on/node"',
        pod={"spec.volumes.mine.hostPath.path": "/on/node", "spec.volumes.repo": ABSENT},
    ),
    "builds_dir: a pvc of the configuration": Case(
        f'[[{K}.volumes.pvc]]\nname = "mine"\nmount_path = "/builds"',
        pod={"spec.volumes.mine.persistentVolumeClaim.claimName": "mine", "spec.volumes.repo": ABSENT},
    ),
}
