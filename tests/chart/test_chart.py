"""The Helm chart, rendered: what comes out is valid, restricted, and as docs/running.md describes it.

Needs the `chart` extra: `pip install -e '.[test,chart]'`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from runner.config.load import parse_config
from tests.documents import ROOT, blocks

helm = pytest.importorskip("helm_python", reason="the chart extra is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the chart extra is not installed")

CONFIG = """\
concurrent = 10

[[runners]]
  name = "kubernetes"
  url = "https://gitlab.example.com"
  token = "$RUNNER_TOKEN"
  executor = "kubernetes"
  [runners.kubernetes]
    namespace = "ci"
    poll_timeout = 600
"""
TOKEN = "glrt-Ab3dEfGh1JkLmNoPqRsT"
VALUES = {"config": CONFIG, "token": {"value": TOKEN}}
FULL = {
    "config": CONFIG.replace('"ci"', '"jobs"'),
    "token": {"existingSecret": "gitlab", "key": "runner"},
    "jobsNamespace": "jobs",
    "image": {"repository": "registry.example.com/x", "tag": "1.2", "pullSecrets": [{"name": "registry"}]},
    "rbac": {"legacyExec": True},
    "serviceAccount": {"name": "other", "annotations": {"a/b": "c"}},
    "replicas": 2,
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "metrics": {"port": 9300, "service": {"enabled": True, "annotations": {"a/b": "c"}}},
    "podLabels": {"team": "ci"},
    "podAnnotations": {"note": "yes"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "ci", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}


def render(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Render the chart; the objects by kind."""
    with helm.Chart.load(str(ROOT / "charts/runner")) as chart:
        files = chart.render(values, name="runner", namespace="ci")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return {each["kind"]: each for text in texts for each in yaml.safe_load_all(text) if each}


@pytest.mark.parametrize("version", ["1.28", "1.34"])
@pytest.mark.parametrize("values", [VALUES, FULL], ids=["few", "all"])
def test_objects_are_valid(values: dict[str, Any], version: str) -> None:
    """Every object is one that this Kubernetes takes, with no field that it does not know."""
    objects = render(values)
    assert {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Deployment"} <= set(objects)
    for each in objects.values():
        kubernetes_validate.validate(each, version, strict=True)


def test_configuration_arrives_word_for_word() -> None:
    """The ConfigMap has the text that was given, and the manager reads it without a warning."""
    text = render(VALUES)["ConfigMap"]["data"]["config.toml"]
    assert text == CONFIG
    assert parse_config(text, environ={"RUNNER_TOKEN": TOKEN})[1] == ()


@pytest.mark.parametrize("legacy", [False, True])
def test_role_is_the_documented_one(legacy: bool) -> None:
    """The rules are those of docs/running.md; exec only when asked for."""
    documents = [each for block in blocks(ROOT / "docs/running.md", "yaml") for each in yaml.safe_load_all(block.text)]
    documented = next(each["rules"] for each in documents if each["kind"] == "Role")
    wanted = [rule for rule in documented if legacy or rule["resources"] != ["pods/exec"]]
    assert render({**VALUES, "rbac": {"legacyExec": legacy}})["Role"]["rules"] == wanted


def test_role_lets_a_runner_look_for_room() -> None:
    """The right is there when a runner of the configuration has the key."""
    aware = {**VALUES, "config": CONFIG + "    capacity_aware = true\n"}
    more = [rule for rule in render(aware)["Role"]["rules"] if rule not in render(VALUES)["Role"]["rules"]]
    assert more == [{"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["list"]}]


def test_binding_joins_the_two_namespaces() -> None:
    """The Role is where the jobs are, its subject where the manager is."""
    objects = render(FULL)
    assert objects["Role"]["metadata"]["namespace"] == objects["RoleBinding"]["metadata"]["namespace"] == "jobs"
    assert objects["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "other", "namespace": "ci"}]
    assert objects["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == "other"


def test_pod_is_restricted() -> None:
    """The manager's pod meets Pod Security's restricted profile, and its root file system is read-only."""
    pod = render(VALUES)["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_token_is_in_a_secret_alone() -> None:
    """A token that is given stands in the Secret and nowhere else; with one that exists no Secret is made."""
    objects = render(VALUES)
    assert list(objects["Secret"]["data"]) == ["token"]
    assert TOKEN not in str({kind: each for kind, each in objects.items() if kind != "Secret"})
    full = render(FULL)
    assert "Secret" not in full
    env = full["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    reference = {"secretKeyRef": {"name": "gitlab", "key": "runner"}}
    assert {"name": "RUNNER_TOKEN", "valueFrom": reference} in env


SESSIONS = '[session_server]\n  listen_address = "[::]:8093"\n  advertise_address = "runner.example.com:9000"\n\n'
LISTENING = CONFIG.replace("[[runners]]", f"{SESSIONS}[[runners]]")
TERMINALS = {**VALUES, "config": LISTENING, "sessionServer": {"enabled": True}}


@pytest.mark.parametrize("version", ["1.28", "1.34"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"serviceType": "NodePort", "nodePort": 30093},
        {"publicIP": "192.0.2.1", "loadBalancerSourceRanges": ["192.0.2.0/24"], "annotations": {"a/b": "c"}},
    ],
    ids=["few", "node port", "load balancer"],
)
def test_sessions_have_a_service_and_their_right(more: dict[str, Any], version: str) -> None:
    """The port that the configuration listens at is the container's and the Service's; terminals need exec."""
    objects = render({**TERMINALS, "sessionServer": {"enabled": True, **more}})
    service = objects["Service"]
    kubernetes_validate.validate(service, version, strict=True)
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "session", "containerPort": 8093} in container["ports"]
    [port] = service["spec"]["ports"]
    assert (port["port"], port["targetPort"], port.get("nodePort")) == (9000, "session", more.get("nodePort"))
    assert service["spec"]["type"] == more.get("serviceType", "LoadBalancer")
    assert ["pods/exec"] in [rule["resources"] for rule in objects["Role"]["rules"]]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param({"config": CONFIG}, 'config listens at "": set listen_address', id="not configured"),
        pytest.param({"sessionServer": {"enabled": True, "internalPort": 1}}, "listens at", id="another port"),
        pytest.param({"config": LISTENING.replace("  adv", "  # adv")}, "set advertise_address", id="not told"),
        pytest.param({"replicas": 2}, "set replicas to 1", id="several managers"),
    ],
)
def test_sessions_are_refused_when_gitlab_could_not_reach_them(over: dict[str, Any], words: str) -> None:
    """The sentence names the value and what to set."""
    with pytest.raises(helm.HelmError, match=re.escape(words)):
        render({**TERMINALS, **over})


MONITORED = {
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "x"}}, "podMonitor": {"enabled": True}}
}


