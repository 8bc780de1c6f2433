"""The pods that the published config.toml files give, and what jobs of the published `.gitlab-ci.yml` files get."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runner.job.outcome import JobConfigurationError
from tests.manifests import ABSENT, KUBERNETES, made
from tests.seeds.published import block, completed


def resources_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The resources of each container."""
    return {each["name"]: each.get("resources", {}) for each in pod["spec"]["containers"]}


def variables_of(name: str) -> dict[str, str]:
    """The variables of a published `.gitlab-ci.yml`."""
    return {key: str(value) for key, value in yaml.safe_load(block(name))["variables"].items()}


# Files


def test_file_of_2016_limits_its_containers() -> None:
    """Former names reach build and services; the helper, which there was none of then, has no limits."""
    pod = made(completed("000-example.toml"), services=["redis:7"]).pod
    assert pod["metadata"]["namespace"] == "gitlab"
    assert resources_of(pod) == {
        "build": {"limits": {"cpu": "750m", "memory": "250m"}},
        "helper": {},
        "svc-0": {"limits": {"cpu": "1000m", "memory": "450m"}},
    }


@pytest.mark.parametrize(("asked", "privileged"), [("", ABSENT), ("false", ABSENT), ("true", True), ("TRUE", True)])
def test_file_of_2016_lets_jobs_ask_for_privileges(asked: str, privileged: Any) -> None:
    """`allow_privileged` was a permission: containers are privileged where the job says so."""
    result = made(completed("000-example.toml"), variables={"privileged": asked} if asked else {})
    assert result.at("spec.containers.build.securityContext.privileged") == privileged
    assert result.at("spec.containers.helper.securityContext.privileged") == privileged


def test_job_that_asks_for_privileges_in_vain_fails() -> None:
    """Without the permission of 2016 the variable fails the job; without the key of 2016 it means nothing."""
    forbidden = completed("000-example.toml").replace("allow_privileged = true", "allow_privileged = false")
    with pytest.raises(JobConfigurationError, match="privileged"):
        made(forbidden, variables={"privileged": "true"})
    without = completed("000-example.toml").replace("    allow_privileged = true\n", "")
    assert made(without, variables={"privileged": "true"}).at(PRIVILEGED) == ABSENT


PRIVILEGED = "spec.containers.build.securityContext.privileged"


