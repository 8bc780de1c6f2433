"""`image:kubernetes:user` and `services:kubernetes:user`, from the payload to the containers."""

from __future__ import annotations

from typing import Any

import pytest

from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.podspec.pod import build_pod, pod_warnings
from runner.podspec.request import PodRequest
from runner.podspec.services import pod_services

VARIABLES = Variables((Variable("UID", "1000"), Variable("PAIR", "1000:1001")))


def image(user: object, name: str = "busybox") -> dict[str, Any]:
    """An image of the payload that asks for a user."""
    return {"name": name, "executor_opts": {"kubernetes": {"user": user}}}


def requested(make_request: Any, build: object, service: object, kubernetes: dict[str, Any]) -> PodRequest:
    """A request for a pod with one service, `svc-0`."""
    job = {"image": image(build), "services": [image(service, "redis")]}
    services = pod_services((), Job.parse({"id": 1, "token": "t", **job}), VARIABLES)
    request: PodRequest = make_request(job=job, kubernetes=kubernetes, variables=VARIABLES, services=services)
    return request


def users(request: PodRequest) -> dict[str, tuple[int | None, int | None]]:
    """User and group of each container."""
    contexts = {each["name"]: each["securityContext"] for each in build_pod(request)["spec"]["containers"]}
    return {name: (context.get("runAsUser"), context.get("runAsGroup")) for name, context in contexts.items()}


@pytest.mark.parametrize(
    ("build", "service", "kubernetes", "expected"),
    [
        ("", "", {}, {"build": (None, None), "svc-0": (None, None)}),
        ("1000", "7:8", {}, {"build": (1000, None), "svc-0": (7, 8)}),
        (1000, 7, {}, {"build": (1000, None), "svc-0": (7, None)}),
        ("$PAIR", "${UID}:5", {}, {"build": (1000, 1001), "svc-0": (1000, 5)}),
        ("0:0", "0", {"allowed_users": ["0"], "allowed_groups": ["0"]}, {"build": (0, 0), "svc-0": (0, None)}),
        (
            "1000:1001",
            "1001:1000",
            {"allowed_users": ["1000"], "allowed_groups": ["1001"]},
            {"build": (1000, 1001), "svc-0": (None, None)},
        ),
        (
            "5",
            "6",
            {"pod_security_context": {"run_as_user": 9}, "service_container_security_context": {"run_as_user": 0}},
            {"build": (9, None), "svc-0": (0, None)},
        ),
    ],
    ids=["none", "texts", "numbers", "expanded", "root by name", "lists", "operator"],
)
def test_containers_run_as_the_users_that(
    make_request: Any, build: object, service: object, kubernetes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The operator's word goes first, then the job's within the lists; the helper never takes the job's."""
    found = users(requested(make_request, build, service, kubernetes))
    pod_user = kubernetes.get("pod_security_context", {}).get("run_as_user")
    assert found == {**expected, "helper": (pod_user or 0, None)}


def test_log_says_what_was_asked_for_in_vain(make_request: Any) -> None:
    """Once for each container, and the job goes on."""
    request = requested(make_request, "1000", "$UID:0", {"allowed_users": ["7"], "allowed_groups": ["x"]})
    assert pod_warnings(request) == (
        "Error parsing 'uid' from image options for container \"build\", "
        "using the configured security context: 1000 is not in the list of allowed ones",
        "Error parsing 'uid' from image options for container \"svc-0\", "
        "using the configured security context: 1000 is not in the list of allowed ones",
        'allowed_groups: "x" is left out, it is no number of a user or group',
        "Error parsing 'gid' from image options for container \"svc-0\", "
        "using the configured security context: 0 (root) has to be allowed by name",
    )
