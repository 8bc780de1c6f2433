"""Scripted pods: their fates, and both agents of decision 001 played in memory."""

import base64
import gzip
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

from runner.testing.cluster.fates import JOB_ID
from runner.testing.kubelets import Fate, Mishap, Rule, Script, ScriptedKubelet, ScriptedPod, Waiting
from runner.testing.kubernetes import KubernetesServer

PODS = "/api/v1/namespaces/default/pods"
Pod = Callable[..., dict[str, Any]]
Prepared = Callable[..., AbstractAsyncContextManager[tuple[Any, ScriptedPod]]]


@pytest.fixture
def kubelet() -> ScriptedKubelet:
    """A kubelet whose journal counts its times from 100."""
    numbers = itertools.count(100)
    return ScriptedKubelet(clock=lambda: float(next(numbers)))


@pytest.fixture
def helper(kubelet: ScriptedKubelet, api: Any, make_pod: Pod) -> Prepared:
    """Run a pod of this fate and attach to its helper."""

    @asynccontextmanager
    async def prepared(fate: Fate | None = None, *, name: str = "job-1") -> AsyncIterator[tuple[Any, ScriptedPod]]:
        if fate is not None:
            kubelet.queue(fate)
        await api.create(make_pod(name))
        await api.phase(name, "Running")
        (scripted,) = (one for one in kubelet.pods if one.name == name)
        async with api.stream(name, "attach", container="helper") as stream:
            yield stream, scripted

    return prepared


async def put(stream: Any, name: str, text: bytes = b"true\n") -> None:
    """Send a stage's script and wait for its seal."""
    packed = base64.b64encode(gzip.compress(text, mtime=0)).decode()
    half = len(packed) // 8 * 4
    await stream.command(f"put {name} 0 {packed[:half]}")
    await stream.command(f"put {name} 1 {packed[half:]}")
    await stream.command(f"seal {name} {hashlib.sha256(text).hexdigest()}")
    await stream.until(2, f"sealed {name}\n".encode())


def entries(stream: Any) -> list[str]:
    """Return the journal as it came, in order, without its times."""
    lines = [line.split(" ") for line in stream.channels.get(2, b"").decode().splitlines() if line.startswith("j ")]
    assert [int(words[1]) for words in lines] == list(range(int(lines[0][1]), int(lines[0][1]) + len(lines)))
    return [" ".join(word for word in words[2:] if "." not in word) for words in lines]


def output(stream: Any, token: str) -> bytes:
    """Return the log's bytes behind a token."""
    found: bytes = stream.channels.get(1, b"").partition(token.encode() + b"\n")[2]
    return found


# The protocol


async def test_stage_is_told_as_start_ran_log_and_exit_when_it_is_run(helper: Prepared) -> None:
    """The whole story of one attempt, its output byte by byte, and the script as it was sent."""
    fate = Fate(stages={"step_script": Script(output=((0, b"one\n"), (0, b"two\n")), exit_code=3, oom_kills=1)})
    async with helper(fate) as (stream, scripted):
        await stream.command("resume T1 0 0 524288")
        await put(stream, "step_script-1", b"make test\n")
        await stream.command("begin step_script-1")
        await stream.command("begin step_script-1")
        await stream.command("run step_script-1")
        await stream.until(2, b"exit step_script-1")
        await stream.until(1, b"two\n")
        assert entries(stream) == [
            "start step_script-1 0",
            "ran step_script-1 0",
            "log 8",
            "exit step_script-1 3 1 8",
        ]
        assert output(stream, "T1") == b"one\ntwo\n"
        assert dict(scripted.scripts) == {"step_script-1": b"make test\n"}


