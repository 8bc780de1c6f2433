"""GitLab Runner's table `TestSetupBuildPod`: what stands in a job's pod, and what is made beside it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import orjson
import pytest

from runner.testing.payloads import image
from tests.compatibility.cases import seen, unheard
from tests.compatibility.pod_cases import LOGIN, OTHER_PORT, POD_CASES, PORT
from tests.manifests import KUBERNETES, made


@pytest.mark.parametrize("name", POD_CASES)
def test_setup_build_pod(name: str) -> None:
    """Each place that the row names has the row's value, and the log has its words."""
    case = POD_CASES[name]
    result = case.made()
    assert seen(case, result) == dict(case.pod)
    assert unheard(case, result) == []


def test_setup_build_pod_credentials() -> None:
    """The job's credentials are one Secret, made before the pod, which names it behind the configured ones."""
    result = made(KUBERNETES + 'image_pull_secrets = ["registry-one"]', logins=LOGIN)
    (secret,) = [each for each in result.all("secrets") if each["type"] == "kubernetes.io/dockercfg"]
    name = secret["metadata"]["name"]
    assert result.at("spec.imagePullSecrets") == [{"name": "registry-one"}, {"name": name}]
    assert orjson.loads(b64decode(secret["data"][".dockercfg"])).keys() == {"registry.example.com"}
    kinds = [plural for plural, _ in result.objects]
    assert kinds.index("secrets") < kinds.index("pods")


@pytest.mark.parametrize(
    ("toml", "budgets"),
    [("pod_disruption_budget = true", 1), ("pod_disruption_budget = false", 0), ("", 0)],
    ids=["on", "off", "default"],
)
def test_setup_build_pod_disruption_budget(toml: str, budgets: int) -> None:
    """A budget of one pod at least, for that very pod, owned by it; none unless it is asked for."""
    result = made(KUBERNETES + toml)
    found = result.all("poddisruptionbudgets")
    assert len(found) == budgets
    for budget in found:
        pod = result.pod["metadata"]
        assert budget["metadata"]["name"] == f"{pod['name']}-pdb"
        assert budget["spec"]["minAvailable"] == 1
        assert budget["spec"]["selector"]["matchLabels"].items() <= pod["labels"].items()
        assert [owner["kind"] for owner in budget["metadata"]["ownerReferences"]] == ["Pod"]


TWO_PORTS = [*PORT, *OTHER_PORT]
PROXIES: dict[str, tuple[dict[str, Any], dict[str, list[int]]]] = {
    "no ports, no service": ({"services": [image("redis:7", alias="cache")]}, {}),
    "an alias is the service's name": ({"services": [image("redis:7", alias="cache", ports=PORT)]}, {"cache": [8080]}),
    "two aliases are two services": (
        {"services": [image("redis:7", alias="cache, store", ports=PORT)]},
        {"cache": [8080], "store": [8080]},
    ),
    "without an alias": ({"services": [image("redis:7", ports=TWO_PORTS)]}, {"proxy-svc-0": [8080, 9090]}),
    "the build's image": ({"image": image("ruby:3", ports=PORT)}, {"build": [8080]}),
    "a name that is no RFC 1123 label": (
        {"image": image("ruby:3", alias="My_Web.App", ports=PORT)},
        {"mywebapp": [8080]},
    ),
}


@pytest.mark.parametrize("name", PROXIES)
def test_setup_build_pod_proxy_services(name: str) -> None:
    """Ports of images are Services by their aliases: their numbers and names, that very pod, owned by it."""
    payload, expected = PROXIES[name]
    result = made(KUBERNETES, **payload)
    found = result.all("services")
    ports = {each["metadata"]["name"].rpartition("-")[0]: each["spec"]["ports"] for each in found}
    assert {service: [port["port"] for port in listed] for service, listed in ports.items()} == expected
    assert all(port["targetPort"] == port["port"] for listed in ports.values() for port in listed)
    assert all(port["name"].endswith(f"-{port['port']}") for listed in ports.values() for port in listed)
    for each in found:
        assert each["spec"]["selector"].items() <= result.pod["metadata"]["labels"].items()
        assert [owner["name"] for owner in each["metadata"]["ownerReferences"]] == [result.pod["metadata"]["name"]]


def test_setup_build_pod_token_that_is_no_dns_name() -> None:
    """Whatever a token holds, the names made of it are those that Kubernetes takes."""
    result = made(KUBERNETES.replace("glrt-abcdefghijklmnop", "glrt-A_b?C.d/E-0"))
    assert result.pod["metadata"]["name"].startswith("runner-abcde-project-42-concurrent-0-")