@pytest.mark.parametrize("name", ["001-example.toml", "004-example.toml"])
def test_files_of_2018_and_2020_make_the_same_pod(name: str) -> None:
    """Limits of each kind of container, privileges for all of them, the node's label."""
    pod = made(completed(name), services=["redis:7"]).pod
    assert pod["metadata"]["namespace"] == "gitlab"
    assert resources_of(pod) == {
        "build": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "helper": {"limits": {"cpu": "500m", "memory": "100Mi"}},
        "svc-0": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    assert all(each["securityContext"]["privileged"] is True for each in pod["spec"]["containers"])
    assert pod["spec"]["nodeSelector"] == {"gitlab": "true"}


def test_volumes_of_the_manual_stand_in_the_pod() -> None:
    """Every kind of volume of the manual is in the pod and in each container, read-only where it says so."""
    pod = made(completed("001-volumes.toml"), services=["redis:7"]).pod
    assert pod["spec"]["volumes"] == [
        {"name": "hostpath-1", "hostPath": {"path": "/path/on/host"}},
        {"name": "hostpath-2", "hostPath": {"path": "/path/to/mount/point_2"}},
        {
            "name": "secrets",
            "secret": {
                "secretName": "secrets",
                "items": [{"key": "secret_1", "path": "relative/path/to/secret_1_file"}],
            },
        },
        {"name": "pvc-1", "persistentVolumeClaim": {"claimName": "pvc-1"}},
        {
            "name": "config-map-1",
            "configMap": {
                "name": "config-map-1",
                "items": [
                    {"key": "key_1", "path": "relative/path/to/key_1_file"},
                    {"key": "key_2", "path": "key_2"},
                ],
            },
        },
        {"name": "empty-dir", "emptyDir": {"medium": "Memory"}},
        {"name": "repo", "emptyDir": {}},
        {"name": "scripts", "emptyDir": {}},
        {"name": "logs", "emptyDir": {}},
    ]
    configured = [
        {"name": "hostpath-1", "mountPath": "/path/to/mount/point", "readOnly": True},
        {"name": "hostpath-2", "mountPath": "/path/to/mount/point_2", "readOnly": True},
        {"name": "secrets", "mountPath": "/path/to/directory1", "readOnly": True},
        {"name": "pvc-1", "mountPath": "/path/to/mount/point1"},
        {"name": "config-map-1", "mountPath": "/path/to/directory"},
        {"name": "empty-dir", "mountPath": "/path/to/empty_dir"},
    ]
    ours = {"scripts", "logs", "repo"}
    for container in pod["spec"]["containers"]:
        assert [mount for mount in container["volumeMounts"] if mount["name"] not in ours] == configured


def test_security_context_of_the_manual_is_the_pods() -> None:
    """User and group of the pod are those of each container too, and the helper is the image that suits them."""
    pod = made(completed("001-security-context.toml")).pod
    assert pod["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 59417,
        "runAsGroup": 59417,
        "fsGroup": 59417,
    }
    for container in pod["spec"]["containers"]:
        context = container["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (59417, 59417)
    assert pod["spec"]["containers"][1]["image"] == "gitlab-registy.example.com/helper:latest"


def test_services_of_the_manual_run_beside_the_job() -> None:
    """Each is a container named after its alias, found by its alias and its image's name; the job's own come behind."""
    pod = made(completed("001-services.toml"), services=["redis:7"]).pod
    names = {each["name"]: each["image"] for each in pod["spec"]["containers"][2:]}
    assert names == {"db1": "postgres:12-alpine", "db2": "percona:latest", "svc-0": "redis:7"}
    assert pod["spec"]["hostAliases"] == [
        {"ip": "127.0.0.1", "hostnames": ["postgres", "db1", "percona", "db2", "redis"]}
    ]


# Jobs

OVERWRITABLE = {
    "001-namespace.gitlab-ci.yml": ("metadata.namespace", "ci-main"),
    "001-service-account.gitlab-ci.yml": ("spec.serviceAccountName", "ci-service-account"),
    "001-annotations.gitlab-ci.yml": ("metadata.annotations.Key3", "Val3"),
    "001-resources.gitlab-ci.yml": (
        "spec.containers.build.resources",
        {"limits": {"cpu": "5", "memory": "4Gi"}, "requests": {"cpu": "3", "memory": "2Gi"}},
    ),
}
GUARDS = """\
namespace_overwrite_allowed = "ci-.*"
service_account_overwrite_allowed = "ci-.*"
pod_annotations_overwrite_allowed = ".*"
cpu_request_overwrite_max_allowed = "4"
cpu_limit_overwrite_max_allowed = "8"
memory_request_overwrite_max_allowed = "4Gi"
memory_limit_overwrite_max_allowed = "8Gi"
"""


@pytest.mark.parametrize("name", OVERWRITABLE)
def test_published_job_overwrites_what_it_may(name: str) -> None:
    """With the manual's guards the job's variables count; without them they do nothing."""
    place, value = OVERWRITABLE[name]
    assert made(KUBERNETES + GUARDS, variables=variables_of(name)).at(place) == value
    assert made(KUBERNETES, variables=variables_of(name)).at(place) != value


def test_published_job_fails_when_it_asks_for_too_much() -> None:
    """More than the guard lets, and nothing is created."""
    with pytest.raises(JobConfigurationError, match=r"higher than limit allowed \"2\""):
        made(
            KUBERNETES + 'cpu_request_overwrite_max_allowed = "2"',
            variables=variables_of("001-resources.gitlab-ci.yml"),
        )


def test_published_bearer_token_stands_in_no_manifest() -> None:
    """The job's token is for the connection alone."""
    variables = variables_of("001-bearer-token.gitlab-ci.yml")
    entries = [{"key": key, "value": value, "public": False, "masked": True} for key, value in variables.items()]
    result = made(KUBERNETES + "bearer_token_overwrite_allowed = true", variables=entries)
    assert result.request.kubernetes.bearer_token == "thebearertokenfromanothernamespace"
    assert "thebearertoken" not in str(result.objects)
    assert "thebearertoken" not in str(result.notes)
