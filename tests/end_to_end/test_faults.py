"""What goes wrong around a job: GitLab, the API server, the pod, and what the job itself asks for.

After each fault the job has one final state and the right one, its log has every line once, and nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from structlog.testing import capture_logs

from runner.testing.faults import (
    Action,
    CommitThenDrop,
    CutResponse,
    DropRequest,
    FaultRule,
    Garbage,
    Hold,
    Reply,
)
from runner.testing.kubelets import Fate, Mishap, Script, ScriptedKubelet, Waiting

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
LINES = 40
NUMBERED = tuple((0.0, f"line-{number}\n".encode()) for number in range(1, LINES + 1))


def lines_of(job: JobRecord) -> list[str]:
    """The numbered lines of a job's log."""
    return [line for line in job.text.splitlines() if line.startswith("line-")]


def numbered() -> list[str]:
    """All numbered lines, each once."""
    return [f"line-{number}" for number in range(1, LINES + 1)]


async def check_end(h: Harness, job: JobRecord, state: str, reason: str | None = None) -> None:
    """One final state, the right one; nothing left; nothing that a sound runner would not send."""
    assert (job.state, job.failure_reason) == (state, reason), job.text
    assert h.gitlab.violations == []
    await h.wait_until_empty()


# GitLab


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("phase", ["pending", "prepare_script", "step_script", "after_script"])
async def test_gitlab_is_away_for_a_while(cluster: Cluster, phase: str) -> None:
    """GitLab refuses every connection from some moment on and comes back: log and final state arrive whole."""
    go_on = anyio.Event()
    before = (Waiting("ContainerCreating", until=go_on),) if phase == "pending" else ()
    stages = {"step_script": Script(output=NUMBERED)}
    if phase != "pending":
        stages[phase] = Script(output=NUMBERED if phase == "step_script" else (), until=go_on)
    kubelet = ScriptedKubelet(Fate(before=before, stages=stages))
    async with cluster.harness(kubelet=kubelet) as h:
        job = h.queue(script=["true"], after_script=["true"])
        (pod,) = await kubelet.wait_pods()
        if phase != "pending":
            await pod.wait_started(f"{phase}-1")
        await h.gitlab.outage()
        go_on.set()
        await pod.wait_ended("after_script-1")
        await h.gitlab.restore()
        await job.wait_finished(timeout=20)
        assert lines_of(job) == numbered()
        await check_end(h, job, "success")


GITLAB_FAULTS: dict[str, Action] = {
    "500": Reply(500),
    "502_page": Reply(502, body=b"<html>bad gateway</html>"),
    "429": Reply(429, headers={"Retry-After": "1"}),
    "garbage": Garbage(),
    "dropped_before": DropRequest(),
    "dropped_after": CommitThenDrop(),
    "cut_answer": CutResponse(0),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("request_kind", ["acknowledge", "first_patch", "later_patch", "final"])
async def test_gitlab_answers_badly(cluster: Cluster, request_kind: str) -> None:
    """A request goes wrong, with or without its effect: no byte is lost or doubled, the final state arrives."""
    method, skip = {
        "acknowledge": ("PUT", 0),
        "first_patch": ("PATCH", 0),
        "later_patch": ("PATCH", 1),
        "final": ("PUT", 1),
    }[request_kind]
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=NUMBERED)}))
    async with cluster.harness(kubelet=kubelet, concurrent=len(GITLAB_FAULTS)) as h:
        jobs = {}
        for number, (name, fault) in enumerate(GITLAB_FAULTS.items(), start=5000):
            h.gitlab.faults.add(FaultRule(method, f"/jobs/{number}(/trace)?$", fault, skip=skip))
            jobs[name] = h.queue(id=number, script=["true"])
        for name, job in jobs.items():
            await job.wait_finished()
            assert (job.state, job.failure_reason) == ("success", None), (name, job.text)
            assert lines_of(job) == numbered(), name
            # A runner that was not heard says it with its first patch.
            assert request_kind == "acknowledge" or job.violations == []
        await h.wait_until_empty()


