"""Each keyword that the published documents name, and how this project shows that it works.

A keyword is shown in the pod: the file with it gives a value at a place, the same file without it does not. One whose
effect lies elsewhere names its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A keyword whose effect stands in the pod."""

    toml: str
    """Lines with the keyword, below `[runners.kubernetes]`."""
    at: str
    """The place in the pod; `tests.manifests.at` reads it."""
    value: Any
    base: str = ""
    """Lines that the file has with and without the keyword."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The job's variables, with and without the keyword."""
    services: tuple[str, ...] = ()
    """The job's services."""
    required: bool = False
    """Whether the file is refused without the keyword."""


def _of_container(keyword: str, container: str, amount: str, **over: Any) -> Shown:
    """A keyword that sets one amount of a container's resources."""
    *_, resource, kind = keyword.rsplit("_", 2)
    services = ("redis:7",) if container.startswith("svc") else ()
    place = f"spec.containers.{container}.resources.{kind}s.{resource}"
    return Shown(f'{keyword} = "{amount}"', place, amount, services=services, **over)


def _raised(resource: str, kind: str, configured: str, asked: str, most: str) -> Shown:
    """A keyword that lets a job raise an amount of its build container."""
    key = f"{resource}_{kind}"
    return Shown(
        f'{key}_overwrite_max_allowed = "{most}"',
        f"spec.containers.build.resources.{kind}s.{resource}",
        asked,
        base=f'{key} = "{configured}"',
        variables={f"KUBERNETES_{key.upper()}": asked},
    )


_CONNECTION = {
    "host": "tests/seeds/test_seed_connection.py::test_host_and_ca_file_are_the_connection",
    "cert_file": "tests/seeds/test_seed_connection.py::test_client_certificate_is_shown_to_the_api_server",
    "key_file": "tests/seeds/test_seed_connection.py::test_client_certificate_is_shown_to_the_api_server",
    "ca_file": "tests/seeds/test_seed_connection.py::test_host_and_ca_file_are_the_connection",
}

OF_2016: dict[str, Shown | str] = {
    **_CONNECTION,
    "namespace": Shown('namespace = "gitlab"', "metadata.namespace", "gitlab"),
    "allow_privileged": Shown(
        "allow_privileged = true",
        "spec.containers.build.securityContext.privileged",
        True,
        variables={"privileged": "true"},
    ),
    "cpus": Shown('cpus = "750m"', "spec.containers.build.resources.limits.cpu", "750m"),
    "memory": Shown('memory = "250m"', "spec.containers.build.resources.limits.memory", "250m"),
    "service_cpus": Shown(
        'service_cpus = "1000m"', "spec.containers.svc-0.resources.limits.cpu", "1000m", services=("redis:7",)
    ),
    "service_memory": Shown(
        'service_memory = "450m"', "spec.containers.svc-0.resources.limits.memory", "450m", services=("redis:7",)
    ),
}

