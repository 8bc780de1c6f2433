"""What `runner rbac` prints: rights enough for every job, none that nobody asks for, each named when missing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
import yaml

from runner.cli.main import main
from runner.config.model import RunnerConfig
from runner.podspec.rbac import LEGACY_FLAG, needed_rights
from runner.testing.faults import CommitThenDrop, FaultRule, Reply
from runner.testing.kubelets import Fate, ScriptedKubelet
from runner.testing.payloads import image, variable

if TYPE_CHECKING:
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

Keys = dict[str, Any]

NO_SOURCES = {"GIT_STRATEGY": "none"}
LEGACY = {**NO_SOURCES, LEGACY_FLAG: "true"}
PRIVATE = [*(variable(key, value) for key, value in NO_SOURCES.items()), variable("PASSWORD", "s3cret-word")]
SERVICE_VARIABLES = [variable("POSTGRES_PASSWORD", "$PASSWORD")]
NEWER_KUBERNETES = {("create", "pods/attach"), ("create", "pods/exec")}
"""Asked by Kubernetes 1.35 of a request whose own verb is get."""


def granted(
    kubernetes: Keys, flags: tuple[str, ...] = (), *, ports: bool = False, service_logs: bool = False
) -> set[tuple[str, str]]:
    """The rights that a configuration needs, as verb and resource."""
    runner = RunnerConfig.model_validate({"url": "https://gitlab.example.com", "token": "t", "kubernetes": kubernetes})
    need = needed_rights(runner, job_flags=flags, job_ports=ports, job_service_logs=service_logs)
    return {(verb, right.resource) for right in need.rights for verb in right.verbs}


def asked(h: Harness) -> set[tuple[str, str]]:
    """The rights that the requests to the embedded API server needed."""
    assert h.cluster is not None
    found = set()
    for verb, path in h.cluster.requests:
        match = re.fullmatch(r"/apis?(?:/policy)?/v1(?:/namespaces/[^/]+)?/([^/]+)(?:/[^/]+(?:/([^/]+))?)?", path)
        assert match is not None, path
        found.add((verb, f"{match[1]}/{match[2]}" if match[2] else match[1]))
    return found


def lose_answers(h: Harness, *resources: str) -> None:
    """Answer creations into the void."""
    assert h.cluster is not None
    h.cluster.faults.add(*(FaultRule("POST", f"/{resource}$", CommitThenDrop()) for resource in resources))


async def waiting_pod(h: Harness) -> None:
    """A pod that no node takes: its events are asked for."""
    job = await h.run(variables=NO_SOURCES)
    assert "timed out waiting for pod to start" in job.text


async def lost_answers(h: Harness) -> None:
    """Creations that are answered into the void."""
    lose_answers(h, "pods", "secrets")
    job = await h.run(variables=NO_SOURCES)
    assert job.state == "success", job.text


async def services(h: Harness) -> None:
    """A service with a private variable, first with a pod that is refused."""
    assert h.cluster is not None
    h.cluster.faults.add(FaultRule("POST", "/pods$", Reply(422, body=b'{"kind": "Status", "reason": "Invalid"}')))
    database = image("postgres", alias="db", variables=SERVICE_VARIABLES)
    for state in ("failed", "success"):
        job = await h.run(variables=PRIVATE, services=[database])
        assert job.state == state, job.text


async def legacy(h: Harness) -> None:
    """A job by exec."""
    job = await h.run(variables=LEGACY)
    assert job.state == "success", job.text


@pytest.mark.only_on("embedded")
async def test_every_right_is_asked_for_and_no_other(cluster: Cluster) -> None:
    """Over all ways that a job can go, the requests are those that the Role for an empty configuration allows."""
    seen: set[tuple[str, str]] = set()
    for way, kubelet in (
        (waiting_pod, ScriptedKubelet(Fate.unschedulable())),
        (lost_answers, ScriptedKubelet()),
        (services, ScriptedKubelet()),
        (legacy, ScriptedKubelet()),
    ):
        async with cluster.harness(kubelet=kubelet, kubernetes={"poll_timeout": 5}) as h:
            await way(h)
            await h.wait_until_empty()
            seen |= asked(h)
    assert seen | NEWER_KUBERNETES == granted({}, (LEGACY_FLAG,))


@dataclass(frozen=True)
class Case:
    """A configuration or a job's wish that needs rights of its own."""

    keys: Keys = field(default_factory=dict)
    flag: str = ""
    job: Keys = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    """Objects whose creation is not answered."""
    beside: frozenset[tuple[str, str]] = frozenset()
    """What is asked for beside jobs, long after the start."""