@pytest.mark.only_on("embedded")
async def test_gitlab_has_lost_a_part_of_the_log(cluster: Cluster) -> None:
    """GitLab forgets stored bytes; its 416 tells, and they are sent again."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(
        Fate(stages={"step_script": Script(output=NUMBERED), "after_script": Script(until=go_on)})
    )
    async with cluster.harness(kubelet=kubelet) as h:
        job = h.queue(script=["true"], after_script=["true"])
        await job.wait_trace(f"line-{LINES}\n".encode())
        job.lose_trace(keep_bytes=100)
        go_on.set()
        await job.wait_finished()
        assert 416 in [patch.status for patch in job.patches]
        assert lines_of(job) == numbered()
        await check_end(h, job, "success")


@pytest.mark.only_on("embedded")
async def test_gitlab_hands_out_garbage(cluster: Cluster) -> None:
    """A job in a broken 201 is lost, the next one runs: the runner goes on asking."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        h.gitlab.faults.add(FaultRule("POST", "/jobs/request", Garbage(status=201)))
        h.queue(script=["true"])
        job = await h.run(script=["true"])
        await check_end(h, job, "success")


@pytest.mark.only_on("embedded")
async def test_gitlab_sends_a_job_that_cannot_be_read(cluster: Cluster) -> None:
    """A payload that makes no sense but names its job: GitLab hears at once that it has failed."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        job = await h.run(steps="none")
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure")
        await h.run(script=["true"])
        await h.wait_until_empty()


# The API server


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("phase", ["prepare_script", "step_script", "after_script"])
async def test_the_api_server_is_away_while_a_stage_runs(cluster: Cluster, phase: str) -> None:
    """Stages run on in the pod meanwhile; their output and results are read when the API server is back."""
    go_on = anyio.Event()
    stages = {"step_script": Script(output=NUMBERED)}
    stages[phase] = Script(output=NUMBERED if phase == "step_script" else (), until=go_on)
    kubelet = ScriptedKubelet(Fate(stages=stages))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        job = h.queue(script=["true"], after_script=["true"])
        (pod,) = await kubelet.wait_pods()
        await pod.wait_started(f"{phase}-1")
        await h.cluster.outage()
        go_on.set()
        await pod.wait_ended(f"{phase}-1")
        await h.cluster.restore()
        await job.wait_finished(timeout=20)
        assert lines_of(job) == numbered()
        await check_end(h, job, "success")


@pytest.mark.only_on("embedded")
async def test_the_api_server_is_away_when_a_pod_is_wanted(cluster: Cluster) -> None:
    """A job that comes while the API server is away waits for it, and its log says once what it waits for."""
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        await h.run(script=["true"])
        await h.cluster.outage()
        job = h.queue(script=["true"])
        await job.wait_trace(b"cannot be reached (connection refused). It is tried again for 120 s.")
        await h.cluster.restore()
        await job.wait_finished(timeout=20)
        assert job.text.count("It is tried again") == 1
        await check_end(h, job, "success")


@pytest.mark.only_on("embedded")
async def test_the_api_server_is_away_when_the_pod_is_removed(cluster: Cluster) -> None:
    """The job's end is told at once; the pod is removed when the API server is back."""
    final = Hold()
    kubelet = ScriptedKubelet()
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("DELETE", "/pods/", final))
        job = h.queue(script=["true"])
        await final.reached()
        await h.cluster.outage()
        await job.wait_finished()
        final.release()
        await h.cluster.restore()
        await check_end(h, job, "success")