async def test_repeated_run_starts_nothing_when_sent_to_either_agent(helper: Prepared, api: Any) -> None:
    """The start guard is shared: one `ran`, one `exit`, whoever is asked again."""
    async with helper() as (stream, scripted):
        await stream.command("resume T1 0 0 1000")
        await put(stream, "step_script-1")
        async with api.stream("job-1", "attach", container="build") as build:
            for _ in range(2):
                await build.command("run step_script-1")
            await stream.until(2, b"exit step_script-1 0 0 0")
            await build.command("run step_script-1")
        await stream.command("run step_script-1")
        await stream.command("ping 1")
        await stream.until(2, b"pong 1\n")
        assert scripted.attempts == ("step_script-1",)
        assert entries(stream) == ["ran step_script-1 0", "exit step_script-1 0 0 0"]


async def test_stage_without_a_script_ends_with_127(helper: Prepared) -> None:
    """As a shell ends that cannot open its script: a manager that forgot to seal finds out."""
    async with helper() as (stream, _):
        await stream.command("resume T1 0 0 1000")
        await stream.command("run step_script-1")
        await stream.until(2, b"exit step_script-1 127 ")


async def test_file_with_a_wrong_sum_is_bad(helper: Prepared) -> None:
    """`bad NAME`, and no file."""
    async with helper() as (stream, scripted):
        await stream.command(f"put a-1 0 {base64.b64encode(gzip.compress(b'x')).decode()}")
        await stream.command(f"seal a-1 {'0' * 64}")
        await stream.until(2, b"bad a-1\n")
        assert not scripted.scripts


@pytest.mark.parametrize(
    "line",
    [b"5 ping 7\n", b"7 ping 7\n", b"ping 7\n", b" 6 ping 7\n", b"\n", b"6 ping\n7\n"],
    ids=["too short", "too long", "no length", "leading blank", "empty", "cut"],
)
async def test_line_of_a_wrong_length_is_dropped(helper: Prepared, line: bytes) -> None:
    """Without a word, and the next line counts."""
    async with helper() as (stream, _):
        await stream.send(line)
        await stream.command("ping 8")
        assert await stream.until(2, b"pong 8\n") == b"pong 8\n"


async def test_line_cut_by_a_lost_connection_is_dropped_when_the_next_begins_anew(helper: Prepared, api: Any) -> None:
    """Input of all clients is one stream: half a line of the first, an empty line and a whole one of the second."""
    async with helper() as (stream, scripted):
        await stream.send(b"19 run step_scr")
        await stream.socket.close()
        async with api.stream("job-1", "attach", container="helper") as second:
            await second.send(b"\n")
            await second.command("ping 2")
            assert await second.until(2, b"pong 2\n") == b"pong 2\n"
        assert scripted.attempts == ()


async def test_log_resumes_at_any_byte_and_line(helper: Prepared, api: Any) -> None:
    """A second connection gets the rest from the very byte and line it names, behind its own token."""
    text = bytes(range(256)) * 1000
    fate = Fate(stages={"step_script": Script(output=((0, text),))})
    async with helper(fate) as (stream, scripted):
        await put(stream, "step_script-1")
        await stream.command("run step_script-1")
        await scripted.wait_ended("step_script-1")
    for offset, line in ((0, 0), (1, 2), (99_999, 5), (256_000, 6)):
        async with api.stream("job-1", "attach", container="helper") as again:
            await again.command(f"resume R{offset} {offset} {line} 1000000")
            await again.until(2, f"sync R{offset}\n".encode())
            await again.until(1, f"R{offset}\n".encode() + text[offset:])
            assert output(again, f"R{offset}") == text[offset:]
            got = again.channels[2].decode().splitlines()[1:]
            assert got == [f"j {n} {entry}" for n, entry in enumerate(scripted.journal) if n >= line]
    assert [entry.split()[1] for entry in scripted.journal if entry.startswith("log")] == [
        "65536",
        "131072",
        "196608",
        "256000",
    ]