CASES = {
    "namespace_per_job": Case(
        {"namespace_per_job": True}, lost=("namespaces",), beside=frozenset({("list", "namespaces")})
    ),
    "service_account": Case({"service_account": "default", "resource_availability_check_max_attempts": 1}),
    "overwritten account": Case(
        {"service_account_overwrite_allowed": "default", "resource_availability_check_max_attempts": 1},
        job={"variables": {**NO_SOURCES, "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "default"}},
    ),
    "pod_disruption_budget": Case({"pod_disruption_budget": True}, lost=("poddisruptionbudgets",)),
    "events": Case(flag="FF_PRINT_POD_EVENTS"),
    "entrypoint": Case(flag="FF_KUBERNETES_HONOR_ENTRYPOINT"),
    "reachable": Case(flag="FF_WAIT_FOR_POD_TO_BE_REACHABLE"),
    "ports": Case(job={"image": image("busybox", ports=[{"number": 80}])}, lost=("services",)),
    "service logs": Case(job={"services": ["redis"], "variables": {**NO_SOURCES, "CI_DEBUG_SERVICES": "true"}}),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_a_key_needs_is_what_it_asks_for(cluster: Cluster, case: Case) -> None:
    """A key, a flag or a job's wish brings those rights into the Role whose requests it causes."""
    variables = {**NO_SOURCES, **({case.flag: "true"} if case.flag else {})}
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes=case.keys) as h:
        lose_answers(h, *case.lost)
        job = await h.run(**{"variables": variables, **case.job})
        assert job.state == "success", job.text
        await h.wait_until_empty()
        seen = asked(h)
    allowed = granted(
        case.keys, (case.flag,) if case.flag else (), ports="image" in case.job, service_logs="services" in case.job
    )
    assert (seen | case.beside) - granted({}) == allowed - granted({}) != set()


# On a real cluster


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """The command line sets up logging for its process, which is the tests' here."""
    yield
    structlog.reset_defaults()


@dataclass(frozen=True)
class Account:
    """A service account of the real cluster and the configuration that its rights were printed for."""

    cluster: Cluster
    folder: Path
    connection: Keys
    capsys: pytest.CaptureFixture[str]

    def config(self, **kubernetes: Any) -> Path:
        """Write a config.toml for the account, and give its path."""
        keys = {"namespace": self.cluster.namespace, **self.connection, **kubernetes}
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        path = self.folder / "config.toml"
        path.write_text(
            '[[runners]]\nname = "tests"\nurl = "https://gitlab.example.com"\ntoken = "t"\nexecutor = "kubernetes"\n'
            "[runners.kubernetes]\n" + "\n".join(lines)
        )
        return path

    def printed(self, config: Path, *options: str) -> list[Keys]:
        """The objects that `runner rbac` prints."""
        self.capsys.readouterr()
        arguments = [f"--config={config}", f"--namespace={self.cluster.namespace}", *options]
        assert main(["rbac", *arguments]) == 0
        return list(yaml.safe_load_all(self.capsys.readouterr().out))

    def missing(self, config: Path) -> list[list[str]]:
        """The rows that `runner rbac --check` prints, as namespace, verb, resource."""
        self.capsys.readouterr()
        code = main(["rbac", f"--config={config}", "--check"])
        rows = [line.split()[:3] for line in self.capsys.readouterr().out.splitlines()[1:]]
        assert code == (1 if rows else 0)
        return rows

    def apply(self, *objects: Keys) -> None:
        """Give the cluster these objects."""
        self.cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(objects))

    def remove(self, *objects: Keys) -> None:
        """Take these objects out of the cluster."""
        self.cluster.kubectl("delete", "--ignore-not-found", "--filename=-", stdin=yaml.safe_dump_all(objects))


@pytest.fixture
def account(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Account]:
    """A service account without any right."""
    made: Keys = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(made))
    config = yaml.safe_load(cluster.kubectl("config", "view", "--raw", "--minify"))
    server = config["clusters"][0]["cluster"]
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(base64.b64decode(server["certificate-authority-data"]))
    token = cluster.kubectl("create", "token", "runner").strip()
    connection = {"host": server["server"], "ca_file": str(ca_file), "bearer_token": token}
    yield Account(cluster, tmp_path, connection, capsys)
    cluster.kubectl("delete", "serviceaccount", "runner")


@pytest.fixture
def give(account: Account) -> Iterator[Callable[..., Keys]]:
    """Give the account what `runner rbac` prints for a configuration, and take it back at the end."""
    given: list[Keys] = []

    def give(*options: str, **kubernetes: Any) -> Keys:
        given.extend(account.printed(account.config(**kubernetes), *options))
        account.apply(*given)
        return {**account.connection, **kubernetes}

    yield give
    account.remove(*(each for each in given if each["kind"] != "ServiceAccount"))