OF_2020: dict[str, Shown | str] = {
    **_CONNECTION,
    "namespace": Shown('namespace = "ci"', "metadata.namespace", "ci"),
    "namespace_overwrite_allowed": Shown(
        'namespace_overwrite_allowed = "ci-.*"',
        "metadata.namespace",
        "ci-main",
        base='namespace = "gitlab"',
        variables={"KUBERNETES_NAMESPACE_OVERWRITE": "ci-${CI_COMMIT_REF_SLUG}"},
    ),
    "privileged": Shown("privileged = true", "spec.containers.build.securityContext.privileged", True),
    "cpu_limit": _of_container("cpu_limit", "build", "1"),
    "cpu_limit_overwrite_max_allowed": _raised("cpu", "limit", "1", "5", "6"),
    "memory_limit": _of_container("memory_limit", "build", "1Gi"),
    "memory_limit_overwrite_max_allowed": _raised("memory", "limit", "1Gi", "4Gi", "8Gi"),
    "service_cpu_limit": _of_container("service_cpu_limit", "svc-0", "1"),
    "service_memory_limit": _of_container("service_memory_limit", "svc-0", "1Gi"),
    "helper_cpu_limit": _of_container("helper_cpu_limit", "helper", "500m"),
    "helper_memory_limit": _of_container("helper_memory_limit", "helper", "100Mi"),
    "cpu_request": _of_container("cpu_request", "build", "250m"),
    "cpu_request_overwrite_max_allowed": _raised("cpu", "request", "1", "3", "4"),
    "memory_request": _of_container("memory_request", "build", "256Mi"),
    "memory_request_overwrite_max_allowed": _raised("memory", "request", "1Gi", "2Gi", "2048Mi"),
    "service_cpu_request": _of_container("service_cpu_request", "svc-0", "150m"),
    "service_memory_request": _of_container("service_memory_request", "svc-0", "256Mi"),
    "helper_cpu_request": _of_container("helper_cpu_request", "helper", "150m"),
    "helper_memory_request": _of_container("helper_memory_request", "helper", "100Mi"),
    "pull_policy": Shown('pull_policy = "if-not-present"', "spec.containers.build.imagePullPolicy", "IfNotPresent"),
    "node_selector": Shown('[runners.kubernetes.node_selector]\n"role" = "ci"', "spec.nodeSelector", {"role": "ci"}),
    "node_tolerations": Shown(
        '[runners.kubernetes.node_tolerations]\n"node-role.kubernetes.io/master" = "NoSchedule"\n'
        '"custom.toleration=value" = "NoSchedule"\n"empty.value=" = "PreferNoSchedule"\n"onlyKey" = ""',
        "spec.tolerations",
        [
            {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "custom.toleration", "operator": "Equal", "value": "value", "effect": "NoSchedule"},
            {"key": "empty.value", "operator": "Equal", "value": "", "effect": "PreferNoSchedule"},
            {"key": "onlyKey", "operator": "Exists"},
        ],
    ),
    "image_pull_secrets": Shown('image_pull_secrets = ["hub"]', "spec.imagePullSecrets", [{"name": "hub"}]),
    "helper_image": Shown(
        'helper_image = "registry.example.com/helper:latest"',
        "spec.containers.helper.image",
        "registry.example.com/helper:latest",
    ),
    "terminationGracePeriodSeconds": Shown(
        "terminationGracePeriodSeconds = 10", "spec.terminationGracePeriodSeconds", 10
    ),
    "poll_interval": "tests/seeds/test_seed_connection.py::test_poll_interval_is_the_time_between_two_looks",
    "poll_timeout": "tests/executor/test_watching.py::test_until_running_when_it_never_will[unschedulable]",
    "pod_labels": Shown(
        '[runners.kubernetes.pod_labels]\n"team" = "team-of-$CI_PROJECT_NAME"', "metadata.labels.team", "team-of-demo"
    ),
    "pod_annotations": Shown(
        '[runners.kubernetes.pod_annotations]\n"job" = "job $CI_JOB_ID"', "metadata.annotations.job", "job 4711"
    ),
    "pod_annotations_overwrite_allowed": Shown(
        'pod_annotations_overwrite_allowed = ".*"',
        "metadata.annotations.Key1",
        "Val1",
        variables={"KUBERNETES_POD_ANNOTATIONS_1": "Key1=Val1"},
    ),
    "pod_security_context": Shown(
        "[runners.kubernetes.pod_security_context]\nrun_as_user = 59417", "spec.securityContext", {"runAsUser": 59417}
    ),
    "service_account": Shown('service_account = "builder"', "spec.serviceAccountName", "builder"),
    "service_account_overwrite_allowed": Shown(
        'service_account_overwrite_allowed = "ci-.*"',
        "spec.serviceAccountName",
        "ci-service-account",
        variables={"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "ci-service-account"},
    ),
    "bearer_token": "tests/seeds/test_seed_connection.py::test_bearer_token_goes_with_every_request",
    "bearer_token_overwrite_allowed": "tests/seeds/test_seed_connection.py::test_job_brings_its_own_bearer_token",
    "volumes": "tests/seeds/test_seed_pods.py::test_volumes_of_the_manual_stand_in_the_pod",
    "services": Shown(
        '[[runners.kubernetes.services]]\nname = "postgres:12-alpine"\nalias = "db1"',
        "spec.containers.db1.image",
        "postgres:12-alpine",
    ),
}

OF_2018: dict[str, Shown | str] = {
    key: OF_2020[key]
    for key in (
        "host",
        "cert_file",
        "key_file",
        "ca_file",
        "namespace",
        "namespace_overwrite_allowed",
        "privileged",
        "cpu_limit",
        "memory_limit",
        "service_cpu_limit",
        "service_memory_limit",
        "helper_cpu_limit",
        "helper_memory_limit",
        "poll_interval",
        "poll_timeout",
        "node_selector",
        "service_account_overwrite_allowed",
    )
}


def _volume(kind: str, lines: str, at: str, value: Any) -> Shown:
    """An option of a volume, beside the two that each volume has."""
    needed = {"name": 'name = "v"', "mount_path": 'mount_path = "/v"'}
    first = lines.partition(" ")[0]
    base = "\n".join(
        (f"[[runners.kubernetes.volumes.{kind}]]", *(each for key, each in needed.items() if key != first))
    )
    return Shown(lines, at, value, base=base, required=first in needed)


_MOUNT = "spec.containers.build.volumeMounts"

VOLUME_OPTIONS: dict[str, dict[str, Shown]] = {
    "Host Path": {
        "name": _volume("host_path", 'name = "other"', f"{_MOUNT}.other.mountPath", "/v"),
        "mount_path": _volume("host_path", 'mount_path = "/other"', f"{_MOUNT}.v.mountPath", "/other"),
        "host_path": _volume("host_path", 'host_path = "/on/host"', "spec.volumes.v.hostPath.path", "/on/host"),
        "read_only": _volume("host_path", "read_only = true", f"{_MOUNT}.v.readOnly", True),
    },
    "PVC": {
        "name": _volume("pvc", 'name = "claim"', "spec.volumes.claim.persistentVolumeClaim.claimName", "claim"),
        "mount_path": _volume("pvc", 'mount_path = "/other"', f"{_MOUNT}.v.mountPath", "/other"),
        "read_only": _volume("pvc", "read_only = true", f"{_MOUNT}.v.readOnly", True),
    },
    "ConfigMap": {
        "name": _volume("config_map", 'name = "settings"', "spec.volumes.settings.configMap.name", "settings"),
        "mount_path": _volume("config_map", 'mount_path = "/other"', f"{_MOUNT}.v.mountPath", "/other"),
        "read_only": _volume("config_map", "read_only = true", f"{_MOUNT}.v.readOnly", True),
        "items": _volume(
            "config_map",
            '[runners.kubernetes.volumes.config_map.items]\n"key_1" = "relative/path"',
            "spec.volumes.v.configMap.items",
            [{"key": "key_1", "path": "relative/path"}],
        ),
    },
    "Secret": {
        "name": _volume("secret", 'name = "keys"', "spec.volumes.keys.secret.secretName", "keys"),
        "mount_path": _volume("secret", 'mount_path = "/other"', f"{_MOUNT}.v.mountPath", "/other"),
        "read_only": _volume("secret", "read_only = true", f"{_MOUNT}.v.readOnly", True),
        "items": _volume(
            "secret",
            '[runners.kubernetes.volumes.secret.items]\n"secret_1" = "relative/path"',
            "spec.volumes.v.secret.items",
            [{"key": "secret_1", "path": "relative/path"}],
        ),
    },
    "Empty Dir": {
        "name": _volume("empty_dir", 'name = "scratch"', "spec.volumes.scratch.emptyDir", {}),
        "mount_path": _volume("empty_dir", 'mount_path = "/other"', f"{_MOUNT}.v.mountPath", "/other"),
        "medium": _volume("empty_dir", 'medium = "Memory"', "spec.volumes.v.emptyDir.medium", "Memory"),
    },
}
"""By the heading of each table of options."""


def _of_pod(line: str, field_name: str, value: Any) -> Shown:
    """An option of the pod's security context."""
    return Shown(f"[runners.kubernetes.pod_security_context]\n{line}", f"spec.securityContext.{field_name}", value)


SECURITY_OPTIONS: dict[str, Shown] = {
    "fs_group": _of_pod("fs_group = 59417", "fsGroup", 59417),
    "run_as_group": _of_pod("run_as_group = 59417", "runAsGroup", 59417),
    "run_as_non_root": _of_pod("run_as_non_root = true", "runAsNonRoot", True),
    "run_as_user": _of_pod("run_as_user = 59417", "runAsUser", 59417),
    "supplemental_groups": _of_pod("supplemental_groups = [1, 2]", "supplementalGroups", [1, 2]),
}

VARIABLES: dict[str, Shown | str] = {
    "KUBERNETES_NAMESPACE_OVERWRITE": OF_2020["namespace_overwrite_allowed"],
    "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": OF_2020["service_account_overwrite_allowed"],
    "KUBERNETES_BEARER_TOKEN": OF_2020["bearer_token_overwrite_allowed"],
    "KUBERNETES_POD_ANNOTATIONS_": OF_2020["pod_annotations_overwrite_allowed"],
    "KUBERNETES_CPU_REQUEST": OF_2020["cpu_request_overwrite_max_allowed"],
    "KUBERNETES_CPU_LIMIT": OF_2020["cpu_limit_overwrite_max_allowed"],
    "KUBERNETES_MEMORY_REQUEST": OF_2020["memory_request_overwrite_max_allowed"],
    "KUBERNETES_MEMORY_LIMIT": OF_2020["memory_limit_overwrite_max_allowed"],
}
"""Variables of a job that the documents name."""

_ENVIRONMENT = "tests/seeds/test_seed_environment.py"

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "KUBERNETES_SERVICE_ACCOUNT": "service_account",
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE_ALLOWED": "service_account_overwrite_allowed",
        "KUBERNETES_NAMESPACE": "namespace",
        "KUBERNETES_PRIVILEGED": "privileged",
        "KUBERNETES_CPU_REQUEST": "cpu_request",
        "KUBERNETES_MEMORY_REQUEST": "memory_request",
        "KUBERNETES_CPU_LIMIT": "cpu_limit",
        "KUBERNETES_MEMORY_LIMIT": "memory_limit",
        "KUBERNETES_SERVICE_CPU_REQUEST": "service_cpu_request",
        "KUBERNETES_SERVICE_MEMORY_REQUEST": "service_memory_request",
        "KUBERNETES_SERVICE_CPU_LIMIT": "service_cpu_limit",
        "KUBERNETES_SERVICE_MEMORY_LIMIT": "service_memory_limit",
        "KUBERNETES_HELPER_CPU_REQUEST": "helper_cpu_request",
        "KUBERNETES_HELPER_MEMORY_REQUEST": "helper_memory_request",
        "KUBERNETES_HELPER_CPU_LIMIT": "helper_cpu_limit",
        "KUBERNETES_HELPER_MEMORY_LIMIT": "helper_memory_limit",
        "KUBERNETES_PULL_POLICY": "pull_policy",
        "KUBERNETES_TERMINATIONGRACEPERIODSECONDS": "terminationGracePeriodSeconds",
        "KUBERNETES_POLL_INTERVAL": "poll_interval",
        "KUBERNETES_POLL_TIMEOUT": "poll_timeout",
    }
)
"""Environment names of keys, for `register` and its like, with the key of each."""

OF_REGISTRATION = frozenset(
    {
        "REGISTER_NON_INTERACTIVE",
        "REGISTER_LOCKED",
        "CI_SERVER_URL",
        "METRICS_SERVER",
        "RUNNER_REQUEST_CONCURRENCY",
        "RUNNER_EXECUTOR",
        "RUNNER_NAME",
        "GITLAB_CI_TOKEN",
    }
)
"""Environment names that speak to `register` and to the post's own script, not to this executor."""
