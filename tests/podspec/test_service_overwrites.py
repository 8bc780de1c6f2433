"""Resources of one service, by its own variables: GitLab Runner's explicit service overwrites."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.kubernetes import KubernetesConfig
from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variable
from runner.podspec.manifest import Manifest
from runner.podspec.overwrites import apply_service_overwrites
from runner.podspec.services import PodService

GUARDS = {
    f"service_{resource}_{kind}_overwrite_max_allowed": most
    for resource, most in (("cpu", "4"), ("memory", "4Gi"), ("ephemeral_storage", "4Gi"))
    for kind in ("limit", "request")
}
COMMON = {"service_cpu_limit": "2", "service_memory_limit": "2Gi", "service_cpu_request": "1"}


def service(variables: dict[str, str], name: str = "db") -> PodService:
    """A service with variables of its own."""
    environment = tuple(Variable(key, value) for key, value in variables.items())
    return PodService(name=name, image="postgres", environment=environment)


def resources(variables: dict[str, str], **kubernetes: Any) -> Manifest | None:
    """What a service's container gets; None: what is configured for all services."""
    (found,), _ = apply_service_overwrites((service(variables),), KubernetesConfig.model_validate(kubernetes))
    return found.resources


def explicit(**amounts: str) -> dict[str, str]:
    """Variables of a service, by the part of their names that differs."""
    return {f"KUBERNETES_SERVICE_{name.upper()}": amount for name, amount in amounts.items()}


LIMITS = explicit(cpu_limit="1", memory_limit="1Gi", ephemeral_storage_limit="3Gi")
REQUESTS = explicit(cpu_request="500m", memory_request="512Mi", ephemeral_storage_request="2Gi")
FULL_LIMITS = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "3Gi"}
FULL_REQUESTS = {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "2Gi"}


@pytest.mark.parametrize(
    ("variables", "configured", "expected"),
    [
        ({}, {**GUARDS, **COMMON}, None),
        (explicit(cpu_limit="1"), GUARDS, {"limits": {"cpu": "1"}}),
        (explicit(memory_limit="1Gi"), GUARDS, {"limits": {"memory": "1Gi"}}),
        (explicit(ephemeral_storage_limit="1Gi"), GUARDS, {"limits": {"ephemeral-storage": "1Gi"}}),
        (explicit(cpu_request="1"), GUARDS, {"requests": {"cpu": "1"}}),
        (explicit(memory_request="1Gi"), GUARDS, {"requests": {"memory": "1Gi"}}),
        (explicit(ephemeral_storage_request="1Gi"), GUARDS, {"requests": {"ephemeral-storage": "1Gi"}}),
        (REQUESTS, GUARDS, {"requests": FULL_REQUESTS}),
        (LIMITS, GUARDS, {"limits": FULL_LIMITS}),
        ({**LIMITS, **REQUESTS}, GUARDS, {"limits": FULL_LIMITS, "requests": FULL_REQUESTS}),
        (
            explicit(cpu_limit="3"),
            {**GUARDS, **COMMON},
            {"limits": {"cpu": "3", "memory": "2Gi"}, "requests": {"cpu": "1"}},
        ),
        ({**LIMITS, **REQUESTS}, COMMON, None),
        ({"KUBERNETES_CPU_LIMIT": "1", "CPU_LIMIT": "1"}, {**GUARDS, "cpu_limit_overwrite_max_allowed": "4"}, None),
        (explicit(cpu_limit=""), {**GUARDS, **COMMON}, None),
    ],
    ids=[
        "only global",
        "cpu limit",
        "memory limit",
        "ephemeral storage limit",
        "cpu request",
        "memory request",
        "ephemeral storage request",
        "full requests",
        "full limits",
        "full limits and requests",
        "partial explicit result replaces globals",
        "no guards",
        "names that are not a service's",
        "empty",
    ],
)
def test_explicit_resources_when(
    variables: dict[str, str], configured: dict[str, str], expected: Manifest | None
) -> None:
    """What the service says, up to the guards of all services, and the common values where it says nothing."""
    assert resources(variables, **configured) == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            explicit(cpu_limit="5"),
            'invalid service limits specified: the resource "ServiceCPULimit" requested "5" is higher than limit '
            'allowed "4"',
        ),
        (explicit(memory_request="lots"), 'invalid service requests specified: parsing resource limit: "lots"'),
        (explicit(cpu_limit="$CPUS"), 'invalid service limits specified: parsing resource limit: "$CPUS"'),
    ],
    ids=["too high", "invalid service quantity", "not expanded"],
)
def test_job_fails_when_a_service_asks_for(variables: dict[str, str], words: str) -> None:
    """The sentence names the service; its variables are taken as they are written."""
    with pytest.raises(JobConfigurationError) as refused:
        resources(variables, **GUARDS)
    assert refused.value.message.startswith(f"couldn't prepare explicit service overwrites: {words}")
    assert refused.value.message.endswith(' for the service "db"')


def test_services_are_told_apart_when_one_has_resources_of_its_own() -> None:
    """The note names it; the others keep what is common to all."""
    services = (service(explicit(cpu_limit="1"), name="db"), service({}, name="cache"))
    (db, cache), notes = apply_service_overwrites(services, KubernetesConfig.model_validate(GUARDS))
    assert (db.resources, cache) == ({"limits": {"cpu": "1"}}, services[1])
    assert notes == ('Service "db": "ServiceCPULimit" overwritten with "1"',)