async def test_no_more_than_a_window_is_sent_until_it_is_acknowledged(helper: Prepared) -> None:
    """Bytes stop at the window's last byte, entries beyond it are held back, an `ack` lets both go on."""
    fate = Fate(stages={"step_script": Script(output=((0, b"x" * 200_000),))})
    async with helper(fate) as (stream, scripted):
        await stream.command("resume T1 0 0 70000")
        await put(stream, "step_script-1")
        await stream.command("run step_script-1")
        await scripted.wait_ended("step_script-1")
        await stream.command("ping 1")
        await stream.until(2, b"pong 1\n")
        await stream.until(1, b"x" * 70_000)
        assert (len(output(stream, "T1")), entries(stream)[-1]) == (70_000, "log 65536")
        await stream.command("ack 70000")
        await stream.until(1, b"x" * 140_000)
        await stream.command("ack 140000")
        await stream.until(2, b"exit step_script-1 0 0 200000")
        await stream.until(1, b"x" * 200_000)
        assert len(output(stream, "T1")) == 200_000


async def test_note_is_written_once_with_its_own_time_at_the_logs_end(helper: Prepared) -> None:
    """A number already written is ignored."""
    async with helper() as (stream, scripted):
        await stream.command("note 1 green 1700000000.250000 aGk=")
        await stream.command("note 1 green 1700000009.000000 aGEh")
        await stream.command("note 2 plain 1700000001.000000 -")
        await stream.command("ping 1")
        await stream.until(2, b"pong 1\n")
        assert scripted.journal == (
            "note 1 green 0 1700000000.250000 aGk=",
            "note 2 plain 0 1700000001.000000 -",
        )


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (Script(output=((0, b"x\n"),), until=anyio.Event()), 143),
        (Script(until=anyio.Event(), ignores_term=True), 137),
    ],
    ids=["term", "kill"],
)
async def test_stopped_stage_ends_with_its_signal(helper: Prepared, script: Script, code: int) -> None:
    """TERM ends it, or the KILL behind the grace."""
    async with helper(Fate(stages={"step_script": script})) as (stream, _):
        await stream.command("resume T1 0 0 1000")
        await put(stream, "step_script-1")
        await stream.command("run step_script-1")
        await stream.until(2, b"ran step_script-1")
        await stream.command("stop step_script-1 0")
        await stream.until(2, f"exit step_script-1 {code} ".encode())


async def test_stage_waits_for_its_event_when_it_has_one(helper: Prepared) -> None:
    """Nothing ends before the test says so."""
    go = anyio.Event()
    async with helper(Fate(stages={"get_sources-2": Script(until=go, exit_code=1)})) as (stream, scripted):
        await stream.command("resume T1 0 0 1000")
        for attempt in ("get_sources-1", "get_sources-2"):
            await put(stream, attempt)
            await stream.command(f"run {attempt}")
        await stream.until(2, b"exit get_sources-1 0 ")
        await stream.command("ping 1")
        await stream.until(2, b"pong 1\n")
        assert scripted.attempts == ("get_sources-1", "get_sources-2")
        assert "exit get_sources-2" not in " ".join(scripted.journal)
        go.set()
        await stream.until(2, b"exit get_sources-2 1 ")


async def test_lost_wrapper_is_told_without_an_exit(helper: Prepared) -> None:
    """A `lost` entry in place of `exit`."""
    async with helper(Fate(stages={"step_script": Script(lost=True)})) as (stream, scripted):
        await stream.command("resume T1 0 0 1000")
        await put(stream, "step_script-1")
        await stream.command("run step_script-1")
        await stream.until(2, b"lost step_script-1 0 ")
        assert [entry.split()[0] for entry in scripted.journal] == ["ran", "lost"]


