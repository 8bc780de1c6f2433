"""A service's environment, and the Secret for what must not stand in the pod."""

from typing import Any

import pytest

from runner.job.payload import Job, JobVariable
from runner.job.variables import Variable, Variables
from runner.podspec.environment import build_environment, build_environment_secret, build_service_environment
from runner.podspec.pod import build_pod, pod_warnings
from runner.podspec.services import pod_services

NAME = "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4-environment"

VARIABLES = Variables(
    (
        Variable("REGION", "north", public=True),
        Variable("TEAM", "checkout"),
        Variable("DB_PASSWORD", "hunter2hunter2", masked=True),
    )
)


def service(make_request: Any, *variables: dict[str, Any]) -> Any:
    """A request with one service that has these variables."""
    payload = [JobVariable(**each).model_dump() for each in variables]
    return make_request(job={"services": [{"name": "db", "variables": payload}]}, variables=VARIABLES)


def test_service_environment_when_nothing_is_private(make_request: Any) -> None:
    """The build's variables, overridden in their place by the service's own, expanded and escaped."""
    request = service(
        make_request,
        {"key": "MODE", "value": "fast $REGION"},
        {"key": "REGION", "value": "south"},
        {"key": "COST", "value": "5$", "raw": True},
        {"key": "bad name", "value": "x"},
    )

    assert build_service_environment(request.services[0], request, build_environment(request.variables)) == [
        {"name": "REGION", "value": "south"},
        {"name": "MODE", "value": "fast north"},
        {"name": "COST", "value": "5$$"},
    ]
    assert build_environment_secret(request) is None


def test_service_environment_refers_to_a_secret_when_a_value_is_private(make_request: Any) -> None:
    """A masked value, and one that came from a variable that is not public, are kept in a Secret instead."""
    request = service(
        make_request,
        {"key": "PASSWORD", "value": "$DB_PASSWORD"},
        {"key": "OWNER", "value": "team $TEAM"},
        {"key": "LITERAL", "value": "xhunter2hunter2x", "raw": True},
        {"key": "MODE", "value": "fast"},
    )

    def reference(key: str) -> dict[str, Any]:
        return {"secretKeyRef": {"name": NAME, "key": key}}

    assert build_service_environment(request.services[0], request, build_environment(request.variables)) == [
        {"name": "REGION", "value": "north"},
        {"name": "PASSWORD", "valueFrom": reference("svc-0.0")},
        {"name": "OWNER", "valueFrom": reference("svc-0.1")},
        {"name": "LITERAL", "valueFrom": reference("svc-0.2")},
        {"name": "MODE", "value": "fast"},
    ]
    assert build_environment_secret(request) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": NAME,
            "namespace": "ci",
            "labels": {
                "job.runner.gitlab.com/id": "4711",
                "job.runner.gitlab.com/pod-name": "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4",
                "manager.runner.gitlab.com/system-id": "s_0123456789ab",
                "manager.runner.gitlab.com/id-short": "abcdefghi",
            },
            "annotations": {"job.runner.gitlab.com/expires-at": "2027-01-15T10:00:00Z"},
        },
        "type": "Opaque",
        "data": {
            "svc-0.0": "aHVudGVyMmh1bnRlcjI=",
            "svc-0.1": "dGVhbSBjaGVja291dA==",
            "svc-0.2": "eGh1bnRlcjJodW50ZXIyeA==",
        },
    }


def test_environment_never_holds_the_registries_passwords(make_request: Any) -> None:
    """DOCKER_AUTH_CONFIG stays out of the pod, under another name too; a service that wants it has a Secret."""
    auths = '{"auths": {"r.example.com": {"auth": "dTpw"}}}'
    variables = Variables(
        (
            Variable("DOCKER_AUTH_CONFIG", auths, public=True, internal=True),
            Variable("COPY", "x $DOCKER_AUTH_CONFIG", public=True),
            Variable("REGION", "north", public=True),
        )
    )
    wanted = [
        {"key": "DOCKER_AUTH_CONFIG", "value": "{}"},
        {"key": "CONFIG", "value": "$DOCKER_AUTH_CONFIG"},
    ]
    request = make_request(job={"services": [{"name": "dind", "variables": wanted}]}, variables=variables)
    assert build_environment(request.variables) == [{"name": "REGION", "value": "north"}]
    environment = build_service_environment(request.services[0], request, build_environment(request.variables))
    assert [entry["name"] for entry in environment if "valueFrom" in entry] == ["DOCKER_AUTH_CONFIG", "CONFIG"]


def test_environment_leaves_the_longest_out_when_there_is_no_room_for_all(make_request: Any) -> None:
    """A pod is an object of etcd, and what is in it is in each of its containers; services are told of."""
    medium = [Variable(f"MEDIUM{number}", "x" * 40_000, public=True) for number in range(10)]
    variables = Variables((*medium, Variable("SMALL", "s", public=True), Variable("LARGE", "x" * 100_000, public=True)))
    alone = make_request(variables=variables)
    services = pod_services((), Job.parse({"id": 1, "token": "t", "services": [{"name": "db"}]}), Variables())
    beside = make_request(variables=variables, services=services)

    assert [name for name in names(build_pod(alone), "build") if name[0] != "C"] == [
        *(f"MEDIUM{number}" for number in range(10)),
        "SMALL",
        "LARGE",
    ]
    assert pod_warnings(alone) == ()
    kept = [*(f"MEDIUM{number}" for number in range(4, 10)), "SMALL"]
    assert [name for name in names(build_pod(beside), "build") if name[0] != "C"] == kept
    assert [name for name in names(build_pod(beside), "svc-0") if name[0] != "C"] == kept
    assert pod_warnings(beside) == (
        "Too large for the pod, scripts have them and services do not: LARGE, MEDIUM0, MEDIUM1, MEDIUM2, MEDIUM3",
    )


@pytest.mark.parametrize(("length", "there"), [(131_065, True), (131_066, False)], ids=["just so", "too long"])
def test_environment_has_no_variable_with_which_no_container_starts(
    make_request: Any, length: int, there: bool
) -> None:
    """Linux takes 128 KiB of one."""
    request = make_request(variables=Variables((Variable("LARGE", "x" * length, public=True),)))

    assert ("LARGE" in names(build_pod(request), "build")) is there


def names(pod: Any, container: str) -> list[str]:
    """The names of a container's variables, in order."""
    (found,) = (each for each in pod["spec"]["containers"] if each["name"] == container)
    return [entry["name"] for entry in found.get("env", [])]
