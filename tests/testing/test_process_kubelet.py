"""Containers as real processes: streams, ends, volumes, and nothing left behind."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import orjson
import pytest

from runner.testing.cluster.environment import command_line, container_environment, expand, image_problem
from runner.testing.cluster.processes import MARKER
from runner.testing.kubelets import ProcessKubelet
from runner.testing.kubernetes import KubernetesServer

PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
Shell = Callable[..., dict[str, Any]]


@pytest.fixture
def kubelet() -> ProcessKubelet:
    """A kubelet that knows one image's entrypoint."""
    return ProcessKubelet(entrypoints={"greeter:1": ("/bin/sh", "-c", "echo hello $0")})


@pytest.fixture
def shell() -> Shell:
    """Make a pod of one container that runs a shell text."""

    def made(text: str = "cat", *, name: str = "p", **spec: Any) -> dict[str, Any]:
        container = {"name": "main", "image": "any:1", "stdin": True, "command": ["/bin/sh", "-c", text]}
        container |= spec.pop("container", {})
        return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}

    return made


def living(marker: str) -> list[str]:
    """Return the command lines of the processes that carry a pod's uid, or were given this text as an argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{MARKER}={marker}".encode() in environment or marker.encode() in line.split(b"\0"):
            found.append(line.replace(b"\0", b" ").decode())
    return found


def terminated(manifest: dict[str, Any], *, init: bool = False) -> tuple[int, str, int]:
    """Return exit code, reason and signal of the first container."""
    (row, *_) = manifest["status"]["initContainerStatuses" if init else "containerStatuses"]
    state = row["state"]["terminated"]
    return state["exitCode"], state["reason"], state.get("signal", 0)


# Streams


async def test_output_comes_on_two_channels_and_input_reaches_the_process(api: Any, shell: Shell) -> None:
    """The first frame is empty on the lowest channel; stdout and stderr stay apart; the end is a Status."""
    await api.create(shell('read line; echo "out $line"; echo "err $line" >&2; exit 3'))
    await api.phase("p", "Running")
    async with api.stream("p", "attach", container="main") as stream:
        assert stream.socket.protocol == "v5.channel.k8s.io"
        await stream.send(b"one\n")
        status = await stream.status()
    assert stream.frames[0] == b"\x01"
    assert (stream.channels[1], stream.channels[2]) == (b"out one\n", b"err one\n")
    assert status == {"metadata": {}, "status": "Success"}
    assert terminated(await api.phase("p", "Failed")) == (3, "Error", 0)


async def test_input_is_shared_and_outlives_its_clients_when_it_is_not_once(api: Any, shell: Shell) -> None:
    """Two clients feed one pipe, each sees all output, and neither a half-close nor a leave ends it."""
    await api.create(shell())
    await api.phase("p", "Running")
    async with api.stream("p", "attach", container="main") as first:
        async with api.stream("p", "attach", container="main") as second:
            await first.send(b"1\n")
            await second.until(1, b"1\n")
            await second.send(b"2\n")
            await second.end_input()
            await first.until(1, b"1\n2\n")
        await first.send(b"3\n")
        await first.until(1, b"3\n")
    async with api.stream("p", "attach", container="main") as third:
        await third.send(b"4\n")
        assert await third.until(1, b"4\n") == b"4\n"


async def test_input_ends_with_its_first_client_when_it_is_once(api: Any, shell: Shell) -> None:
    """`stdinOnce` closes it for good."""
    await api.create(shell(container={"stdinOnce": True}))
    await api.phase("p", "Running")
    async with api.stream("p", "attach", container="main") as stream:
        await stream.send(b"1\n")
        await stream.until(1, b"1\n")
    await api.phase("p", "Succeeded")


async def test_container_log_keeps_what_nobody_was_attached_for(api: Any, shell: Shell) -> None:
    """An attach begins with the present; the log has the past, its tail, its times, and follows to the end."""
    await api.create(shell("echo one; echo two; read line; printf three; echo; cat"))
    await api.phase("p", "Running")
    async with api.session.get(f"{PODS}/p/log", params={"follow": "true"}) as follower:
        assert await follower.content.readexactly(8) == b"one\ntwo\n"
        async with api.stream("p", "attach", container="main") as stream:
            await stream.send(b"\n")
            assert await follower.content.readexactly(6) == b"three\n"
            assert await stream.until(1, b"three\n") == b"three\n"
    for query, expected in (
        ({"tailLines": "1"}, b"three\n"),
        ({"tailLines": "2", "limitBytes": "5"}, b"two\nt"),
        ({"sinceSeconds": "600"}, b"one\ntwo\nthree\n"),
        ({"sinceTime": "2999-01-01T00:00:00Z"}, b""),
    ):
        async with api.session.get(f"{PODS}/p/log", params=query) as answer:
            assert await answer.read() == expected
    async with api.session.get(f"{PODS}/p/log", params={"timestamps": "true"}) as answer:
        words = [line.split(b" ") for line in (await answer.read()).splitlines()]
    assert [word for _, word in words] == [b"one", b"two", b"three"]
    assert all(len(stamp) == 30 and stamp.endswith(b"Z") for stamp, _ in words)


@pytest.mark.slow
async def test_reader_that_stops_blocks_the_others_until_it_is_cut(
    api: Any, shell: Shell, cluster: KubernetesServer
) -> None:
    """One stalled client holds up the process itself; its end lets everything go on."""
    size = 20_000_000
    await api.create(shell(f"read line; head -c {size} /dev/zero; cat"))
    await api.phase("p", "Running")
    query = {"container": "main", "stdin": "true", "stdout": "true"}
    async with aiohttp.ClientSession(cluster.url) as session:
        stalled = await session.ws_connect(f"{PODS}/p/attach", protocols=("v5.channel.k8s.io",), params=query)
        assert (await stalled.receive()).data == b"\x01"
        # The kernel's buffers fill, and the server waits.
        transport = stalled._conn.transport if stalled._conn else None
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        async with api.stream("p", "attach", container="main") as stream:
            await stream.send(b"\n")
            taken = 0
            with anyio.move_on_after(0.5) as waited:
                while taken < size:
                    taken += len((await stream.socket.receive()).data) - 1
            assert waited.cancelled_caught
            transport.abort()
            with anyio.fail_after(20):
                while taken < size:
                    taken += len((await stream.socket.receive()).data) - 1
    assert taken == size


@pytest.mark.parametrize("what", ["attach", "exec"])
async def test_ended_container_is_reported_in_the_stream_or_before_it(api: Any, shell: Shell, what: str) -> None:
    """With v5 a Status on channel 3, with v4 an HTTP error."""
    await api.create(shell("exit 0"))
    await api.phase("p", "Succeeded")
    async with api.stream("p", what, container="main", command="true") as stream:
        status = await stream.status()
    assert (status["code"], "unable to upgrade connection: container" in status["message"]) == (500, True)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with api.stream("p", what, protocols=("v4.channel.k8s.io",), container="main", command="true"):
            pass
    assert caught.value.status == 500


async def test_exec_returns_the_exit_code_and_ends_its_input_at_a_half_close(api: Any, shell: Shell) -> None:
    """A megabyte goes in, its sum comes out, the code is in the Status."""
    await api.create(shell())
    await api.phase("p", "Running")
    command = ["/bin/sh", "-c", "sha256sum; exit 7"]
    async with api.stream("p", "exec", container="main", command=command) as stream:
        for _ in range(32):
            await stream.send(b"x" * 32768)
        await stream.end_input()
        status = await stream.status()
    assert stream.channels[1].split()[0].decode() == hashlib.sha256(b"x" * 2**20).hexdigest()
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_exec_lives_on_when_its_client_leaves(api: Any, shell: Shell, tmp_path: Path) -> None:
    """The process belongs to the container, not to the connection."""
    await api.create(shell())
    await api.phase("p", "Running")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = ["/bin/sh", "-c", f"echo ready; read line; echo read $? > {pipe}"]
    async with api.stream("p", "exec", container="main", command=command) as stream:
        await stream.until(1, b"ready")
    with anyio.fail_after(10):
        assert await anyio.to_thread.run_sync(pipe.read_text, abandon_on_cancel=True) == "read 1\n"


async def test_exec_of_an_unknown_program_is_an_error_of_the_runtime(api: Any, shell: Shell) -> None:
    """500 InternalError with the runtime's words."""
    await api.create(shell())
    await api.phase("p", "Running")
    async with api.stream("p", "exec", container="main", command="nonesuch") as stream:
        status = await stream.status()
    assert status["reason"] == "InternalError"
    assert 'exec: "nonesuch": executable file not found in $PATH' in status["message"]