# Fates before the pod runs


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        (Fate.image_pull_failure("denied: no basic auth credentials"), ("ImagePullBackOff", "no basic auth")),
        (Fate.invalid_image(), ("InvalidImageName", "invalid reference format")),
        (Fate.crash_loop(), ("CrashLoopBackOff", "back-off 10s restarting failed container=build")),
        (Fate.configuration_error(), ("CreateContainerConfigError", 'secret "missing" not found')),
        (Fate.never_runs(), ("ContainerCreating", "")),
    ],
    ids=["pull", "invalid image", "crash loop", "configuration", "never runs"],
)
async def test_container_waits_with_the_reason_of_its_fate(
    kubelet: ScriptedKubelet, api: Any, make_pod: Pod, fate: Fate, expected: tuple[str, str]
) -> None:
    """The state is what a kubelet reports, and the phase stays Pending."""
    kubelet.queue(fate)
    await api.create(make_pod())

    def waiting(manifest: dict[str, Any]) -> bool:
        rows = manifest["status"].get("containerStatuses") or [{}]
        state = rows[0].get("state", {}).get("waiting", {})
        return state.get("reason") == expected[0] and expected[1] in state.get("message", "")

    manifest = await api.pod_until("job-1", waiting)
    assert manifest["status"]["phase"] == "Pending"
    await api.ask("DELETE", f"{PODS}/job-1")


async def test_pull_failure_is_seen_as_both_reasons_in_turn(kubelet: ScriptedKubelet, api: Any, make_pod: Pod) -> None:
    """ErrImagePull carries the registry's words, ImagePullBackOff follows."""
    kubelet.queue(Fate.image_pull_failure("manifest unknown", container="helper"))
    created = await api.create(make_pod())
    states: list[dict[str, str]] = []
    async for event in api.watch(PODS, resourceVersion=created["metadata"]["resourceVersion"]):
        rows = event["object"]["status"].get("containerStatuses", [])
        states += [row["state"]["waiting"] for row in rows if row["name"] == "helper"]
        if states and states[-1]["reason"] == "ImagePullBackOff":
            break
    assert [state["reason"] for state in states] == ["ErrImagePull", "ImagePullBackOff"]
    assert all("manifest unknown" in state["message"] for state in states)


