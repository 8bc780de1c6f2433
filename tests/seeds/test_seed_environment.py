"""The environment of the post of 2017: each of its names is one that `register` takes, for the key it had."""

from __future__ import annotations

import pytest
import yaml

from runner.config.inputs import inputs
from tests.manifests import KUBERNETES, made
from tests.seeds.keywords import ENVIRONMENT, OF_REGISTRATION
from tests.seeds.published import block

BARE = {"privileged", "terminationGracePeriodSeconds", "poll_interval", "poll_timeout"}
"""Keys whose values are no texts."""

TAKEN = {given.env: given for given in inputs() if given.env}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_environment_name_is_of_its_key(name: str) -> None:
    """The name sets the key of `[runners.kubernetes]` that it set then."""
    assert TAKEN[name].path == ("kubernetes", ENVIRONMENT[name])


def test_configuration_of_the_post_works() -> None:
    """Its values, each written to the key of its name, give the pod that the post describes, and one warning."""
    data = yaml.safe_load(block("002-environment.yaml"))["data"]
    values = {ENVIRONMENT[name]: value for name, value in data.items() if name not in OF_REGISTRATION}
    assert len(values) == 18
    lines = [f"{key} = {value}" if key in BARE else f'{key} = "{value}"' for key, value in values.items()]
    result = made(KUBERNETES + "\n".join(lines).replace("YOUR_GITLAB_BUILD_NAMESPACE", "builds"), services=["redis:7"])
    assert result.at("metadata.namespace") == "builds"
    assert result.at("spec.terminationGracePeriodSeconds") == 10
    containers = {each["name"]: each for each in result.at("spec.containers")}
    assert {name: each["resources"] for name, each in containers.items()} == {
        "build": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "250m", "memory": "256Mi"}},
        "helper": {"limits": {"cpu": "500m", "memory": "200Mi"}, "requests": {"cpu": "150m", "memory": "100Mi"}},
        "svc-0": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "150m", "memory": "256Mi"}},
    }
    assert {each["imagePullPolicy"] for each in containers.values()} == {"IfNotPresent"}
    assert all(each["securityContext"]["privileged"] for each in containers.values())
    kubernetes = result.request.kubernetes
    assert (kubernetes.poll_interval, kubernetes.poll_timeout, kubernetes.cleanup_grace_period_seconds) == (5, 360, 10)