async def test_terminal_has_the_size_that_the_client_gives_it(api: Any, shell: Shell) -> None:
    """A tty is a real one, of the session, and resizes."""
    await api.create(shell())
    await api.phase("p", "Running")
    command = ["/bin/sh", "-c", "read line; stty size; echo own > /dev/tty"]
    query = {"container": "main", "command": command, "tty": "true", "stderr": "false"}
    async with api.stream("p", "exec", **query) as stream:
        await stream.send(orjson.dumps({"Width": 101, "Height": 37}), channel=4)
        await stream.send(b"\n")
        status = await stream.status()
    assert b"37 101\r\nown\r\n" in stream.channels[1]
    assert status["status"] == "Success"


# Ends


async def test_term_goes_to_the_first_process_and_its_trap_ends_the_pod(
    api: Any, shell: Shell, cluster: KubernetesServer
) -> None:
    """A deletion with a grace is TERM; the log shows that the trap ran; nothing is left."""
    created = await api.create(shell('trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 60 & wait; done'))
    await api.phase("p", "Running")
    await _printed(api, b"ready\n")
    async with api.stream("p", "attach", container="main") as stream:
        await stream.step()
        await api.ask("DELETE", f"{PODS}/p")
        await stream.until(1, b"bye\n")
    await cluster.wait_until_gone()
    assert living(created["metadata"]["uid"] + "-main") == []


