"""No secret stands where others can read it: manifests, events, URLs, arguments, the manager's log, the job's log.

Jobs that succeed, that fail and whose requests fail carry canaries; afterwards everything is searched for them.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import anyio.to_thread
import orjson
import pytest
from structlog.testing import capture_logs

from runner.manager.tasks import tell_tasks
from runner.status.opening import open_status
from runner.testing.faults import CommitThenDrop, FaultRule, Garbage, Hold, Reply
from runner.testing.gitlab import GitLabServer
from runner.testing.payloads import image, variable
from tests.terminal.visitors import open_visitor, read_until

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from runner.status.server import StatusServer
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow
embedded = pytest.mark.only_on("embedded")

RUNNER_TOKEN = "glrt-canaryRunnerToken000"
JOB_TOKEN = "glcbt-64_canaryJobToken00000"
MASKED = "canary-masked-value-1"
HIDDEN = "canary-hidden-value-2"
FILED = "canary-in-a-file-3"
SERVICE = "canary-for-a-service-4"
PASSWORD = "canary-registry-password-5"
CANARIES = (RUNNER_TOKEN, JOB_TOKEN, MASKED, HIDDEN, FILED, SERVICE, PASSWORD)
MASKED_CANARIES = (JOB_TOKEN, MASKED, FILED)

VARIABLES = [
    variable("MASKED_VALUE", MASKED, masked=True),
    variable("HIDDEN_VALUE", HIDDEN),
    variable("FILED_VALUE", FILED, file=True, masked=True),
    variable("SERVICE_SECRET", SERVICE),
]


def canaries_in(text: str | bytes, canaries: Iterable[str] = CANARIES) -> list[str]:
    """The canaries that stand in a text."""
    plain = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return [canary for canary in canaries if canary in plain]


def without_secret_data(body: bytes) -> bytes:
    """A request's body without the one place that is made for secrets."""
    manifest: Any = orjson.loads(body)
    if isinstance(manifest, dict) and manifest.get("kind") == "Secret":
        manifest = {key: value for key, value in manifest.items() if key not in ("data", "stringData")}
    return orjson.dumps(manifest)


CMDLINES = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null; :"


async def arguments_of_all_processes(cluster: Cluster, job: JobRecord) -> str:
    """The command lines of every process: of this machine, or of the containers of a job's pod."""
    if not cluster.is_real:
        return "\n".join(_arguments_here())
    pod = await anyio.to_thread.run_sync(cluster.pod_of, job.id)
    shown = [
        await anyio.to_thread.run_sync(cluster.kubectl, "exec", pod, "-c", container, "--", "sh", "-c", CMDLINES)
        for container in ("helper", "build")
    ]
    return "\n".join(shown)


def _arguments_here() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


async def check_objects(cluster: Cluster) -> None:
    """No object of a real cluster holds a canary outside of a Secret's data."""
    if not cluster.is_real:
        return
    kinds = "pods,secrets,configmaps,services,poddisruptionbudgets,events"
    listed = orjson.loads(await anyio.to_thread.run_sync(cluster.kubectl, "get", kinds, "-o", "json"))
    assert {item["kind"] for item in listed["items"]} >= {"Pod", "Secret", "Event"}
    for item in listed["items"]:
        assert canaries_in(without_secret_data(orjson.dumps(item))) == [], item["metadata"]["name"]


def check_cluster(h: Harness) -> None:
    """Nothing that was sent to the embedded API server, no event of it either, holds a canary but a Secret's data."""
    if h.cluster is None:
        return
    for request in h.cluster.faults.requests:
        url = f"{request.method} {request.path} {dict(request.query)}"
        assert canaries_in(url) == [], url
        if request.body:
            assert canaries_in(without_secret_data(request.body)) == [], url
    assert canaries_in(orjson.dumps(h.cluster.manifests("events"))) == []


def check_gitlab(h: Harness) -> None:
    """Tokens travel in headers and bodies, never in a URL, which proxies log."""
    for request in h.gitlab.requests:
        url = f"{request.method} {request.path} {dict(request.query)}"
        assert canaries_in(url) == [], url


