"""Hooks of containers: what is not there is not sent, what is there is sent as it is."""

from typing import Any

import pytest

from runner.config.lifecycle import LifecycleConfig
from runner.podspec.containers import build_containers
from runner.podspec.lifecycle import build_lifecycle


@pytest.mark.parametrize(
    ("config", "lifecycle"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"post_start": {}, "pre_stop": {"exec": {}}}, {}, id="empty tables"),
        pytest.param(
            {"pre_stop": {"http_get": {"port": 80}}}, {"preStop": {"httpGet": {"port": 80}}}, id="request to a port"
        ),
        pytest.param(
            {"pre_stop": {"http_get": {"port": 80, "http_headers": [{"name": "Empty"}]}}},
            {"preStop": {"httpGet": {"port": 80, "httpHeaders": [{"name": "Empty", "value": ""}]}}},
            id="header without a value",
        ),
        pytest.param(
            {
                "post_start": {"exec": {"command": ["a"]}, "tcp_socket": {"port": 1}},
                "pre_stop": {"exec": {"command": ["b"]}},
            },
            {
                "postStart": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}},
                "preStop": {"exec": {"command": ["b"]}},
            },
            id="two actions are for the API server to refuse",
        ),
    ],
)
def test_build_lifecycle_when(config: dict[str, Any], lifecycle: dict[str, Any]) -> None:
    """Each action is Kubernetes' own, without fields that say nothing."""
    assert build_lifecycle(LifecycleConfig.model_validate(config)) == lifecycle


def test_hooks_are_those_of_every_container_when_configured(make_request: Any) -> None:
    """Build, helper and services alike, as in GitLab Runner; without the key no container has one."""
    services = {"services": [{"name": "db"}, {"name": "redis"}]}
    hooked = {"container_lifecycle": {"post_start": {"exec": {"command": ["a"]}}}}

    found = [each["lifecycle"] for each in build_containers(make_request(job=services, kubernetes=hooked))]

    assert found == [{"postStart": {"exec": {"command": ["a"]}}}] * 4
    assert all("lifecycle" not in each for each in build_containers(make_request(job=services)))