async def _log(api: Any) -> bytes:
    async with api.session.get(f"{PODS}/p/log") as answer:
        content: bytes = await answer.read()
        return content


@pytest.mark.slow
async def test_kill_follows_term_after_the_grace(api: Any, shell: Shell, cluster: KubernetesServer) -> None:
    """A process that ignores TERM is gone after the grace, not before."""
    created = await api.create(shell('trap "" TERM; echo ready; while :; do sleep 60 & wait; done'))
    await api.phase("p", "Running")
    await _printed(api, b"ready\n")
    await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 1})
    manifest = (await api.ask("GET", f"{PODS}/p"))[1]
    assert manifest["metadata"]["deletionGracePeriodSeconds"] == 1
    await cluster.wait_until_gone()
    assert living(created["metadata"]["uid"] + "-main") == []


async def _printed(api: Any, wanted: bytes) -> None:
    async with api.session.get(f"{PODS}/p/log", params={"follow": "true"}) as answer:
        with anyio.fail_after(10):
            assert await answer.content.readexactly(len(wanted)) == wanted


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that belongs to no container, though its arguments look like it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", "echo ready; sleep 600; :", f"{MARKER}=x"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize(
    "daemon",
    [
        "sleep TAG",
        "setsid sleep TAG",
        "setsid sleep TAG >/dev/null 2>&1 </dev/null",
        "env -i setsid sleep TAG",
        "env -i sleep TAG >/dev/null 2>&1 </dev/null",
    ],
    ids=[
        "child",
        "own session",
        "own session and streams",
        "own session, no environment",
        "no environment, no streams",
    ],
)
@pytest.mark.parametrize("end", ["by itself", "by force"])
async def test_daemon_does_not_outlive_its_container_and_a_stranger_does(
    api: Any, shell: Shell, stranger: subprocess.Popen[bytes], daemon: str, end: str
) -> None:
    """All processes of a container end with it, however they hide, and no other process does."""
    tag = str(70_000 + os.getpid() % 10_000)
    await api.create(shell(f"{daemon.replace('TAG', tag)} & echo ready; read line"))
    await api.phase("p", "Running")
    await _printed(api, b"ready\n")
    with anyio.fail_after(10):
        while not living(tag):  # noqa: ASYNC110 -- /proc tells of no event, and the shell goes on before its child is the daemon
            await anyio.sleep(0.01)
    if end == "by force":
        async with api.stream("p", "attach", container="main") as stream:
            await stream.step()
            await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
            await stream.status()
    else:
        async with api.stream("p", "attach", container="main") as stream:
            await stream.send(b"\n")
            await stream.status()
    assert living(tag) == []
    assert stranger.poll() is None


