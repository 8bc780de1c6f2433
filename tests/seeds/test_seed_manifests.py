"""The manifests that the published documents put around the runner: they carry our config.toml and our command."""

from __future__ import annotations

from typing import Any

import yaml

from runner.cli.main import COMMANDS
from runner.config.load import parse_config
from runner.podspec.rbac import needed_rights
from tests.seeds.published import block


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a block."""
    return list(yaml.safe_load_all(block(name)))


def test_config_map_of_2016_holds_a_configuration() -> None:
    """The file inside it loads as it is; its permission and its URL are told with the lines of that file."""
    (config_map,) = documents("000-config-map.yaml")
    config, findings = parse_config(config_map["data"]["config.toml"])
    (runner,) = config.runners
    assert (runner.name, runner.url, runner.token) == ("Kubernetes Runner", "https://gitlab.com", "....")
    assert (runner.kubernetes.namespace, runner.kubernetes.allow_privileged) == ("gitlab", True)
    assert [(finding.line, finding.severity) for finding in findings] == [(5, "warning"), (10, "warning")]


def test_deployment_of_2016_runs_our_command_on_our_file() -> None:
    """Its argument is a command of ours, and its volume puts the ConfigMap where that command looks."""
    (deployment,) = documents("000-deployment.yaml")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["args"] == ["run"]
    assert "run" in COMMANDS
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["config"] == "/etc/gitlab-runner"
    assert spec["volumes"][0] == {"configMap": {"name": "gitlab-runner"}, "name": "config"}


def test_roles_of_the_documents_give_what_a_default_configuration_needs() -> None:
    """Every right that the ConfigMap's runner needs is one on a core resource, which the published Roles grant."""
    (config_map,) = documents("000-config-map.yaml")
    (runner,) = parse_config(config_map["data"]["config.toml"])[0].runners
    need = needed_rights(runner)
    assert need.namespace == "gitlab"
    _, role, _ = documents("002-rbac.yaml")
    _, _, account = block("003-service-account.md").partition("\n")
    for rule in (*role["rules"], yaml.safe_load(account)["rules"]):
        assert (rule["resources"], rule["verbs"]) == (["*"], ["*"])
        assert [right.resource for right in need.rights if right.group not in rule["apiGroups"]] == []
