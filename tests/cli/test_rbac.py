"""`runner rbac`: Roles with the key that needs each rule, and what the cluster says is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
import yaml

from runner.cli.main import main
from runner.podspec.rbac import LEGACY_FLAG
from runner.testing.kubernetes import KubernetesServer
from tests.documents import ROOT, blocks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The command finds nothing of the machine it runs on."""
    for name in ("CONFIG_FILE", "KUBECONFIG", "NO_COLOR", "FORCE_COLOR", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNNER_TOKEN", "glrt-t1_abcdefghijklmnop")
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `runner rbac` for a configuration; the exit code, stdout and stderr."""

    def run(text: str, *arguments: str) -> Any:
        (tmp_path / "config.toml").write_text(text)
        capsys.readouterr()
        code = main(["rbac", "--config=config.toml", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_token_is_not_needed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that has it is set where the runner runs; a Role is the same without."""
    config = entry("shop").replace('token = "t"', 'token = "${RUNNER_TOKEN}"')
    with_token = run(config)
    monkeypatch.delenv("RUNNER_TOKEN")
    assert run(config) == with_token
    assert with_token[0] == 0


def entry(name: str, *, flags: dict[str, bool] | None = None, **kubernetes: Any) -> str:
    """One `[[runners]]` of a configuration; its first key of Kubernetes stands in line 7 with no flags."""
    keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in kubernetes.items())
    table = "[runners.feature_flags]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in (flags or {}).items()
    )
    return (
        f'[[runners]]\nname = "{name}"\nurl = "https://gitlab.example.com"\ntoken = "t"\nexecutor = "kubernetes"\n'
        f"{table if flags else ''}[runners.kubernetes]\n{keys}"
    )


def roles(text: str) -> list[dict[str, Any]]:
    """The roles among the printed objects."""
    return [each for each in yaml.safe_load_all(text) if each["kind"].endswith("Role")]


def test_rights_of_sessions_name_their_key(run: Run) -> None:
    """The terminal's key is none of a runner's."""
    code, out, err = run('[session_server]\nlisten_address = ":8093"\n' + entry("shop"), "--job-ports")
    assert (code, err) == (0, "")
    assert "# config.toml:2 session_server.listen_address: the terminal of a job; a WebSocket, as above." in out
    assert "# jobs with ports: what people ask the ports of a job" in out


def test_printed_objects_of_a_small_configuration(run: Run) -> None:
    """An account, a Role and its binding, word for word."""
    code, out, err = run(entry("shop", namespace="ci", print_pod_warning_events=False))
    assert (code, err) == (0, "")
    assert (
        out
        == """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: runner
  namespace: ci
---
# What config.toml needs in the namespace ci, for the runner "shop".
# Some jobs ask for more by themselves; if yours may, add --feature-flag FF_PRINT_POD_EVENTS, --feature-flag
# FF_WAIT_FOR_POD_TO_BE_REACHABLE, --feature-flag FF_KUBERNETES_HONOR_ENTRYPOINT, --feature-flag
# FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY, --job-ports, --job-service-logs.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: runner
  namespace: ci
rules:
  # always: one pod for each job, one list and watch for all of them; a get where only certainty counts.
  - apiGroups: [""]
    resources: [pods]
    verbs: [create, get, list, watch, delete]
  # always: the connection that starts stages and reads the log; a WebSocket is a get, since Kubernetes 1.35 a
  # create too.
  - apiGroups: [""]
    resources: [pods/attach]
    verbs: [get, create]
  # always: the job's record and its passwords, owned by its pod; get recognizes our own after a lost answer,
  # patch gives one its owner, delete is for those whose pod could not be made.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create, get, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: runner
  namespace: ci
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: runner
subjects:
  - kind: ServiceAccount
    name: runner
    namespace: ci
"""
    )


def test_documented_role_is_the_printed_one(run: Run) -> None:
    """docs/running.md shows what the command prints for the configuration above it."""
    text = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    [config, *_] = [block for block in blocks(ROOT / "docs/running.md", "toml") if "[[runners]]" in block.text]
    _, role, _ = run(config.text, f"--feature-flag={LEGACY_FLAG}")[1].split("---\n")
    assert f"```yaml\n{role}```" in text


def test_each_rule_names_what_asks_for_it(run: Run) -> None:
    """A key with its line, a default, a flag of the configuration, a job."""
    config = entry("shop", flags={"FF_PRINT_POD_EVENTS": True}, pod_disruption_budget=True)
    _, out, _ = run(config, "--job-ports", f"--feature-flag={LEGACY_FLAG}")
    for comment in (
        "  # always: one pod for each job",
        "  # config.toml:9 pod_disruption_budget: a budget for each pod",
        "  # print_pod_warning_events, on by default: why a pod does not start",
        "  # config.toml:7 feature_flags.FF_PRINT_POD_EVENTS: the pod's events",
        f"  # jobs with {LEGACY_FLAG}: stages by exec",
        "  # jobs with ports: a Service",
    ):
        assert comment in out
    assert (
        "add --feature-flag FF_WAIT_FOR_POD_TO_BE_REACHABLE, --feature-flag FF_KUBERNETES_HONOR_ENTRYPOINT, "
        "--job-service-logs." in " ".join(out.split("\n# "))
    )
    _, out, _ = run(config, "--job-service-logs")
    assert "  # jobs with CI_DEBUG_SERVICES: what services print" in out