async def test_unschedulable_pod_has_the_condition_and_the_event(
    kubelet: ScriptedKubelet, cluster: KubernetesServer, api: Any, make_pod: Pod
) -> None:
    """No node, PodScheduled False, a FailedScheduling warning."""
    kubelet.queue(Fate.unschedulable("0/3 nodes are available: 3 Insufficient memory."))
    await api.create(make_pod())
    manifest = await api.pod_until("job-1", lambda one: bool(one["status"].get("conditions")))
    (condition,) = manifest["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert "nodeName" not in manifest["spec"]
    assert [event["reason"] for event in cluster.manifests("events")] == ["FailedScheduling"]


async def test_pod_runs_when_its_waiting_ends(kubelet: ScriptedKubelet, api: Any, make_pod: Pod) -> None:
    """An event ends the wait; the test decides when."""
    go = anyio.Event()
    kubelet.queue(Fate(before=(Waiting("ContainerCreating", until=go),)))
    await api.create(make_pod())
    await api.pod_until("job-1", lambda one: "nodeName" in one["spec"])
    go.set()
    await api.phase("job-1", "Running")


# What strikes a running pod


@asynccontextmanager
async def _struck(helper: Prepared, mishap: Mishap) -> AsyncIterator[tuple[Any, ScriptedPod]]:
    script = Script(output=((0, b"last words\n"),), mishap=mishap)
    async with helper(Fate(stages={"step_script": script})) as (stream, scripted):
        await stream.command("resume T1 0 0 1000")
        await put(stream, "step_script-1")
        await stream.command("run step_script-1")
        await stream.until(1, b"last words\n")
        yield stream, scripted


def _state(manifest: dict[str, Any], container: str) -> tuple[str, int]:
    rows = {row["name"]: row["state"] for row in manifest["status"]["containerStatuses"]}
    ended = rows[container].get("terminated", {})
    return ended.get("reason", "running"), ended.get("exitCode", -1)


@pytest.mark.parametrize(
    ("mishap", "expected"),
    [
        (Mishap.OOM_KILLED, (("OOMKilled", 137), ("running", -1), "Running")),
        (Mishap.BUILD_DIED, (("Error", 137), ("running", -1), "Running")),
        (Mishap.HELPER_DIED, (("running", -1), ("Error", 137), "Running")),
        (Mishap.EVICTED, (("Error", 137), ("Error", 137), "Failed")),
    ],
    ids=lambda value: value.value if isinstance(value, Mishap) else "",
)
async def test_mishap_is_reported_as_a_kubelet_reports_it(
    helper: Prepared, api: Any, mishap: Mishap, expected: tuple[tuple[str, int], tuple[str, int], str]
) -> None:
    """Containers end with the right reason, the journal has no exit, and a dead container's stream ends."""
    async with _struck(helper, mishap) as (stream, scripted):
        manifest = await api.pod_until("job-1", lambda one: "terminated" in str(one["status"]))
        assert (_state(manifest, "build"), _state(manifest, "helper"), manifest["status"]["phase"]) == expected
        assert not any(entry.startswith("exit") for entry in scripted.journal)
        if expected[1][0] == "running":
            await stream.command("ping 1")
            await stream.until(2, b"pong 1\n")
        else:
            assert (await stream.status())["status"] == "Success"


async def test_evicted_pod_carries_reason_and_condition(helper: Prepared, api: Any) -> None:
    """Reason Evicted and DisruptionTarget by the kubelet."""
    async with _struck(helper, Mishap.EVICTED):
        manifest = await api.phase("job-1", "Failed")
        conditions = {one["type"]: one["reason"] for one in manifest["status"]["conditions"] if "reason" in one}
        assert manifest["status"]["reason"] == "Evicted"
        assert conditions["DisruptionTarget"] == "TerminationByKubelet"


@pytest.mark.parametrize("mishap", [Mishap.DELETED, Mishap.DELETED_BY_FORCE, Mishap.DRAINED])
async def test_pod_deleted_under_its_job_is_gone_and_its_streams_end(
    helper: Prepared, api: Any, cluster: KubernetesServer, mishap: Mishap
) -> None:
    """The object goes, 404 follows."""
    async with _struck(helper, mishap) as (stream, _):
        assert (await stream.status())["status"] == "Success"
        await cluster.wait_until_gone()
        assert (await api.ask("GET", f"{PODS}/job-1"))[0] == 404


async def test_pod_on_a_lost_node_is_silent_and_stays_until_it_is_forced(
    helper: Prepared, api: Any, cluster: KubernetesServer
) -> None:
    """Phase Running, no answers, new streams refused, a graceful deletion that never ends."""
    async with _struck(helper, Mishap.NODE_LOST) as (stream, _):
        manifest = await api.pod_until("job-1", lambda one: "NodeNotReady" in str(one["status"]))
        assert manifest["status"]["phase"] == "Running"
        await stream.command("ping 1")
        async with api.stream("job-1", "attach", container="helper") as refused:
            status = await refused.status()
        assert (status["code"], "no route to host" in status["message"]) == (500, True)
        assert (await api.ask("GET", f"{PODS}/job-1/log", container="helper"))[0] == 500
        await api.ask("DELETE", f"{PODS}/job-1", {"gracePeriodSeconds": 1})
        assert cluster.objects() == ("pods/default/job-1",)
        assert b"pong" not in stream.channels[2]
        await api.ask("DELETE", f"{PODS}/job-1", {"gracePeriodSeconds": 0})
        assert cluster.objects() == ()


async def test_test_strikes_between_stages_when_it_wants(helper: Prepared, api: Any) -> None:
    """A mishap needs no stage."""
    async with helper() as (_, scripted):
        await scripted.strike(Mishap.OOM_KILLED)
        manifest = await api.pod_until("job-1", lambda one: "OOMKilled" in str(one["status"]))
        assert _state(manifest, "build") == ("OOMKilled", 137)


# Which fate


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        (Rule(Fate(), job_id=7), True),
        (Rule(Fate(), job_id=8), False),
        (Rule(Fate(), labels={"team": "a"}), True),
        (Rule(Fate(), labels={"team": "b"}), False),
        (Rule(Fate(), annotations={"x": "y"}), True),
        (Rule(Fate(), annotations={"x": "z"}), False),
        (Rule(Fate(), when=lambda pod: pod["metadata"]["name"] == "job-1"), True),
        (Rule(Fate(), job_id=7, when=lambda pod: False), False),
    ],
    ids=["job", "other job", "label", "other label", "annotation", "other annotation", "predicate", "both"],
)
def test_rule_is_about_the_pods_it_describes(make_pod: Pod, rule: Rule, hit: bool) -> None:
    """All that is given must match."""
    manifest = make_pod()
    manifest["metadata"] |= {"labels": {"team": "a"}, "annotations": {JOB_ID: "7", "x": "y"}}
    assert rule.matches(manifest) is hit