@pytest.mark.slow
async def test_pod_past_its_deadline_fails(api: Any, shell: Shell) -> None:
    """Phase Failed, reason DeadlineExceeded, its processes killed."""
    await api.create(shell(activeDeadlineSeconds=1))
    manifest = await api.phase("p", "Failed")
    assert manifest["status"]["reason"] == "DeadlineExceeded"
    assert terminated(await api.pod_until("p", lambda one: "terminated" in str(one))) == (137, "Error", 9)


async def test_server_leaves_nothing_when_it_is_closed_under_running_pods(
    kubelet: ProcessKubelet, shell: Shell, client: Any, tmp_path: Path
) -> None:
    """No process, no folder, no mount."""
    mount = tmp_path / "deep" / "mount"
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": str(mount)}]}
    async with KubernetesServer(kubelet) as server, client(server) as api:
        created = await api.create(shell("trap '' TERM; sleep 600", container=mounts, **volumes))
        await api.phase("p", "Running")
        assert mount.is_symlink()
        folder = kubelet.folder
    assert (living(created["metadata"]["uid"] + "-main"), folder.exists(), os.listdir(tmp_path)) == ([], False, [])


# Start


async def test_environment_is_expanded_and_dollars_are_halved(api: Any, shell: Shell) -> None:
    """`$(NAME)` in values, commands and arguments; `$$` is one dollar; secrets and fields come by reference."""
    await api.create({"metadata": {"name": "s"}, "stringData": {"key": "hush"}}, "secrets")
    variables = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$$(A)$$x"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    container = {"env": variables, "args": ["$(B)", "$$(A)"]}
    await api.create(shell('echo "$B|$SECRET|$POD|$0|$1|$HOME|$PWD"', container=container))
    await api.phase("p", "Succeeded")
    values = (await _log(api)).decode().strip().split("|")
    assert values[:5] == ["1$(A)$x", "hush", "p", "1$(A)$x", "$(A)"]
    assert (Path(values[5]).name, Path(values[6]).name) == ("home", "work")


async def test_container_waits_for_a_secret_and_starts_when_it_comes(api: Any, shell: Shell) -> None:
    """CreateContainerConfigError is not the end: the kubelet looks again."""
    variable = {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    await api.create(shell("echo $S", container={"env": [variable]}))
    manifest = await api.pod_until("p", lambda one: "CreateContainerConfigError" in str(one["status"]))
    assert manifest["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == 'secret "s" not found'
    await api.create({"metadata": {"name": "s"}, "stringData": {"k": "late"}}, "secrets")
    await api.phase("p", "Succeeded")
    assert await _log(api) == b"late\n"


@pytest.mark.parametrize(
    ("image", "policy", "reason"),
    [
        ("registry.test/missing:1", "IfNotPresent", "ImagePullBackOff"),
        ("missing", "Never", "ErrImageNeverPull"),
        ("Upper:1", "Always", "InvalidImageName"),
    ],
    ids=["missing", "never", "invalid"],
)
async def test_image_that_cannot_be_had_keeps_the_container_waiting(
    api: Any, shell: Shell, image: str, policy: str, reason: str
) -> None:
    """The waiting reason is the kubelet's, and the pod can be deleted."""
    await api.create(shell(container={"image": image, "imagePullPolicy": policy}))
    manifest = await api.pod_until("p", lambda one: reason in str(one["status"]))
    assert manifest["status"]["phase"] == "Pending"
    await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 1})


async def test_program_that_is_not_there_is_a_start_error(api: Any, shell: Shell) -> None:
    """Terminated with 128 and the runtime's words, without having run."""
    await api.create(shell(container={"command": ["nonesuch"]}))
    manifest = await api.phase("p", "Failed")
    assert terminated(manifest)[:2] == (128, "StartError")


async def test_image_runs_its_entrypoint_when_the_spec_has_no_command(api: Any, shell: Shell) -> None:
    """`entrypoints` stands for the image's own; arguments go behind it."""
    await api.create(shell(container={"image": "greeter:1", "command": [], "args": ["you"]}))
    await api.phase("p", "Succeeded")
    assert await _log(api) == b"hello you\n"