@pytest.mark.only_on("real")
@pytest.mark.parametrize(
    ("options", "variables"), [((), NO_SOURCES), ((f"--feature-flag={LEGACY_FLAG}",), LEGACY)], ids=["attach", "exec"]
)
async def test_the_role_is_enough_for_a_job(
    cluster: Cluster, give: Callable[..., Keys], options: tuple[str, ...], variables: dict[str, str]
) -> None:
    """A manager that is this service account runs a job and removes its pod."""
    others = set(cluster.kubectl("get", "secrets", "--output=name").split())
    async with cluster.harness(kubernetes=give(*options)) as h:
        job = await h.run(script=["echo with few rights"], after_script=["echo after"], variables=variables)
        assert job.state == "success", job.text
        assert "\nwith few rights\n" in job.text
        await h.manager.wait_until_idle()
    cluster.kubectl("wait", "--for=delete", "pod", f"--selector=job.runner.gitlab.com/id={job.id}", "--timeout=30s")
    assert set(cluster.kubectl("get", "secrets", "--output=name").split()) <= others


FULL = {
    "pod_disruption_budget": True,
    "service_account": "default",
    "resource_availability_check_max_attempts": 1,
}
FULL_FLAGS = ("FF_PRINT_POD_EVENTS", "FF_WAIT_FOR_POD_TO_BE_REACHABLE")


@pytest.mark.only_on("real")
async def test_the_role_of_many_keys_is_enough(cluster: Cluster, give: Callable[..., Keys]) -> None:
    """So does one whose jobs have a budget, a checked account, events, Services and a node that is asked first."""
    options = ("--job-ports", *(f"--feature-flag={flag}" for flag in FULL_FLAGS))
    async with cluster.harness(kubernetes=give(*options, **FULL)) as h:
        job = await h.run(
            script=["echo with some rights"],
            image=image(cluster.busybox_image, ports=[{"number": 80}]),
            variables={**NO_SOURCES, **dict.fromkeys(FULL_FLAGS, "true")},
        )
        assert job.state == "success", job.text
        assert "cannot be shown" not in job.text


@pytest.mark.only_on("real")
async def test_the_cluster_role_is_enough_for_a_namespace_per_job(cluster: Cluster, give: Callable[..., Keys]) -> None:
    """A manager with the printed ClusterRole makes a namespace for its job and removes it."""
    kubernetes = give(f"--name={cluster.namespace}", namespace_per_job=True)
    async with cluster.harness(kubernetes=kubernetes) as h:
        job = await h.run(script=["echo alone"], variables=NO_SOURCES, id=int(cluster.namespace[-6:], 16))
        assert job.state == "success", job.text
        await h.manager.wait_until_idle()
    cluster.kubectl("wait", "--for=delete", f"namespace/ci-job-{job.id}", "--timeout=60s", timeout=70)


@pytest.mark.only_on("real")
def test_each_rule_that_is_missing_is_named(account: Account) -> None:
    """With all rules nothing is missing; with one of them taken out of the Role, `--check` names its verbs."""
    config = account.config(**FULL)
    objects = account.printed(config, "--job-ports")
    (role,) = (each for each in objects if each["kind"] == "Role")
    account.apply(*objects)
    try:
        assert account.missing(config) == []
        ours = [rule for rule in role["rules"] if rule["resources"] != ["services"]]
        for rule in ours:
            account.apply({**role, "rules": [other for other in role["rules"] if other is not rule]})
            (group,), (resource,) = rule["apiGroups"], rule["resources"]
            name = f"{resource}.{group}" if group else resource
            wanted = [[account.cluster.namespace, verb, name] for verb in rule["verbs"]]
            # The API server learns of a changed Role a moment later.
            found = next((rows for _ in range(20) if (rows := account.missing(config)) == wanted), None)
            assert found == wanted, account.missing(config)
    finally:
        account.remove(*(each for each in objects if each["kind"] != "ServiceAccount"))


@pytest.mark.only_on("real")
async def test_the_role_is_enough_for_a_service_with_a_password(cluster: Cluster, give: Callable[..., Keys]) -> None:
    """The Secret of a service's variables is made, given to the pod, and goes with it."""
    command = ["sh", "-c", 'echo "password: $POSTGRES_PASSWORD"; sleep 600']
    service = image(cluster.busybox_image, alias="db", variables=SERVICE_VARIABLES, command=command)
    async with cluster.harness(kubernetes=give()) as h:
        job = h.queue(script=["echo begun", "sleep 3"], variables=PRIVATE, services=[service])
        await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=60)
        pod = f"--selector=job.runner.gitlab.com/id={job.id}"
        logs = await anyio.to_thread.run_sync(cluster.kubectl, "logs", pod, "--all-containers")
        assert "password: s3cret-word\n" in logs
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        assert h.kube_requests["patch", "secrets"] >= 1


@pytest.mark.only_on("real")
async def test_a_right_that_is_missing_is_named_in_the_log(cluster: Cluster, give: Callable[..., Keys]) -> None:
    """The service account has no right in another namespace: the job's log says which one it lacks."""
    async with cluster.harness(kubernetes={**give(), "namespace": "default"}) as h:
        job = await h.run(variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure")
        assert 'cannot create resource "pods"' in job.text or 'cannot create resource "secrets"' in job.text
        assert "needs a service account with this right" in job.text