def test_manager_is_probed_and_scraped() -> None:
    """The port that is listened at is the container's, the probes' and the Service's; nothing has one when disabled."""
    objects = render(FULL)
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "LISTEN_ADDRESS", "value": ":9300"} in container["env"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9300}]
    probes = {kind: container[kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe")}
    assert probes == {
        "livenessProbe": {"path": "/healthz", "port": "metrics"},
        "readinessProbe": {"path": "/readyz", "port": "metrics"},
    }
    service = objects["Service"]
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 9300, "targetPort": "metrics"}]
    assert (
        service["spec"]["selector"].items() <= objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
    without = render({**VALUES, "metrics": {"enabled": False, "service": {"enabled": True}}})
    [container] = without["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert not {"ports", "livenessProbe", "readinessProbe"} & set(container)
    assert "LISTEN_ADDRESS" not in str(container["env"])
    assert "Service" not in without


def test_monitors_find_what_they_scrape() -> None:
    """The operator's objects select this release's Service and pods, by the port's name."""
    objects = render({**VALUES, **MONITORED})
    endpoint = {"port": "metrics", "interval": "30s"}
    assert objects["ServiceMonitor"]["spec"]["endpoints"] == [endpoint]
    assert objects["PodMonitor"]["spec"]["podMetricsEndpoints"] == [endpoint]
    assert objects["ServiceMonitor"]["metadata"]["labels"]["release"] == "x"
    selected = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= objects["Service"]["metadata"]["labels"].items()
    assert objects["PodMonitor"]["spec"]["selector"]["matchLabels"] == selected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"token": {"value": TOKEN}}, "config is empty: give a config.toml with --set-file config=config.toml."),
        ({**VALUES, "token": {}}, "there is no token: name a Secret that has it with token.existingSecret"),
        ({**VALUES, "token": {"value": TOKEN, "existingSecret": "too"}}, "are both set: keep one of them."),
        ({**VALUES, "replica": 2}, "replica"),
        ({**VALUES, "replicas": "2"}, "replicas"),
        ({**VALUES, "config": "no toml ="}, "config is no TOML"),
        ({**VALUES, "config": "concurrent = 3"}, "no [[runners]]"),
        ({**VALUES, "jobsNamespace": "elsewhere"}, 'jobs in the namespace "ci", but the Role is made in "elsewhere"'),
    ],
    ids=["no config", "no token", "two tokens", "unknown key", "wrong type", "no TOML", "no runner", "other namespace"],
)
def test_wrong_values_are_refused(values: dict[str, Any], words: str) -> None:
    """What cannot work is refused before anything is installed, with the name of the key."""
    with pytest.raises(helm.HelmError, match=re.escape(words)):
        render(values)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        pytest.param(
            VALUES, ["up to 10 jobs", "http://localhost:9252/", "port-forward deployment/runner 9252"], id="few"
        ),
        pytest.param(TERMINALS, ["runner.example.com:9000", "the Service runner-session-server"], id="terminals"),
    ],
)
def test_notes_say_what_to_do_next(values: dict[str, Any], wanted: list[str]) -> None:
    """Logs, the page, and where GitLab has to reach; nothing about what is not there."""
    with helm.Chart.load(str(ROOT / "charts/runner")) as chart:
        [notes] = [
            text
            for name, text in chart.render(values, name="runner", namespace="ci").items()
            if name.endswith("NOTES.txt")
        ]
        bare = {**VALUES, "metrics": {"enabled": False}}
        [less] = [
            text
            for name, text in chart.render(bare, name="runner", namespace="ci").items()
            if name.endswith("NOTES.txt")
        ]
    assert all(words in notes for words in wanted)
    assert not {"localhost", "GitLab"} & set(less.split())


def test_lint_finds_nothing() -> None:
    """Helm's own checks have nothing to say, but that there is no icon."""
    found = helm.lint(str(ROOT / "charts/runner"), VALUES)
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]
