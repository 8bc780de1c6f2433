"""GitLab Runner's tables `TestNoContainerEnvDups` and `TestBuildVariables`: the variables of a pod's containers."""

from __future__ import annotations

from typing import Any

from runner.testing.payloads import image, variable
from tests.manifests import KUBERNETES, made

TWICE = [
    variable("FIRST", "1", public=True),
    variable("AGAIN", "old", public=True),
    variable("LAST", "3", public=True),
    variable("AGAIN", "new", public=True),
]
DOLLAR = variable("OWN", "y$z", public=True, raw=True)


def names_of(container: dict[str, Any]) -> list[str]:
    """The names of a container's variables, in their order."""
    return [entry["name"] for entry in container.get("env", ())]


def test_no_container_has_a_variable_twice() -> None:
    """A name that comes twice keeps its first place and has its last value; a service's own value wins there."""
    own = image("redis:7", variables=[variable("AGAIN", "of the service"), variable("OWN", "x"), DOLLAR])
    containers = made(KUBERNETES, variables=TWICE, services=[own]).at("spec.containers")
    for container in containers:
        names = names_of(container)
        assert len(names) == len(set(names)), container["name"]
    build, _, service = containers
    values = {entry["name"]: entry.get("value") for entry in build["env"]}
    assert [name for name in names_of(build) if name in {"FIRST", "AGAIN", "LAST"}] == ["FIRST", "AGAIN", "LAST"]
    assert values["AGAIN"] == "new"
    ours = {entry["name"]: entry.get("value") for entry in service["env"]}
    assert (ours["AGAIN"], ours["OWN"]) == ("of the service", "y$$z")


def test_only_public_variables_are_in_the_pod() -> None:
    """Public ones with their dollars doubled, files by their path, secrets not at all; the helper has none."""
    variables = [
        variable("OPEN", "a$b", public=True, raw=True),
        variable("CLOSED", "hidden"),
        variable("MASKED", "masked-value", masked=True),
        variable("CERTIFICATE", "-----BEGIN-----", public=True, file=True),
    ]
    result = made(KUBERNETES, variables=variables)
    build, helper = result.at("spec.containers")
    values = {entry["name"]: entry["value"] for entry in build["env"]}
    assert values["OPEN"] == "a$$b"
    assert values["CERTIFICATE"] == "/builds/acme/demo.tmp/CERTIFICATE"
    assert not {"CLOSED", "MASKED", "CI_JOB_TOKEN"} & values.keys()
    assert names_of(helper) == []
    assert "masked-value" not in str(result.pod)
    assert "-----BEGIN" not in str(result.pod)