def secret_job(**over: Any) -> dict[str, Any]:
    """A job full of secrets, with a service that is given one."""
    credentials = [{"type": "registry", "url": "registry.example.com", "username": "ci", "password": PASSWORD}]
    return {"token": JOB_TOKEN, "variables": VARIABLES, "credentials": credentials, **over}


SCRIPT = [
    "echo masked is $MASKED_VALUE, token is $CI_JOB_TOKEN",
    "cat $FILED_VALUE",
    'test "$HIDDEN_VALUE" = canary-hidden-value-2 && echo hidden is known',
    "echo ready; while [ ! -e go ]; do sleep 0.05; done",
]


async def let_go(h: Harness, cluster: Cluster, job: JobRecord) -> None:
    """Make the file that the script waits for."""
    if not cluster.is_real:
        next(Path(h.config.runners[0].builds_dir).rglob("hello.txt")).with_name("go").touch()  # noqa: ASYNC240 - a moment
        return
    pod = await anyio.to_thread.run_sync(cluster.pod_of, job.id)
    touch = ("exec", pod, "-c", "helper", "--", "touch", "/builds/acme/demo/go")
    await anyio.to_thread.run_sync(cluster.kubectl, *touch)


@pytest.mark.parametrize("tokenless", ["true", "false"])
async def test_secrets_stay_where_they_belong(
    cluster: Cluster, tokenless: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that clones, runs and fails leaves no canary anywhere, not even while its processes run."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        async with (
            GitLabServer(host=cluster.host, tokens=(RUNNER_TOKEN,)) as gitlab,
            cluster.harness(gitlab=gitlab) as h,
        ):
            repository = await gitlab.create_repository("acme/demo", files={"hello.txt": "hello\n"})
            fetching = Hold()
            gitlab.faults.add(FaultRule("GET", "/info/refs", fetching))
            service = image(
                cluster.busybox_image,
                alias="cache",
                command=["sleep", "300"],
                variables=[variable("PASSWORD", "$SERVICE_SECRET")],
            )
            variables = [*VARIABLES, variable("FF_GIT_URLS_WITHOUT_TOKENS", tokenless, public=True)]
            script = [*SCRIPT, "exit 3"]
            job = h.queue(**secret_job(script=script, repository=repository, services=[service], variables=variables))
            await fetching.reached(timeout=60)
            arguments = await arguments_of_all_processes(cluster, job)
            assert "remote-http" in arguments
            assert canaries_in(arguments) == []
            fetching.release()
            await job.wait(lambda record: "ready" in record.text.splitlines())
            assert canaries_in(await arguments_of_all_processes(cluster, job)) == []
            await check_objects(cluster)
            await let_go(h, cluster, job)
            await job.wait_finished()
            await h.wait_until_empty()
            assert (job.state, job.exit_code) == ("failed", 3), job.text
            assert "masked is [MASKED], token is [MASKED]" in job.text
            assert "hidden is known" in job.text
            check_all(h, logs, job)
    assert canaries_in(caplog.text) == []


FAULTS = {
    "secret_refused": FaultRule("POST", "/secrets$", Reply(422, body=b""), times=None),
    "secret_500": FaultRule("POST", "/secrets$", Reply(500), times=2),
    "secret_dropped": FaultRule("POST", "/secrets$", CommitThenDrop()),
    "pod_garbage": FaultRule("POST", "/pods$", Garbage(), times=2),
    "attach_500": FaultRule("GET", "/attach", Reply(500), times=3),
}


