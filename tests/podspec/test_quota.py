"""What a pod counts for, and whether quotas have room for it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from runner.podspec.quota import full_quota, never_fits, usage_of


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod whose containers have these resources."""
    return {"spec": {"containers": [{"resources": resources} for resources in containers], **spec}}


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A quota and what is used of it."""
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


def requests(**amounts: str) -> dict[str, Any]:
    """A container's resources with these requests."""
    return {"requests": amounts}


ALONE = {"pods": 1, "count/pods": 1, "secrets": 2, "count/secrets": 2}
USAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing asked for": (pod({}), {}),
    "containers are added": (
        pod(requests(cpu="500m"), requests(cpu="1")),
        {"cpu": Fraction(3, 2), "requests.cpu": Fraction(3, 2)},
    ),
    "a limit is a request too": (
        pod({"limits": {"memory": "1Ki"}}),
        {"memory": 1024, "requests.memory": 1024, "limits.memory": 1024},
    ),
    "a device has no name of its own": (
        pod({"limits": {"example.com/gpu": "2"}}),
        {"requests.example.com/gpu": 2, "limits.example.com/gpu": 2},
    ),
    "a large init container": (
        pod(requests(cpu="1"), initContainers=[{"resources": requests(cpu="3")}, {"resources": requests(cpu="2")}]),
        {"cpu": 3, "requests.cpu": 3},
    ),
    "a sidecar": (
        pod(
            requests(cpu="1"),
            initContainers=[
                {"restartPolicy": "Always", "resources": requests(cpu="2")},
                {"resources": requests(cpu="2")},
            ],
        ),
        {"cpu": 4, "requests.cpu": 4},
    ),
    "amounts of the pod": (pod(requests(cpu="1"), resources=requests(cpu="5")), {"cpu": 5, "requests.cpu": 5}),
    "overhead": (pod(requests(cpu="1"), overhead={"cpu": "1"}), {"cpu": 2, "requests.cpu": 2}),
    "no quantity": (pod(requests(cpu="much")), {}),
}


@pytest.mark.parametrize(("manifest", "more"), USAGES.values(), ids=USAGES)
def test_usage_of_a_pod(manifest: dict[str, Any], more: dict[str, Any]) -> None:
    """Kubernetes' own reckoning."""
    found = usage_of(manifest)
    assert {name: amount for name, amount in found.items() if amount} == {**ALONE, **more}


POD = pod(requests(cpu="1"))
QUOTAS: dict[str, tuple[list[dict[str, Any]], int, str]] = {
    "none": ([], 1, ""),
    "room": ([quota({"pods": "2"}, {"pods": "1"})], 1, ""),
    "full": (
        [quota({"pods": "2"}, {"pods": "2"})],
        1,
        'the quota "q" has no room for another job: pods is 2 of 2',
    ),
    "not enough": (
        [quota({"requests.cpu": "4"}, {"requests.cpu": "3500m"})],
        1,
        'the quota "q" has no room for another job: requests.cpu is 3500m of 4',
    ),
    "one more is on its way": (
        [quota({"pods": "2"}, {"pods": "1"})],
        2,
        'the quota "q" has no room for another job: pods is 1 of 2',
    ),
    "nothing used yet": ([quota({"cpu": "1"})], 1, ""),
    "of things that it does not ask for": ([quota({"services": "0", "limits.cpu": "0"})], 1, ""),
    "without a status": ([{"metadata": {"name": "new"}, "spec": {"hard": {"pods": "0"}}}], 1, ""),
    "the second of two": (
        [quota({"pods": "9"}), quota({"count/pods": "0"})],
        1,
        'the quota "q" has no room for another job: count/pods is 0 of 0',
    ),
}


@pytest.mark.parametrize(("quotas", "count", "words"), QUOTAS.values(), ids=QUOTAS)
def test_full_quota_when(quotas: list[dict[str, Any]], count: int, words: str) -> None:
    """The first amount that does not fit is named."""
    assert full_quota(quotas, POD, count=count) == words


def priority(operator: str, *values: str) -> dict[str, Any]:
    """A quota's selector of priority classes."""
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [expression]}}


@pytest.mark.parametrize(
    ("scope", "spec", "counted"),
    [
        ({"scopes": ["BestEffort"]}, {}, False),
        ({"scopes": ["NotBestEffort"]}, {}, True),
        ({"scopes": ["Terminating"]}, {}, False),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 60}, True),
        ({"scopes": ["NotTerminating", "NotBestEffort"]}, {}, True),
        ({"scopes": ["NotTerminating", "BestEffort"]}, {}, False),
        ({"scopes": ["OfTheFuture"]}, {}, False),
        (priority("In", "high"), {"priorityClassName": "high"}, True),
        (priority("In", "high"), {}, False),
        (priority("NotIn", "high"), {"priorityClassName": "low"}, True),
        (priority("Exists"), {}, False),
        (priority("DoesNotExist"), {}, True),
    ],
)
def test_a_quota_counts_by_its_scopes(scope: dict[str, Any], spec: dict[str, Any], counted: bool) -> None:
    """One that does not concern the pod may be as full as it likes."""
    full = quota({"pods": "0"}, **scope)
    assert bool(full_quota([full], pod(requests(cpu="1"), **spec))) is counted


@pytest.mark.parametrize(
    ("message", "never"),
    [
        ("exceeded quota: q, requested: cpu=2, used: cpu=3, limited: cpu=4", False),
        ("exceeded quota: q, requested: cpu=5, used: cpu=0, limited: cpu=4", True),
        ("exceeded quota: q, requested: cpu=1,memory=9Gi, used: cpu=0,memory=0, limited: cpu=4,memory=8Gi", True),
        ("exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", False),
        ("exceeded quota: q", False),
        ("no right", False),
    ],
)
def test_never_fits_when(message: str, never: bool) -> None:
    """A pod larger than the whole quota is not waited for; a quota of 0 may be opened again."""
    assert never_fits(f'pods "x" is forbidden: {message}') is never
