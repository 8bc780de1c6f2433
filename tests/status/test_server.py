"""The status server over a real socket, asked by a real client."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest
from structlog.testing import capture_logs

from runner.config.model import Config
from runner.status.address import Address, ListenError, parse_address
from runner.status.board import Check, ProcessState, StatusBoard
from runner.status.metrics import Metrics
from runner.status.opening import open_status
from runner.status.pulse import LAG_MAX, Pulse
from runner.status.readiness import Readiness
from runner.status.server import StatusServer
from runner.testing.harness import Harness, harness

PATHS = (
    "/",
    "/api/status",
    "/metrics",
    "/debug/jobs/list",
    "/debug/process/state",
    "/health/ready",
    "/healthz",
    "/readyz",
)
CONFIG = Config.model_validate(
    {"runners": [{"name": "r", "url": "https://gitlab.example.com", "token": "glrt-Ab3dEfGh1JkLmNoPqRsT"}]}
)


class Site:
    """A status server that listens, and a client of it."""

    def __init__(self, server: StatusServer, session: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        self._session = session

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str, aiohttp.ClientResponse]:
        """Status, text and the answer itself."""
        async with self._session.request(method, self.url + path) as answer:
            return answer.status, await answer.text(), answer

    async def text(self, path: str) -> str:
        """The text of a path that answers 200."""
        status, text, _ = await self.ask(path)
        assert status == 200, text
        return text


@asynccontextmanager
async def serving(board: StatusBoard, metrics: Metrics | None = None) -> AsyncIterator[Site]:
    """A server of this board on any free port."""
    server = StatusServer(Address("127.0.0.1", 0), board, metrics)
    async with anyio.create_task_group() as group:
        await group.start(server.serve)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield Site(server, session)
        group.cancel_scope.cancel()


def counted(board: StatusBoard | None = None) -> tuple[StatusBoard, Metrics]:
    """A board and what counts for it."""
    metrics = Metrics()
    board = StatusBoard(system_id="s_0123456789ab", meter=metrics)
    metrics.watch(board)
    return board, metrics


async def until(condition: Callable[[], bool], *, within: float = 20.0) -> None:
    """Wait for something that a board will show."""
    with anyio.fail_after(within):
        while not condition():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("path", PATHS)
async def test_paths_when_they_are_read_and_written(path: str) -> None:
    """GET and HEAD are answered, with the same head; whatever would change something is a 405."""
    board, metrics = counted()
    board.configured(CONFIG)
    board.enter(ProcessState.RUNNING)
    async with serving(board, metrics) as site:
        status, text, got = await site.ask(path)
        assert (status, bool(text)) == (200, path != "/debug/jobs/list")
        head_status, head_text, head = await site.ask(path, "HEAD")
        assert (head_status, head_text) == (200, "")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await site.ask(path, method))[0] == 405


@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/pprof/profile", "/nothing", "/api/jobs/1/log"])
async def test_paths_that_are_not_there(path: str) -> None:
    """They are 404, for every one."""
    async with serving(*counted()) as site:
        assert (await site.ask(path))[0] == 404


async def test_probes_when_the_process_has_just_started() -> None:
    """It is alive, and not ready before a configuration was read and jobs are taken."""
    board, metrics = counted()
    async with serving(board, metrics) as site:
        assert (await site.ask("/healthz"))[0] == 200
        assert (await site.ask("/health/ready"))[:2] == (503, "not ready\n")
        status, text, _ = await site.ask("/readyz")
        assert (status, text) == (503, "failing\nconfiguration: no configuration has been read yet\n")
        assert await site.text("/debug/process/state") == "starting"


async def test_probes_when_all_is_well() -> None:
    """Each says so in a line."""
    board, metrics = counted()
    board.configured(CONFIG)
    board.enter(ProcessState.RUNNING)

    async def clusters() -> list[Check]:
        return [Check("cluster of r")]

    board.clusters = clusters
    async with serving(board, metrics) as site:
        assert await site.text("/health/ready") == "ready\n"
        assert await site.text("/readyz") == "ok\nconfiguration: ok\ncluster of r: ok\n"
        assert await site.text("/debug/process/state") == "running"
        board.enter(ProcessState.GRACEFUL_SHUTDOWN)
        assert await site.text("/debug/process/state") == "graceful-shutdown"


async def test_readyz_when_a_cluster_is_away() -> None:
    """There is one line for each reason."""
    board, metrics = counted()
    board.configured(CONFIG)

    async def clusters() -> list[Check]:
        return [Check("cluster of r", "the API server cannot be asked (ConnectFailed)"), Check("cluster of s")]

    board.clusters = clusters
    async with serving(board, metrics) as site:
        status, text, _ = await site.ask("/readyz")
    assert status == 503
    assert text.splitlines() == [
        "failing",
        "configuration: ok",
        "cluster of r: the API server cannot be asked (ConnectFailed)",
        "cluster of s: ok",
    ]


async def test_readiness_when_many_ask() -> None:
    """Clusters are asked once for all of them, and again when the answer is old."""
    asked: list[int] = []
    board = StatusBoard()

    async def clusters() -> list[Check]:
        asked.append(1)
        await anyio.lowlevel.checkpoint()
        return []

    board.clusters = clusters
    kept = Readiness(board, kept_for=60)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(kept.checks)
    assert len(asked) == 1
    fresh = Readiness(board, kept_for=0)
    await fresh.checks()
    await fresh.checks()
    assert len(asked) == 3


async def test_readiness_when_a_cluster_does_not_answer() -> None:
    """A probe never waits for it longer than its own bound."""
    board = StatusBoard()

    async def clusters() -> list[Check]:
        await anyio.sleep_forever()
        raise AssertionError

    board.clusters = clusters
    [check] = await Readiness(board, timeout=0.02).checks()
    assert check == Check("clusters", "no answer in 0 s")


async def test_pulse_when_the_loop_is_held() -> None:
    """The lag shows in what is told and in the worst of the last beats; without a beat there is none to trust."""
    lags: list[float] = []
    pulse = Pulse(lags.append, interval=0.01)
    assert pulse.lag == float("inf")
    async with anyio.create_task_group() as group:
        group.start_soon(pulse.run)
        await until(lambda: len(lags) > 0)
        began = anyio.current_time()
        while anyio.current_time() - began < 0.2:
            pass  # holds the loop, as a fault would
        assert pulse.lag > 0.1
        beats = len(lags)
        await until(lambda: len(lags) > beats)
        assert max(lags) > 0.1
        assert pulse.lag > 0.1
        group.cancel_scope.cancel()
    assert pulse.lag > LAG_MAX


async def test_page_is_whole_and_closed() -> None:
    """One file without anything from elsewhere, under a policy that lets it ask this server alone."""
    async with serving(*counted()) as site:
        _, text, answer = await site.ask("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in text


@pytest.mark.slow
async def test_server_while_a_job_lives() -> None:
    """A job shows in the list while it runs and on the page after it; what it did is counted; no secret shows."""
    board, metrics = counted()
    secret = "k33p-this-to-yourself"
    async with harness(board=board) as h, serving(board, metrics) as site:
        # The script goes on when the test lets it.
        gate = h.folder / "gate"
        job = h.queue(
            script=[f"until [ -e {gate} ]; do sleep 0.05; done", "echo $PASSWORD"],
            variables={"PASSWORD": secret, "GIT_STRATEGY": "none"},
        )
        await until(lambda: any(card.stage == "step_script" for card in board.jobs))
        _, listed, answer = await site.ask("/debug/jobs/list")
        running = await site.text("/api/status") + await site.text("/metrics")
        gate.touch()
        await job.wait_finished()
        await h.wait_until_empty()
        after = await site.text("/metrics") + await site.text("/api/status")
        ready = await site.text("/readyz")
        await check_list(listed, answer, h)
    assert job.state == "success"
    assert ready == "ok\nconfiguration: ok\ncluster of harness: ok\n"
    assert re.search(
        r'gitlab_runner_jobs\{executor_stage="run",.*,stage="step_script",state="running",.*\} 1\.0', running
    )
    who = {"runner": h.gitlab.token.removeprefix("glrt-")[:9], "runner_name": "harness", "system_id": board.system_id}

    def counts(name: str, labels: dict[str, str]) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    assert counts("gitlab_runner_jobs_total", who) == 1
    assert counts("runner_jobs_finished_total", {**who, "state": "success"}) == 1
    assert counts("gitlab_runner_worker_feeds_total", who) > 0
    for phase in ("accept", "prepare_executor", "step_script", "finish", "removal"):
        assert counts("runner_job_phase_duration_seconds_count", {"phase": phase}) == 1, phase
    assert counts("runner_job_phase_duration_seconds_count", {"phase": "restore_cache"}) == 0
    assert counts("runner_kubernetes_requests_total", {"verb": "create", "resource": "pods", "code": "201"}) == 1
    assert counts("runner_pod_watch_lists_total", {}) == 1
    assert counts("runner_job_log_bytes_total", {"direction": "received"}) > 0
    assert counts("runner_job_log_bytes_total", {"direction": "sent"}) == len(job.trace)
    assert counts("runner_removals_under_way", {}) == counts("runner_final_states_waiting", {}) == 0
    for text in (listed, running, after):
        assert secret not in text
        assert h.gitlab.token not in text
        assert job.payload["token"] not in text


async def check_list(listed: str, answer: aiohttp.ClientResponse, h: Harness) -> None:
    """The original's list, with its version."""
    assert answer.headers["X-List-Version"] == "2"
    assert answer.content_type == "text/plain"
    [line] = listed.splitlines()
    words = dict(word.split("=", 1) for word in line.split(" "))
    assert list(words) == ["url", "state", "stage", "executor_stage", "duration"]
    assert words["url"].startswith(h.gitlab.url)
    assert "@" not in words["url"]
    assert (words["state"], words["stage"], words["executor_stage"]) == ("running", "step_script", "run")
    assert words["duration"].endswith("s")