KUBE_FAULTS: dict[str, FaultRule] = {
    "create_500": FaultRule("POST", "/pods$", Reply(500), times=2),
    "create_429": FaultRule("POST", "/pods$", Reply(429, headers={"Retry-After": "1"})),
    "create_dropped_before": FaultRule("POST", "/pods$", DropRequest()),
    "create_dropped_after": FaultRule("POST", "/pods$", CommitThenDrop()),
    "secret_dropped_after": FaultRule("POST", "/secrets$", CommitThenDrop()),
    "list_500": FaultRule("GET", "/pods$", Reply(500), times=2),
    "list_garbage": FaultRule("GET", "/pods$", Garbage()),
    "watch_500": FaultRule("GET", "watch=1", Reply(500), times=2),
    "watch_cut": FaultRule("GET", "watch=1", CutResponse(200), times=3),
    "attach_500": FaultRule("GET", "/attach", Reply(500), times=2),
    "attach_cut": FaultRule("GET", "/attach", CutResponse(200), times=3),
    "delete_500": FaultRule("DELETE", "/pods/", Reply(500), times=2),
    "delete_dropped_after": FaultRule("DELETE", "/pods/", CommitThenDrop()),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("fault", KUBE_FAULTS)
async def test_the_api_server_answers_badly(cluster: Cluster, fault: str) -> None:
    """Requests go wrong, with or without their effect: there is one pod, and the job succeeds."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=NUMBERED)}))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        h.cluster.faults.add(KUBE_FAULTS[fault])
        job = await h.run(script=["true"])
        assert lines_of(job) == numbered()
        assert len(kubelet.pods) == 1
        await check_end(h, job, "success")


@pytest.mark.only_on("embedded")
async def test_the_watchs_history_expires(cluster: Cluster) -> None:
    """A 410 in the watch means a new list, and what happened meanwhile is seen."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(Fate(before=(Waiting("ContainerCreating", until=go_on),)))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        job = h.queue(script=["true"])
        await job.wait_trace(b"Waiting for pod")
        h.cluster.expire_history()
        go_on.set()
        await job.wait_finished()
        await check_end(h, job, "success")


# Rights


@pytest.mark.only_on("embedded")
async def test_watching_is_forbidden(cluster: Cluster) -> None:
    """Without the right to watch the pod is asked for every poll_interval; the log names the right."""
    with capture_logs() as logs:
        async with cluster.harness(kubelet=ScriptedKubelet()) as h:
            assert h.cluster is not None
            h.cluster.forbid("watch", "pods")
            h.cluster.forbid("list", "pods")
            job = await h.run(script=["true"])
            await check_end(h, job, "success")
    told = " ".join(str(entry) for entry in logs)
    assert 'cannot list resource "pods"' in told


Forbid = Callable[["Harness"], None]
FORBIDDEN: dict[str, tuple[tuple[str, str], str]] = {
    "create": (("create", "pods"), 'cannot create resource "pods"'),
    "secrets": (("create", "secrets"), 'cannot create resource "secrets"'),
    "attach": (("get", "pods/attach"), 'cannot get resource "pods/attach"'),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("right", FORBIDDEN)
async def test_a_right_is_missing(cluster: Cluster, right: str) -> None:
    """The job's log names the right that the service account has not; nothing is left."""
    forbidden, words = FORBIDDEN[right]
    async with cluster.harness(kubelet=ScriptedKubelet()) as h:
        assert h.cluster is not None
        h.cluster.forbid(*forbidden)
        job = await h.run(script=["true"])
        last = job.text.rstrip().splitlines()[-1]
        assert last.startswith("ERROR: Job failed (system failure): ")
        assert words in last
        await check_end(h, job, "failed", "runner_system_failure")


@pytest.mark.only_on("embedded")
async def test_the_right_to_read_pods_is_taken_away_while_a_job_runs(cluster: Cluster) -> None:
    """Revoked rights end the job with a sentence that names them, at the latest when they are needed."""
    go_on = anyio.Event()
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(until=go_on)}))
    async with cluster.harness(kubelet=kubelet, kubernetes={"poll_interval": 0.1}) as h:
        assert h.cluster is not None
        job = h.queue(script=["true"])
        (pod,) = await kubelet.wait_pods()
        await pod.wait_started("step_script-1")
        for verb in ("get", "list", "watch"):
            h.cluster.forbid(verb, "pods")
        h.cluster.cut_streams()
        await job.wait_finished()
        assert 'cannot get resource "pods"' in job.text
        await check_end(h, job, "failed", "runner_system_failure")