@embedded
@pytest.mark.parametrize("fault", FAULTS)
async def test_trouble_tells_no_secret(cluster: Cluster, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """When requests fail, what is logged, told and tried again holds no canary."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        async with GitLabServer(tokens=(RUNNER_TOKEN,)) as gitlab, cluster.harness(gitlab=gitlab) as h:
            assert h.cluster is not None
            h.cluster.faults.add(FAULTS[fault])
            gitlab.faults.add(FaultRule("PATCH", "/trace", Reply(500)))
            variables = [*VARIABLES, variable("GIT_STRATEGY", "none", public=True)]
            with anyio.fail_after(40):
                job = await h.run(**secret_job(script=["echo $MASKED_VALUE"], variables=variables))
            check_all(h, logs, job)
            h.cluster.faults.clear()
            await h.wait_until_empty()
    assert canaries_in(caplog.text) == []


async def test_a_git_failure_tells_no_token(cluster: Cluster) -> None:
    """A clone that is refused says so without the token that it tried."""
    with capture_logs() as logs:
        async with (
            GitLabServer(host=cluster.host, tokens=(RUNNER_TOKEN,)) as gitlab,
            cluster.harness(gitlab=gitlab) as h,
        ):
            repository = await gitlab.create_repository("acme/demo", files={"hello.txt": "hello\n"})
            gitlab.faults.add(FaultRule("GET", "/info/refs", Reply(403), times=None))
            job = await h.run(**secret_job(script=["true"], repository=repository))
            assert job.state == "failed"
            check_all(h, logs, job)
            await h.wait_until_empty()


def check_all(h: Harness, logs: list[Any], job: JobRecord) -> None:
    """Search everything that others can read."""
    check_cluster(h)
    check_gitlab(h)
    assert canaries_in(repr(logs)) == []
    assert canaries_in(job.trace, MASKED_CANARIES) == []
    assert canaries_in(job.trace, (RUNNER_TOKEN, PASSWORD, SERVICE)) == []


PAGES = ("/", "/api/status", "/debug/jobs/list", "/metrics", "/readyz", "/healthz", "/debug/process/state")


@embedded
async def test_pages_and_terminals_tell_no_secret(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """What is shown and logged of a job with a terminal: no canary, no secret of its session, no markup of its name."""
    caplog.set_level(logging.DEBUG)
    status = open_status("127.0.0.1:0", system_id="r_testharness0")
    assert status.server
    listens: dict[str, Any] = {"session_server": {"listen_address": "127.0.0.1:0"}}
    seen: list[str] = []
    flag = f"/tmp/go-{uuid.uuid4()}"
    with capture_logs() as logs:
        async with (
            GitLabServer(host=cluster.host, tokens=(RUNNER_TOKEN,)) as gitlab,
            cluster.harness(gitlab=gitlab, process=listens, board=status.board, keep_alive_interval=0.2) as h,
            anyio.create_task_group() as group,
            aiohttp.ClientSession(f"http://127.0.0.1:{await group.start(_serve, status.server)}") as http,
        ):
            info = {"name": "<script>alert(1)</script>", "stage": "test", "project_id": 42, "project_name": "<b>p"}
            script = [f"echo ready; until [ -e {flag} ]; do sleep 0.05; done; rm {flag}"]
            variables = [*VARIABLES, variable("GIT_STRATEGY", "none", public=True)]
            job = h.queue(**secret_job(script=script, variables=variables, job_info=info))
            await job.wait(lambda record: "ready" in record.text.splitlines())
            offer = job.request["session"]
            async with open_visitor(offer) as visitor:
                assert await visitor.status("exec", Authorization="wrong") == 401
                async with visitor.terminal() as terminal:
                    await terminal.send_bytes(f"echo {MASKED}\n".encode())
                    await read_until(terminal, MASKED.encode())
                    seen = [await (await http.get(page)).text() for page in PAGES]
                    tell_tasks()
                    await terminal.send_bytes(f"touch {flag}\n".encode())
                    await job.wait(lambda record: "Terminal is connected" in record.text)
            await job.wait_finished()
            seen += [await (await http.get(page)).text() for page in PAGES]
            await h.wait_until_empty()
            check_all(h, logs, job)
            group.cancel_scope.cancel()
    secrets = (*CANARIES, offer["authorization"], offer["url"].rpartition("/")[2])
    assert [canaries_in(page, secrets) for page in seen] == [[]] * len(seen)
    assert canaries_in(f"{logs}{caplog.text}", secrets) == []
    assert not any("<script>alert" in page for page in (seen[0], seen[len(PAGES)]))
    assert any("alert(1)" in page for page in seen)


async def _serve(server: StatusServer, *, task_status: TaskStatus[int]) -> None:
    async with anyio.create_task_group() as group:
        await group.start(server.serve)
        task_status.started(server.port)