async def test_serve_when_the_port_is_taken() -> None:
    """One sentence names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = StatusServer(Address("127.0.0.1", port), StatusBoard())
        with pytest.raises(ListenError) as caught:
            await server.serve()
    told = f"cannot listen at 127.0.0.1:{port}: address already in use. Free it, or set another listen_address."
    assert str(caught.value) == f"The status server {told}"


async def test_serve_when_the_host_is_unknown() -> None:
    """Another machine's address is none to listen at."""
    with pytest.raises(ListenError, match=r"cannot listen at 192\.0\.2\.1:9252"):
        await StatusServer(Address("192.0.2.1", 9252), StatusBoard()).serve()


@pytest.mark.parametrize("host", ["", "::"])
async def test_serve_when_no_host_is_named(host: str) -> None:
    """It is reached by IPv4, and by IPv6 where there is any."""
    server = StatusServer(Address(host, 0), StatusBoard())
    async with anyio.create_task_group() as group:
        await group.start(server.serve)
        url = f"http://127.0.0.1:{server.port}/healthz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
        group.cancel_scope.cancel()


def test_open_status_when_the_address_is_none() -> None:
    """The original logs an error and runs without; with no address at all there is nothing to say."""
    with capture_logs() as logs:
        assert open_status("", system_id="s").server is None
        assert open_status("::1", system_id="s").server is None
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [("error", "there is no status server")]
    assert open_status(":0", system_id="s").server is not None


def test_address_is_what_a_server_listens_at() -> None:
    """From the configuration's text to the socket."""
    assert parse_address("[::1]") == Address("::1", 9252)