def _status(code: int, reason: str, message: str) -> Reply:
    import orjson

    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return Reply(code, headers={"Content-Type": "application/json"}, body=orjson.dumps({**body, "message": message}))


QUOTA = 'pods "runner-x" is forbidden: exceeded quota: compute, requested: cpu=2, used: cpu=3, limited: cpu=4'
REFUSALS: dict[str, tuple[Reply, str, str]] = {
    "invalid": (
        _status(422, "Invalid", 'Pod "x" is invalid: spec.containers[0].image: Required value'),
        "runner_configuration_error",
        "Required value",
    ),
    "quota": (_status(403, "Forbidden", QUOTA), "runner_system_failure", 'the quota "compute"'),
    "webhook": (
        _status(400, "BadRequest", 'admission webhook "policy.example.com" denied the request: no latest tags'),
        "runner_configuration_error",
        "no latest tags",
    ),
    "no_namespace": (
        _status(404, "NotFound", 'namespaces "elsewhere" not found'),
        "runner_configuration_error",
        'namespaces "elsewhere" not found',
    ),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_the_pod_is_refused(cluster: Cluster, refusal: str) -> None:
    """A pod that the API server does not take: its words in the log, the right reason, nothing left."""
    reply, reason, words = REFUSALS[refusal]
    async with cluster.harness(kubelet=ScriptedKubelet(), kubernetes={"poll_timeout": 1}) as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("POST", "/pods$", reply, times=None))
        job = await h.run(script=["true"])
        assert words in job.text.rstrip().splitlines()[-1]
        await check_end(h, job, "failed", reason)


# The pod


STARTS: dict[str, tuple[Fate, str, str]] = {
    "image_not_found": (
        Fate.image_pull_failure('failed to resolve reference "docker.io/x:y": not found'),
        "runner_configuration_error",
        "image pull failed: ",
    ),
    "image_pull": (
        Fate.image_pull_failure("failed to pull: something odd"),
        "image_pull_failure",
        "failed to pull: something odd",
    ),
    "registry_away": (
        Fate.image_pull_failure("dial tcp 10.1.2.3:443: connect: connection refused"),
        "runner_external_dependency_failure",
        "connection refused",
    ),
    "image_name": (Fate.invalid_image(), "runner_configuration_error", "invalid reference format"),
    "crash_loop": (Fate.crash_loop(), "runner_configuration_error", "container crashes again and again"),
    "config": (Fate.configuration_error(), "runner_configuration_error", 'secret "missing" not found'),
    "unschedulable": (
        Fate.unschedulable("0/1 nodes are available: 1 Insufficient cpu."),
        "runner_system_failure",
        "timed out waiting for pod to start (last phase: Pending): ",
    ),
    "never": (Fate.never_runs(), "runner_system_failure", "timed out waiting for pod to start (last phase: Pending)"),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("start", STARTS)
async def test_a_pod_that_never_runs(cluster: Cluster, start: str) -> None:
    """Why it does not is the job's last line and the right reason; nothing is left."""
    fate, reason, words = STARTS[start]
    async with cluster.harness(kubelet=ScriptedKubelet(fate), kubernetes={"poll_timeout": 1}) as h:
        job = await h.run(script=["true"])
        assert words in job.text.rstrip().splitlines()[-1]
        if start == "unschedulable":
            assert "without enough cpu" in job.text.rstrip().splitlines()[-1]
        await check_end(h, job, "failed", reason)


MISHAPS: dict[str, tuple[Script, str, int, str]] = {
    "oom": (Script(mishap=Mishap.OOM_KILLED), "script_failure", 137, "OOMKilled"),
    "child_oom": (Script(exit_code=137, oom_kills=1), "script_failure", 137, "out of memory"),
    "build_died": (Script(mishap=Mishap.BUILD_DIED), "script_failure", 137, "Error in container build"),
    "helper_died": (Script(mishap=Mishap.HELPER_DIED), "runner_system_failure", 0, "Error in container helper"),
    "evicted": (Script(mishap=Mishap.EVICTED), "runner_system_failure", 0, "low on resource: memory"),
    "drained": (Script(mishap=Mishap.DRAINED), "runner_system_failure", 0, "EvictionByEvictionAPI"),
    "deleted": (Script(mishap=Mishap.DELETED), "runner_system_failure", 0, "is being deleted"),
    "deleted_by_force": (Script(mishap=Mishap.DELETED_BY_FORCE), "runner_system_failure", 0, ""),
    "wrapper_lost": (Script(lost=True), "script_failure", 137, "without leaving an exit code"),
}


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("mishap", MISHAPS)
async def test_a_pod_that_ends_under_the_job(cluster: Cluster, mishap: str) -> None:
    """What struck the pod is the job's reason and last line, with the output up to there; never a success."""
    script, reason, code, words = MISHAPS[mishap]
    script = Script(
        output=NUMBERED, **{key: getattr(script, key) for key in ("exit_code", "oom_kills", "mishap", "lost")}
    )
    kubelet = ScriptedKubelet(Fate(stages={"step_script": script}))
    async with cluster.harness(kubelet=kubelet) as h:
        job = await h.run(script=["true"], after_script=["true"])
        assert job.exit_code == code
        assert words in job.text.rstrip().splitlines()[-1]
        assert lines_of(job) == numbered()
        await check_end(h, job, "failed", reason)


@pytest.mark.only_on("embedded")
async def test_a_node_is_lost(cluster: Cluster) -> None:
    """The node goes silent; when Kubernetes gives its pod up the job ends as the system's failure."""
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=NUMBERED, until=anyio.Event())}))
    async with cluster.harness(kubelet=kubelet) as h:
        assert h.cluster is not None
        job = h.queue(script=["true"])
        (pod,) = await kubelet.wait_pods()
        await job.wait_trace(f"line-{LINES}\n".encode())
        await pod.strike(Mishap.NODE_LOST)
        await pod.strike(Mishap.DRAINED)
        await job.wait_finished()
        assert (job.state, job.failure_reason) == ("failed", "runner_system_failure"), job.text
        h.cluster.delete("pods", pod.name, grace_seconds=0)
        await h.wait_until_empty()