async def test_fates_go_by_rule_then_by_turn_then_by_default(kubelet: ScriptedKubelet, api: Any, make_pod: Pod) -> None:
    """A rule with one turn is used once."""
    ruled, queued = Fate(stages={"a": Script()}), Fate(stages={"b": Script()})
    kubelet.rule(Rule(ruled, when=lambda pod: pod["metadata"]["name"] == "p1", times=1))
    kubelet.queue(queued)
    for name in ("p0", "p1", "p2"):
        await api.create(make_pod(name))
    pods = await kubelet.wait_pods(3)
    assert [pod.fate for pod in pods] == [queued, ruled, Fate()]


# Streams of other kinds


async def test_exec_does_what_the_fate_says(kubelet: ScriptedKubelet, api: Any, make_pod: Pod) -> None:
    """Output, exit code, and the input kept for the test."""

    def executed(container: str, command: tuple[str, ...]) -> Script:
        return Script(output=((0, f"{container} {' '.join(command)}\n".encode()),), exit_code=4)

    kubelet.queue(Fate(executed=executed))
    await api.create(make_pod())
    await api.phase("job-1", "Running")
    async with api.stream("job-1", "exec", container="helper", command=["sh", "-c", "x"]) as stream:
        status = await stream.status()
    assert stream.channels[1] == b"helper sh -c x\n"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]


async def test_container_log_holds_what_the_agent_printed(helper: Prepared, api: Any) -> None:
    """`kubectl logs` shows the stream, attached or not."""
    async with helper() as (stream, _):
        await stream.command("ping 1")
        await stream.until(2, b"pong 1\n")
    async with api.session.get(f"{PODS}/job-1/log", params={"container": "helper"}) as answer:
        assert await answer.read() == b"pong 1\n"


@pytest.mark.slow
async def test_many_pods_print_a_line_at_a_time_and_each_log_is_whole(
    kubelet: ScriptedKubelet, api: Any, make_pod: Pod
) -> None:
    """A hundred pods at once: every line arrives once and in order."""
    lines = tuple((0.01, b"line %d\n" % number) for number in range(20))
    kubelet.rule(Rule(Fate(stages={"step_script": Script(output=lines)})))
    whole = b"".join(line for _, line in lines)

    async def follow(name: str) -> None:
        async with api.stream(name, "attach", container="helper") as stream:
            await stream.command("resume T 0 0 524288")
            await put(stream, "step_script-1")
            await stream.command("run step_script-1")
            await stream.until(2, f"exit step_script-1 0 0 {len(whole)} ".encode(), timeout=60)
            await stream.until(1, whole, timeout=60)
            assert output(stream, "T") == whole

    async with anyio.create_task_group() as group:
        for number in range(100):
            await api.create(make_pod(f"job-{number}"))
            await api.phase(f"job-{number}", "Running")
            group.start_soon(follow, f"job-{number}")
