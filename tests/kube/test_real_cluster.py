"""The client against a real Kubernetes: what a scripted server can only suppose.

Needs KUBECONFIG, the right to make namespaces, and an image with sh (RUNNER_TEST_IMAGE, busybox by default) that the
nodes have or can pull.
"""

from __future__ import annotations

import hashlib
import os
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import orjson
import pytest
import yaml

from runner.kube import transport
from runner.kube.attach import AttachStream, ExecStream, StreamLostError, open_attach, open_exec
from runner.kube.channels import STDERR, STDOUT, V4, V5, Frame
from runner.kube.client import KubeClient
from runner.kube.connect import ConnectionSettings, connect
from runner.kube.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from runner.kube.informer import PodInformer
from runner.kube.resources import Manifest
from runner.kube.retries import RetryPolicy
from runner.kube.transport import Request

NAMESPACE = "kube-tests"
IMAGE = os.environ.get("RUNNER_TEST_IMAGE", "busybox:latest")
KUBECONFIG = os.environ.get("KUBECONFIG", "")

pytestmark = [
    pytest.mark.real_cluster,
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="KUBECONFIG names no cluster"),
]

NONCE = "kube-tests/nonce"
ECHO = """
trap 'exit 0' TERM
while read LINE; do
  echo "got $LINE"
  echo "err $LINE" >&2
  [ "$LINE" = end ] && exit 5
done
sleep 600
"""
SLEEP = "trap 'exit 0' TERM; sleep 600 & wait"


def pod(name: str, script: str = SLEEP, *, image: str = IMAGE, nonce: str = "n") -> Manifest:
    """A pod that runs a script."""
    container = {
        "name": "build",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "stdin": True,
        "command": ["sh", "-c", script],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "kube-tests"}, "annotations": {NONCE: nonce}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def code_of(stream: ExecStream) -> int | None:
    """The exit code once it is known."""
    return stream.exit_status.code if stream.exit_status else None


async def receive_all(stream: AttachStream) -> None:
    """Receive until the stream ends."""
    with anyio.fail_after(20):
        while await stream.receive():
            pass


def is_running(seen: Manifest | None) -> bool:
    """Whether a pod runs."""
    return seen is not None and seen["status"].get("phase") == "Running"


async def until(question: Callable[[], Awaitable[bool]], *, timeout: float = 60.0) -> None:
    """Ask the cluster again and again: it sets no events of ours."""
    with anyio.fail_after(timeout):
        while not await question():  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def _prepare() -> None:
    client = await connect(ConnectionSettings(kubeconfig=KUBECONFIG))
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}

    async def made() -> bool:
        try:
            await client.create("namespaces", "", manifest)
        except ConflictError:
            # It stands already, or is still going away after an earlier run.
            found = await _read(client, "namespaces", "", NAMESPACE)
            return found is not None and "deletionTimestamp" not in found["metadata"]
        return True

    async def has_account() -> bool:
        return await _read(client, "serviceaccounts", NAMESPACE, "default") is not None

    await until(made)
    await until(has_account)
    await client.aclose()


async def _read(client: KubeClient, resource: str, namespace: str, name: str) -> Manifest | None:
    try:
        return await client.read(resource, namespace, name)
    except NotFoundError:
        return None


async def _remove() -> None:
    client = await connect(ConnectionSettings(kubeconfig=KUBECONFIG))
    await client.delete("namespaces", "", NAMESPACE)
    await client.aclose()


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    """A namespace of our own, gone when the tests have ended."""
    anyio.run(_prepare)
    yield
    anyio.run(_remove)


@pytest.fixture
async def client() -> AsyncIterator[KubeClient]:
    """A client by kubeconfig."""
    client = await connect(ConnectionSettings(kubeconfig=KUBECONFIG))
    yield client
    await client.aclose()