# What the job asks for


WISHES: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {
    "clone_path": (
        {"variables": {"GIT_CLONE_PATH": "/elsewhere"}},
        {"custom_build_dir": {"enabled": True}},
        "GIT_CLONE_PATH",
        0,
    ),
    "run": ({"run": '[{"name":"a","script":"true"}]'}, {}, "`run:`", 0),
    "executor_opts": (
        {"image": {"name": "alpine", "executor_opts": {"vm": {"isolation": True}}}},
        {},
        "unknown executor options",
        3,
    ),
    "shell": ({}, {"shell": "powershell"}, "powershell", 0),
}


@pytest.mark.parametrize("wish", WISHES)
async def test_what_a_job_may_not_ask_for(cluster: Cluster, wish: str) -> None:
    """A sentence says what cannot be, the reason is a configuration error, and no pod was ever made."""
    job_keys, runner_keys, words, code = WISHES[wish]
    kubelet = {} if cluster.is_real else {"kubelet": ScriptedKubelet()}
    async with cluster.harness(runner=runner_keys, **kubelet) as h:
        job = await h.run(script=["true"], **job_keys)
        last = job.text.rstrip().splitlines()[-1]
        assert last.startswith("ERROR: Job failed: ")
        assert words in last
        assert job.exit_code == code
        assert h.kube_requests["create", "pods"] == 0
        await check_end(h, job, "failed", "runner_configuration_error")


async def test_an_image_that_does_not_exist(cluster: Cluster) -> None:
    """A wrong image name ends the job within seconds, with the name and the cluster's own words."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["true"], image="registry.invalid/nobody/nothing:none" if cluster.is_real else "Not An Image"
        )
        assert job.state == "failed", job.text
        assert job.failure_reason in (
            "runner_configuration_error",
            "runner_external_dependency_failure",
            "image_pull_failure",
        )
        assert "mage" in job.text.rstrip().splitlines()[-1]
        await h.wait_until_empty()