def test_runners_of_one_namespace_share_a_role(run: Run) -> None:
    """One Role for each namespace, with what its runners need together, all bound to the one account."""
    config = (
        entry("a", namespace="ci")
        + entry("b", namespace="other")
        + entry("c", namespace="ci", pod_disruption_budget=True)
    )
    _, out, _ = run(config, "--name=jobs", "--service-account=manager", "--namespace=gitlab")
    found = roles(out)
    assert [(each["kind"], each["metadata"]) for each in found] == [
        ("Role", {"name": "jobs", "namespace": "ci"}),
        ("Role", {"name": "jobs", "namespace": "other"}),
    ]
    assert [len(each["rules"]) for each in found] == [5, 4]
    assert '# What config.toml needs in the namespace ci, for the runner "a", "c".\n' in out
    bindings = [each for each in yaml.safe_load_all(out) if each["kind"] == "RoleBinding"]
    subject = {"kind": "ServiceAccount", "name": "manager", "namespace": "gitlab"}
    assert [each["subjects"] for each in bindings] == [[subject], [subject]]
    assert [each["metadata"]["name"] for each in yaml.safe_load_all(out) if each["kind"] == "ServiceAccount"] == [
        "manager"
    ]
    assert len(roles(run(config, "--runner=b")[1])) == 1


@pytest.mark.parametrize("key", [{"namespace_per_job": True}, {"namespace_overwrite_allowed": "ci-.*"}], ids=list)
def test_unknown_namespaces_need_a_cluster_role(run: Run, key: dict[str, Any]) -> None:
    """With the key that says so; what it allows needs no Role beside it, and another cluster's does."""
    config = entry("a", **key) + entry("b", namespace="ci") + entry("c", host="https://10.0.0.1:6443", namespace="ci")
    _, out, _ = run(config)
    assert [each["kind"] for each in roles(out)] == ["ClusterRole", "Role"]
    assert f"# A ClusterRole because of config.toml:7 {next(iter(key))}: jobs run in namespaces" in out
    assert '# What config.toml needs in the namespace ci of https://10.0.0.1:6443, for the runner "c".\n' in out
    assert out.count("kind: ServiceAccount\nmetadata:") == 2


def test_tokens_of_jobs_are_mentioned(run: Run) -> None:
    """Who brings a token of his own acts as somebody else, who needs the same."""
    _, out, _ = run(entry("a", bearer_token_overwrite_allowed=True))
    assert "# config.toml:7 bearer_token_overwrite_allowed: the accounts whose tokens jobs bring need these" in out


TROUBLE = {
    "no configuration": ((), ("--config=gone.toml",), "gone.toml: No such file or directory. "),
    "no runner": (("concurrent = 1",), (), 'config.toml has no runner with executor = "kubernetes".'),
    "another runner": ((), ("--runner=sho",), 'config.toml has no runner "sho"; did you mean shop?'),
    "no such flag": ((), ("--feature-flag=FF_PRINT_EVENTS",), "there is no feature flag FF_PRINT_EVENTS; did you mean"),
    "no cluster": ((), ("--check",), 'The cluster of the runner "shop" does not say: No API server is known'),
    "no kubeconfig": ((), ("--check", "--kubeconfig=gone"), 'The cluster of the runner "shop" does not say: No API'),
}


@pytest.mark.parametrize(("texts", "arguments", "sentence"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_is_one_sentence(run: Run, texts: tuple[str, ...], arguments: tuple[str, ...], sentence: str) -> None:
    """What keeps it from an answer is told on stderr in one line, with exit 2."""
    code, out, err = run(texts[0] if texts else entry("shop"), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {sentence}")
    assert err.count("\n") == 1


async def test_what_the_cluster_forbids_is_missing(run: Run, tmp_path: Path) -> None:
    """Each verb with its namespace, resource and key; exit 1. Without any, a word and 0."""
    text = entry("shop", namespace="ci", pod_disruption_budget=True)
    async with KubernetesServer() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")

        async def check() -> tuple[int, str, str]:
            return await anyio.to_thread.run_sync(lambda: run(text, "--check", f"--kubeconfig={kubeconfig}"))

        assert await check() == (
            0,
            "Nothing is missing: all 14 rights that config.toml needs are given, in ci.\n",
            "",
        )
        server.forbid("watch", "pods", namespace="ci")
        server.forbid("create", "pods/attach")
        server.forbid("create", "poddisruptionbudgets")
        server.forbid("create", "pods", namespace="elsewhere")
        code, out, err = await check()
        assert code == 1
        assert [line.split(maxsplit=3) for line in out.splitlines()] == [
            ["Namespace", "Verb", "Resource", "Needed for"],
            ["ci", "watch", "pods", "always"],
            ["ci", "create", "pods/attach", "always"],
            ["ci", "create", "poddisruptionbudgets.policy", "config.toml:8 pod_disruption_budget"],
        ]
        assert err == "3 of 14 rights are missing; `runner rbac` prints the Roles that give them.\n"


async def test_rights_of_several_runners_are_counted_once(run: Run, tmp_path: Path) -> None:
    """Two runners of one namespace need the same; what is missing is one row for each key that asks for it."""
    text = entry("a", namespace="ci") + entry("b", namespace="ci", pod_disruption_budget=True)
    async with KubernetesServer() as server:
        server.forbid("get", "secrets")
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        code, out, err = await anyio.to_thread.run_sync(lambda: run(text, "--check", f"--kubeconfig={kubeconfig}"))
    assert code == 1
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["ci", "get", "secrets"]]
    assert err.startswith("1 of 14 rights are missing")


async def test_cluster_that_goes_away_gives_no_answer(run: Run, tmp_path: Path) -> None:
    """A refused connection is one sentence, and no right is called missing for it."""
    async with KubernetesServer() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    code, out, err = await anyio.to_thread.run_sync(lambda: run(entry("shop"), "--check", f"--kubeconfig={kubeconfig}"))
    assert (code, out) == (2, "")
    assert err.startswith('Error: The cluster of the runner "shop" does not say: ')
    assert err.count("\n") == 1