@pytest.fixture
async def echo(client: KubeClient, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A running pod that answers its stdin."""
    name = "echo-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:10]
    await client.create("pods", NAMESPACE, pod(name, ECHO), nonce_key=NONCE)
    await PodInformer(client, NAMESPACE, poll_interval=0.1).wait(name, is_running, timeout=60)
    yield name
    await client.delete("pods", NAMESPACE, name, grace_seconds=0)


def settings_of_files(directory: Path) -> ConnectionSettings | None:
    """An explicit host with the kubeconfig's certificates as files; None when it has none."""
    config = yaml.safe_load(Path(KUBECONFIG).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    names = {
        "ca_file": (cluster, "certificate-authority-data"),
        "cert_file": (user, "client-certificate-data"),
        "key_file": (user, "client-key-data"),
    }
    if any(key not in part for part, key in names.values()):
        return None
    for name, (part, key) in names.items():
        (directory / name).write_bytes(b64decode(part[key]))
    return ConnectionSettings(host=cluster["server"], **{name: str(directory / name) for name in names})


@pytest.fixture
def files(tmp_path: Path) -> ConnectionSettings:
    """The same, or a skip."""
    settings = settings_of_files(tmp_path)
    if settings is None:
        pytest.skip("the kubeconfig holds no certificates")
    return settings


async def service_account_token(client: KubeClient) -> str:
    """A token of the namespace's default account."""
    request = Request(
        verb="create",
        resource="serviceaccounts/token",
        subject="a token",
        path=f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default/token",
        method="POST",
        body=orjson.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
    )
    return str((await client.transport.call(request))["status"]["token"])


async def test_an_explicit_host_with_certificates_connects(files: ConnectionSettings) -> None:
    """host, cert_file, key_file, ca_file."""
    client = await connect(files, environ={})
    assert int((await client.server_version())["minor"].rstrip("+")) >= 20
    await client.aclose()


async def test_a_certificate_of_a_stranger_is_not_trusted(files: ConnectionSettings) -> None:
    """Without the cluster's CA nothing is sent."""
    settings = ConnectionSettings(host=files.host, bearer_token="secret")
    client = await connect(settings, retry=RetryPolicy(limit=1), environ={})
    with pytest.raises(UnavailableError, match="certificate we do not trust") as caught:
        await client.server_version()
    assert (caught.value.reason, caught.value.sent) == ("CertificateInvalid", False)
    await client.aclose()


async def test_a_token_has_its_own_rights(client: KubeClient, files: ConnectionSettings) -> None:
    """A bearer token with a CA; what it may not do is told as such, on calls, watches and upgrades."""
    token = await service_account_token(client)
    weak = await connect(ConnectionSettings(host=files.host, ca_file=files.ca_file, bearer_token=token), environ={})
    assert not await weak.self_subject_access_review(NAMESPACE, "create", "pods")
    with pytest.raises(ForbiddenError) as caught:
        await weak.list("pods", NAMESPACE)
    assert not caught.value.quota
    with pytest.raises(ForbiddenError, match="needs the verbs get and create on pods/attach"):
        async with open_attach(weak, NAMESPACE, "x", container="c", stdin=True):
            raise AssertionError("it was refused")
    await weak.aclose()


async def test_a_wrong_token_is_unauthorized(files: ConnectionSettings) -> None:
    """Once renewed in vain, the refusal is final."""
    settings = ConnectionSettings(host=files.host, ca_file=files.ca_file, bearer_token="nonsense")
    client = await connect(settings, environ={})
    with pytest.raises(UnauthorizedError):
        await client.list("pods", NAMESPACE)
    await client.aclose()


async def test_a_plugin_that_turns_to_certificates_is_followed(files: ConnectionSettings, tmp_path: Path) -> None:
    """A refused token makes the plugin run; the certificate it gives is shown on new connections."""
    config = yaml.safe_load(await anyio.Path(KUBECONFIG).read_text())
    first = tmp_path / "first"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    chain = {
        "clientCertificateData": await anyio.Path(files.cert_file).read_text(),
        "clientKeyData": await anyio.Path(files.key_file).read_text(),
    }
    answers = {"token": {**credential, "status": {"token": "nonsense"}}, "chain": {**credential, "status": chain}}
    for name, answer in answers.items():
        await anyio.Path(tmp_path / name).write_bytes(orjson.dumps(answer))
    script = f"#!/bin/sh\nif mkdir {first}; then cat {tmp_path}/token; else cat {tmp_path}/chain; fi\n"
    await anyio.Path(tmp_path / "plugin").write_text(script)
    await anyio.Path(tmp_path / "plugin").chmod(0o755)
    config["users"][0]["user"] = {
        "exec": {"apiVersion": credential["apiVersion"], "command": str(tmp_path / "plugin"), "args": []}
    }
    await anyio.Path(tmp_path / "config").write_text(yaml.safe_dump(config))
    client = await connect(ConnectionSettings(kubeconfig=str(tmp_path / "config")), environ={})
    await client.list("pods", NAMESPACE)
    await client.aclose()


async def test_a_pods_service_account_connects(client: KubeClient, files: ConnectionSettings, tmp_path: Path) -> None:
    """The way a manager in the cluster goes, with this host's address for the cluster's."""
    account = anyio.Path(tmp_path / "account")
    await account.mkdir()
    await (account / "token").write_text(await service_account_token(client))
    await (account / "ca.crt").write_bytes(await anyio.Path(files.ca_file).read_bytes())
    host, _, port = files.host.removeprefix("https://").rpartition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    inside = await connect(ConnectionSettings(), environ=environ, service_account_dir=str(account))
    assert not await inside.self_subject_access_review(NAMESPACE, "create", "pods")
    await inside.aclose()


async def test_a_name_belongs_to_its_nonce(client: KubeClient) -> None:
    """Creating again gives the same pod; with another nonce it is a conflict; another uid is not deleted."""
    made = await client.create("pods", NAMESPACE, pod("nonce"), nonce_key=NONCE)
    again = await client.create("pods", NAMESPACE, pod("nonce"), nonce_key=NONCE)
    assert again["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(ConflictError) as caught:
        await client.create("pods", NAMESPACE, pod("nonce", nonce="other"), nonce_key=NONCE)
    assert caught.value.already_exists
    with pytest.raises(ConflictError) as caught:
        await client.delete("pods", NAMESPACE, "nonce", uid="00000000-0000-0000-0000-000000000000")
    assert not caught.value.already_exists
    assert await client.delete("pods", NAMESPACE, "nonce", uid=made["metadata"]["uid"], grace_seconds=0)
    assert not await client.delete("pods", NAMESPACE, "nonce")


async def test_refusals_have_their_classes(client: KubeClient) -> None:
    """Invalid, unreadable, unknown, and over quota; a dry run leaves nothing."""
    bad = pod("Bad_Name")
    with pytest.raises(InvalidError, match="Bad_Name"):
        await client.create("pods", NAMESPACE, bad)
    with pytest.raises(BadRequestError) as unread:
        await client.create(
            "secrets", NAMESPACE, {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "hunter2!"}}
        )
    assert "hunter2" not in str(unread.value)
    await client.create("pods", NAMESPACE, pod("dry"), dry_run=True)
    with pytest.raises(NotFoundError):
        await client.read("pods", NAMESPACE, "dry")
    quota = {"kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}}
    await client.create("resourcequotas", NAMESPACE, quota)

    async def counted() -> bool:
        return bool((await client.read("resourcequotas", NAMESPACE, "none")).get("status", {}).get("hard"))

    await until(counted)
    with pytest.raises(ForbiddenError) as full:
        await client.create("secrets", NAMESPACE, {"kind": "Secret", "metadata": {"name": "s"}})
    assert full.value.quota
    await client.delete("resourcequotas", NAMESPACE, "none")


async def test_lists_come_in_pages_and_patches_merge(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object once; a null removes a key."""
    monkeypatch.setattr("runner.kube.client.PAGE_SIZE", 2)
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        await client.create(
            "configmaps",
            NAMESPACE,
            {"kind": "ConfigMap", "metadata": {"name": name, "labels": {"page": "yes"}}, "data": {"a": "1"}},
        )
    found = await client.list("configmaps", NAMESPACE, label_selector="page=yes")
    assert [item["metadata"]["name"] for item in found] == names
    patched = await client.patch("configmaps", NAMESPACE, "page-0", {"data": {"a": None, "b": "2"}})
    assert patched["data"] == {"b": "2"}


async def test_an_image_that_cannot_be_pulled_shows_in_state_and_events(client: KubeClient) -> None:
    """What the executor tells the user about."""
    made = await client.create("pods", NAMESPACE, pod("pull", image="localhost:1/no/such:image"))

    def waiting(seen: Manifest | None) -> bool:
        statuses = seen["status"].get("containerStatuses", []) if seen else []
        reasons = {status["state"].get("waiting", {}).get("reason") for status in statuses}
        return bool(reasons & {"ErrImagePull", "ImagePullBackOff"})

    await PodInformer(client, NAMESPACE, poll_interval=0.1).wait("pull", waiting, timeout=60)
    events = await client.warning_events(NAMESPACE, "pull", uid=made["metadata"]["uid"])
    assert "Failed" in {event["reason"] for event in events}
    assert await client.warning_events(NAMESPACE, "pull", uid="other") == ()
    await client.delete("pods", NAMESPACE, "pull", grace_seconds=0)


@pytest.mark.parametrize("protocols", [(V5, V4), (V4,)], ids=["v5", "v4"])
async def test_exec_gives_output_and_code(
    client: KubeClient, echo: str, protocols: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both protocols: codes, both streams, megabytes, and an end without delay."""
    monkeypatch.setattr(transport, "PROTOCOLS", protocols)
    script = "echo out; echo err >&2; exit 3"
    async with open_exec(client, NAMESPACE, echo, container="build", command=["sh", "-c", script]) as stream:
        frames = set()
        while (frame := await stream.receive()) is not None:
            frames.add(frame)
        assert frames == {Frame(STDOUT, b"out\n"), Frame(STDERR, b"err\n")}
        assert (stream.protocol, code_of(stream), stream.drained) == (protocols[0], 3, True)
    started = time.monotonic()
    script = "head -c 5000000 /dev/zero | tr '\\0' x; kill -9 $$"
    async with open_exec(client, NAMESPACE, echo, container="build", command=["sh", "-c", script]) as stream:
        size = 0
        while (frame := await stream.receive()) is not None:
            size += len(frame.data)
        assert (size, code_of(stream), stream.drained) == (5_000_000, 137, True)
    assert time.monotonic() - started < 5


async def test_exec_reads_stdin_to_its_end(client: KubeClient, echo: str) -> None:
    """Half-closed with v5: the bytes arrive as they were."""
    data = os.urandom(1_000_000)
    async with open_exec(client, NAMESPACE, echo, container="build", command=["sha256sum"], stdin=True) as stream:
        await stream.send(data)
        if not await stream.close_stdin():
            pytest.skip("this API server speaks v4 alone")
        frame = await stream.receive()
        assert frame is not None
        assert frame.data.decode().split()[0] == hashlib.sha256(data).hexdigest()
        assert (await stream.wait()).code == 0


async def test_exec_that_cannot_start_has_no_code(client: KubeClient, echo: str) -> None:
    """An upgrade succeeds before the runtime is asked, so the words come on the error channel."""
    async with open_exec(client, NAMESPACE, echo, container="build", command=["no-such-command"]) as stream:
        status = await stream.wait()
    assert status.code is None or status.code in {126, 127}
    assert "no-such-command" in status.message or status.code is not None
    with pytest.raises(BadRequestError, match="container nope is not valid"):
        async with open_exec(client, NAMESPACE, echo, container="nope", command=["true"]):
            raise AssertionError("it was refused")


async def test_a_slow_reader_loses_nothing(client: KubeClient, echo: str) -> None:
    """Nothing is read while another stream lives through twenty keepalive intervals; then everything is there."""
    opened = partial(open_exec, client, NAMESPACE, echo, container="build", keepalive_interval=0.1)
    async with opened(command=["sh", "-c", "head -c 30000000 /dev/zero"]) as stream:
        async with opened(command=["sleep", "2"]) as clock:
            assert (await clock.wait()).code == 0
        size = 0
        while (frame := await stream.receive()) is not None:
            size += len(frame.data)
        assert (size, code_of(stream)) == (30_000_000, 0)


async def test_attach_talks_and_pings_and_ends_with_the_container(client: KubeClient, echo: str) -> None:
    """Pings and empty messages are taken well; the end of the container is a loss, whatever its code."""
    async with open_attach(
        client, NAMESPACE, echo, container="build", stdin=True, stdout=True, stderr=True, keepalive_interval=0.3
    ) as stream:
        with anyio.move_on_after(7):
            await stream.receive()
        for word in (b"one", b"two"):
            await stream.send(word + b"\n")
            frames = {await stream.receive(), await stream.receive()}
            assert frames == {Frame(STDOUT, b"got " + word + b"\n"), Frame(STDERR, b"err " + word + b"\n")}
        await stream.send(b"end\n")
        with pytest.raises(StreamLostError):
            await receive_all(stream)


async def test_lines_that_are_sent_before_leaving_arrive(client: KubeClient, echo: str) -> None:
    """Attach, send one line, leave: also when a wait for output had been given up before."""
    for number in range(20):
        listen = bool(number % 2)
        async with open_attach(client, NAMESPACE, echo, container="build", stdin=True, stdout=listen) as stream:
            if listen:
                with anyio.move_on_after(0.01):
                    await stream.receive()
            await stream.send(b"line-%d\n" % number)
    async with open_attach(client, NAMESPACE, echo, container="build", stdin=True, stdout=True) as stream:
        await stream.send(b"last\n")
        output = b""
        with anyio.fail_after(10):
            while b"got last\n" not in output:
                output += (await stream.receive()).data
    request = Request(
        verb="get", resource="pods/log", subject="the log", path=f"/api/v1/namespaces/{NAMESPACE}/pods/{echo}/log"
    )
    log = b""
    async with client.transport.stream(request, idle_timeout=10) as stream_of_log:
        while part := await stream_of_log.receive():
            log += part
    lines = [line for line in log.decode().splitlines() if line.startswith("got line-")]
    assert lines == [f"got line-{number}" for number in range(20)]


async def test_the_informer_follows_a_pod_from_birth_to_death(client: KubeClient) -> None:
    """Pending, Running, going, gone; the last state is kept, and no GET is needed but the last."""
    seen: list[tuple[str, str]] = []
    counted = await connect(
        ConnectionSettings(kubeconfig=KUBECONFIG), observe=lambda verb, resource, *_: seen.append((verb, resource))
    )
    informer = PodInformer(counted, NAMESPACE, selector="app=kube-tests")
    async with anyio.create_task_group() as group:
        group.start_soon(informer.run)
        assert await informer.wait_until_synced(timeout=10)
        await client.create("pods", NAMESPACE, pod("course"))
        with informer.subscribe("course") as subscription, anyio.fail_after(60):
            state = await subscription.next()
            while not is_running(state):
                state = await subscription.next()
            await client.delete("pods", NAMESPACE, "course", grace_seconds=1)
            states = []
            while state is not None:
                state = await subscription.next()
                states.append(state)
            assert any(state and "deletionTimestamp" in state["metadata"] for state in states)
            assert subscription.last_seen is not None
            assert subscription.last_seen["metadata"]["name"] == "course"
        group.cancel_scope.cancel()
    await counted.aclose()
    assert [entry for entry in seen if entry[0] == "get"] == [("get", "pods")]


async def test_an_old_version_is_gone(client: KubeClient) -> None:
    """In the stream, with status 200: the informer lists anew."""
    informer = PodInformer(client, NAMESPACE)
    informer._version, informer._relist = "1", False
    with pytest.raises(GoneError):
        await informer._watch()
    async with anyio.create_task_group() as group:
        group.start_soon(informer.run)

        async def relisted() -> bool:
            return informer.watching and informer._version != "1"

        await until(relisted)
        group.cancel_scope.cancel()
