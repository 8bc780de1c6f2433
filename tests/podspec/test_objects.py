"""A job's namespace, disruption budget and Services."""

from typing import Any

import pytest

from runner.podspec.objects import (
    ProxiedPort,
    build_disruption_budget,
    build_namespace,
    build_services,
    proxied_port,
)

POD = "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4"
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": "u"}
LABELS = {
    "job.runner.gitlab.com/id": "4711",
    "job.runner.gitlab.com/pod-name": POD,
    "manager.runner.gitlab.com/id-short": "abcdefghi",
    "manager.runner.gitlab.com/system-id": "s_0123456789ab",
}
EXPIRES = {"job.runner.gitlab.com/expires-at": "2027-01-15T10:00:00Z"}
SELECTOR = {"job.runner.gitlab.com/pod-name": POD}


def test_build_namespace_when_each_job_has_one(make_request: Any) -> None:
    """Named after the job; labels and the moment after which anybody may sweep it, for it has no owner."""
    assert build_namespace(make_request(kubernetes={"namespace_per_job": True})) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "ci-job-4711", "labels": LABELS, "annotations": EXPIRES},
    }


def test_build_disruption_budget_selects_the_very_pod(make_request: Any) -> None:
    """The budget of one pod, which owns it."""
    assert build_disruption_budget(make_request(), owner=OWNER) == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": f"{POD}-pdb",
            "namespace": "ci",
            "labels": LABELS,
            "annotations": EXPIRES,
            "ownerReferences": [OWNER],
        },
        "spec": {"minAvailable": 1, "selector": {"matchLabels": SELECTOR}},
    }


def test_build_services_when_an_image_has_ports(make_request: Any) -> None:
    """As `supports services as host aliases`/`ports` in TestSetupBuildPod: one Service, its ports named after it."""
    ports = [{"number": 80, "protocol": "http", "name": "web"}, {"number": 8443, "protocol": "https", "name": "tls"}]
    request = make_request(job={"image": {"name": "x", "ports": ports}})
    assert build_services(request, owner=OWNER) == (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "build-q1w2e3r4",
                "namespace": "ci",
                "labels": LABELS,
                "annotations": EXPIRES,
                "ownerReferences": [OWNER],
            },
            "spec": {
                "type": "ClusterIP",
                "selector": SELECTOR,
                "ports": [
                    {"name": "build-80", "port": 80, "targetPort": 80},
                    {"name": "build-8443", "port": 8443, "targetPort": 8443},
                ],
            },
        },
    )


def named(alias: str, *ports: int) -> dict[str, Any]:
    """A service of a job."""
    return {"name": "test-service", "alias": alias, "ports": [{"number": number} for number in ports]}


NAMES: dict[str, tuple[list[dict[str, Any]], dict[str, list[str]]]] = {
    "no ports": ([named("web")], {}),
    "no alias": ([named("", 80)], {"proxy-svc-0-q1w2e3r4": ["proxy-svc-0-80"]}),
    "an alias": ([named("web", 82, 84)], {"web-q1w2e3r4": ["web-82", "web-84"]}),
    "two aliases": ([named("web,db", 80)], {"web-q1w2e3r4": ["web-80"], "db-q1w2e3r4": ["db-80"]}),
    "an alias that is no name": (
        [named("service,name-.non-compat!ble", 80)],
        {
            "service-q1w2e3r4": ["service-80"],
            "name-non-compatble-q1w2e3r4": ["name-non-compatble-80"],
        },
    ),
    "an alias of digits": ([named("42", 80)], {"proxy-q1w2e3r4": ["proxy-80"]}),
    "a long alias": ([named("a" * 70, 80)], {f"{'a' * 54}-q1w2e3r4": [f"{'a' * 60}-80"]}),
    "one alias twice": ([named("web", 80, 81), named("web", 81, 82)], {"web-q1w2e3r4": ["web-80", "web-81", "web-82"]}),
}


@pytest.mark.parametrize(("services", "expected"), NAMES.values(), ids=NAMES.keys())
def test_services_are_named_as_TestSetupBuildPod_has_it(  # noqa: N802 -- upstream's name
    make_request: Any, services: list[dict[str, Any]], expected: dict[str, list[str]]
) -> None:
    """One Service for each alias, as a name that Kubernetes takes."""
    made = build_services(make_request(job={"services": services}), owner=OWNER)
    assert {
        service["metadata"]["name"]: [port["name"] for port in service["spec"]["ports"]] for service in made
    } == expected


IMAGE = {
    "name": "x",
    "ports": [{"number": 80, "protocol": "http", "name": "web"}, {"number": 8443, "protocol": "https"}],
}
SERVICE = {"name": "redis", "alias": "My_Cache,other", "ports": [{"number": 6379, "protocol": "tcp", "name": "redis"}]}


@pytest.mark.parametrize(
    ("name", "port", "found"),
    [
        pytest.param("build", "80", ProxiedPort("build-q1w2e3r4", 80, "http"), id="by number"),
        pytest.param("build", "web", ProxiedPort("build-q1w2e3r4", 80, "http"), id="by name"),
        pytest.param("build", "8443", ProxiedPort("build-q1w2e3r4", 8443, "https"), id="https"),
        pytest.param("My_Cache", "redis", ProxiedPort("mycache-q1w2e3r4", 6379, ""), id="no http at all"),
        pytest.param("other", "6379", ProxiedPort("other-q1w2e3r4", 6379, ""), id="second alias"),
        pytest.param("build", "81", None, id="unknown port"),
        pytest.param("build", "", None, id="port without a name"),
        pytest.param("web", "80", None, id="unknown name"),
    ],
)
def test_proxied_port_is_found_by_alias_and_number_or_name(
    make_request: Any, name: str, port: str, found: ProxiedPort | None
) -> None:
    """The Service that is named is one that was built."""
    request = make_request(job={"image": IMAGE, "services": [SERVICE]})

    assert proxied_port(request, name, port) == found
    built = {service["metadata"]["name"] for service in build_services(request, owner=OWNER)}
    assert found is None or found.service in built