async def test_image_without_an_entrypoint_idles_until_it_is_told_to_end(
    api: Any, shell: Shell, cluster: KubernetesServer
) -> None:
    """A service container of an unknown image runs and leaves at TERM."""
    await api.create(shell(container={"command": []}))
    await api.phase("p", "Running")
    await api.ask("DELETE", f"{PODS}/p")
    await cluster.wait_until_gone()


async def test_init_containers_run_in_turn_and_a_failure_ends_the_pod(api: Any, shell: Shell, tmp_path: Path) -> None:
    """The second does not begin before the first has ended; after a failure nothing more starts."""
    manifest = shell("echo main")
    (main,) = manifest["spec"]["containers"]
    first = {**main, "name": "first", "command": ["/bin/sh", "-c", f"echo 1 >> {tmp_path}/order"]}
    second = {**main, "name": "second", "command": ["/bin/sh", "-c", f"echo 2 >> {tmp_path}/order; exit 5"]}
    manifest["spec"]["initContainers"] = [first, second]
    await api.create(manifest)
    ended = await api.phase("p", "Failed")
    assert [row["state"]["terminated"]["exitCode"] for row in ended["status"]["initContainerStatuses"]] == [0, 5]
    assert ended["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert (tmp_path / "order").read_text() == "1\n2\n"


# Volumes


async def test_volume_is_shared_by_its_containers_and_goes_with_the_pod(
    api: Any, shell: Shell, cluster: KubernetesServer, tmp_path: Path
) -> None:
    """A mount appears at its absolute path and vanishes, with the folders made for it."""
    path = tmp_path / "a" / "b"
    manifest = shell(f"while [ ! -s {path}/sub/file ]; do :; done; cat {path}/sub/file; cat")
    (main,) = manifest["spec"]["containers"]
    main["volumeMounts"] = [{"name": "v", "mountPath": str(path)}]
    other = {**main, "name": "other", "command": ["/bin/sh", "-c", f"mkdir {path}/sub; echo shared > {path}/sub/file"]}
    manifest["spec"] |= {"containers": [main, other], "volumes": [{"name": "v", "emptyDir": {}}]}
    await api.create(manifest)
    await api.pod_until("p", lambda one: "Completed" in str(one["status"]))
    async with api.session.get(f"{PODS}/p/log", params={"follow": "true", "container": "main"}) as answer:
        assert await answer.content.readexactly(7) == b"shared\n"
    assert path.is_symlink()
    await api.ask("DELETE", f"{PODS}/p")
    await cluster.wait_until_gone()
    assert os.listdir(tmp_path) == []


async def test_host_path_at_its_own_path_is_the_folder_itself_and_stays(
    api: Any, shell: Shell, cluster: KubernetesServer, tmp_path: Path
) -> None:
    """What a job wrote there is still there for the next."""
    builds = tmp_path / "builds"
    volumes = [{"name": "v", "hostPath": {"path": str(builds)}}]
    mounts = [{"name": "v", "mountPath": str(builds)}]
    await api.create(shell(f"echo kept > {builds}/file", container={"volumeMounts": mounts}, volumes=volumes))
    await api.phase("p", "Succeeded")
    await api.ask("DELETE", f"{PODS}/p")
    await cluster.wait_until_gone()
    assert ((builds / "file").read_text(), builds.is_symlink()) == ("kept\n", False)


async def test_mount_waits_while_its_path_is_taken(
    api: Any, shell: Shell, cluster: KubernetesServer, tmp_path: Path
) -> None:
    """CreateContainerError names the path; when the other pod has gone, the container starts."""
    path = tmp_path / "m"
    spec = {
        "container": {"volumeMounts": [{"name": "v", "mountPath": str(path)}]},
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    await api.create(shell(**spec))
    await api.phase("p", "Running")
    await api.create(shell(name="q", **spec))
    manifest = await api.pod_until("q", lambda one: "CreateContainerError" in str(one["status"]))
    assert str(path) in manifest["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 1})
    await api.phase("q", "Running")


async def test_mount_never_touches_what_was_there_before(api: Any, shell: Shell, tmp_path: Path) -> None:
    """A folder in the way stays as it is."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "precious").write_text("x")
    mounts = [{"name": "v", "mountPath": str(tmp_path / "m")}]
    await api.create(shell(container={"volumeMounts": mounts}, volumes=[{"name": "v", "emptyDir": {}}]))
    await api.pod_until("p", lambda one: "CreateContainerError" in str(one["status"]))
    await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 1})
    assert (tmp_path / "m" / "precious").read_text() == "x"


async def test_secret_and_config_map_volumes_are_files(api: Any, shell: Shell, tmp_path: Path) -> None:
    """Keys are files, items choose and rename, a projection joins; a missing secret holds the pod until it comes."""
    await api.create({"metadata": {"name": "c"}, "data": {"one": "1", "two": "2"}}, "configmaps")
    volumes = [
        {"name": "c", "configMap": {"name": "c", "items": [{"key": "two", "path": "deep/zwei"}]}},
        {"name": "s", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}},
    ]
    mounts = [{"name": name, "mountPath": f"{tmp_path}/{name}"} for name in ("c", "s")]
    await api.create(
        shell(f"cd {tmp_path}; cat c/deep/zwei s/one s/key", container={"volumeMounts": mounts}, volumes=volumes)
    )
    events = api.watch("/api/v1/namespaces/default/events")
    reasons = {(await anext(events))["object"]["reason"] for _ in range(2)}
    assert reasons == {"Scheduled", "FailedMount"}
    await events.aclose()
    await api.create({"metadata": {"name": "s"}, "stringData": {"key": "hush"}}, "secrets")
    await api.phase("p", "Succeeded")
    assert await _log(api) == b"21hush"


# The helper's programs


async def test_helper_agent_of_this_package_answers_when_it_is_the_first_process(
    api: Any, shell: Shell, tmp_path: Path
) -> None:
    """`runner-helper-agent` is found in PATH, runs without the job's Python settings, and speaks the protocol."""
    container = {
        "command": ["runner-helper-agent", "--logs", str(tmp_path), "--scripts", str(tmp_path)],
        "env": [{"name": "PYTHONPATH", "value": "/nonexistent"}, {"name": "PYTHONSTARTUP", "value": "/nonexistent"}],
    }
    await api.create(shell(container=container))
    await api.phase("p", "Running")
    async with api.stream("p", "attach", container="main") as stream:
        await stream.command("ping 1")
        assert b"pong 1\n" in await stream.until(2, b"pong 1\n")


@pytest.mark.usefixtures("cluster")
async def test_programs_run_this_very_interpreter(kubelet: ProcessKubelet) -> None:
    """No other Python of the machine comes between."""
    written = {program.name: program.read_text() for program in (kubelet.folder / "bin").iterdir()}
    assert {name for name, text in written.items() if sys.executable in text} == {
        "gitlab-runner-helper",
        "runner-helper-agent",
    }


# Pure parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$$", "$$"),
        ("$A $ $", "$A $ $"),
        ("$(A", "$(A"),
    ],
    ids=["known", "unknown", "escaped", "twice", "bare", "open"],
)
def test_reference_is_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    """Known names are replaced, doubled dollars halved, all else stays."""
    assert expand(text, {"A": "1"}) == expected


@pytest.mark.parametrize(
    ("image", "reasons"),
    [
        ("busybox", []),
        ("registry.test:5000/group/project/image:1.2-alpine", []),
        ("a/b@sha256:" + "0" * 64, []),
        ("Busybox", ["InvalidImageName"]),
        ("busybox:", ["InvalidImageName"]),
        ("busy box", ["InvalidImageName"]),
        ("registry.test/missing-1:2", ["ErrImagePull", "ImagePullBackOff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_image_name_decides_what_can_be_pulled(image: str, reasons: list[str]) -> None:
    """Valid names can be had, unless they say that they are missing."""
    assert [reason for reason, _ in image_problem({"image": image})] == reasons


def test_environment_comes_from_whole_objects_too() -> None:
    """`envFrom` with a prefix, then `env` over it."""
    config = {"metadata": {}, "data": {"A": "1", "B": "2"}}
    container = {
        "envFrom": [{"prefix": "C_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s", "optional": True}}],
        "env": [{"name": "C_B", "value": "$(C_A)0"}],
    }
    lookup = {("configmaps", "c"): config}
    values = container_environment(container, {"metadata": {}}, lambda *key: lookup.get(key), {"PATH": "/bin"})
    assert values == {"PATH": "/bin", "C_A": "1", "C_B": "10"}
    assert command_line({"args": ["$(C_B)"]}, values, ("run",)) == ("run", "10")
