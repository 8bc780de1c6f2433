"""Services that a job waits for: HEALTHCHECK_TCP_PORT."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.payloads import image, variable

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}
EXEC = {**NO_SOURCES, "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true"}
SERVE = (
    "import http.server, time; time.sleep(1); "
    "http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()"
)


def free_port() -> int:
    """A port that nobody listens at now; containers of the embedded cluster share this machine's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def web(cluster: Cluster, port: int) -> dict[str, Any]:
    """A service that takes connections after a moment."""
    command = ["sh", "-c", f"sleep 1; exec httpd -f -p 127.0.0.1:{port} -h /tmp"]
    if not cluster.is_real:
        command = ["python3", "-c", SERVE.format(port=port)]
    waits = [variable("HEALTHCHECK_TCP_PORT", str(port))]
    return image(cluster.busybox_image, alias="web", entrypoint=command, variables=waits)


@pytest.mark.parametrize("variables", [NO_SOURCES, EXEC], ids=["attach", "exec"])
async def test_stages_begin_when_a_service_answers(cluster: Cluster, variables: dict[str, str]) -> None:
    """The log says what is waited for, in a section of its own, before the first stage."""
    port = free_port()
    async with cluster.harness() as h:
        job = await h.run(script=["echo it runs"], services=[web(cluster, port)], variables=variables)
        assert job.state == "success", job.text
        lines = job.text.splitlines()
        told = [
            f'Waiting for service "web" ({cluster.busybox_image}) on port {port} ...',
            "Waiting for services",
            f"waiting for TCP connection to localhost on [{port}]...",
            f"dial succeeded on localhost:{port}. Exiting...",
            "Preparing environment",
            "it runs",
        ]
        assert [line for line in lines if line in told] == told, job.text


@pytest.mark.parametrize("checked", [True, False], ids=["with a port", "without"])
async def test_testJobAgainstServiceContainerBehaviour(  # noqa: N802 -- upstream's name
    cluster: Cluster, checked: bool
) -> None:
    """A service that dies fails the job only when the job waits for it; its name and last lines are told always."""
    waits = [variable("HEALTHCHECK_TCP_PORT", str(free_port()))] if checked else []
    words = "for i in 1 2 3; do echo line $i of 3; done; echo no space left >&2; sleep 2; exit 7"
    dying = image(cluster.busybox_image, alias="db", entrypoint=["sh", "-c", words], variables=waits)
    async with cluster.harness() as h:
        job = await h.run(script=["sleep 8"], services=[dying], variables=NO_SOURCES)
        assert job.state == ("failed" if checked else "success"), job.text
        if checked:
            assert job.failure_reason == "runner_configuration_error"
            assert 'Job failed: the service "db" (' in job.text
            assert "exit code: 7" in job.text, job.text
        ended = f'WARNING: The service "db" ({cluster.busybox_image}) ended with exit code 7 (Error)'
        last = "Its last lines:\nline 1 of 3\nline 2 of 3\nline 3 of 3\nno space left\n"
        assert job.text.count(f"{ended}\n") == 1, job.text
        assert last in job.text.partition(ended)[2], job.text


@pytest.mark.parametrize("end", ["exit 0", "exec sleep 600"], ids=["its work is done", "it lives as long as the job"])
async def test_a_service_that_does_not_die_is_no_warning(cluster: Cluster, end: str) -> None:
    """What ends well is named without a warning; what ends with the pod is not named at all."""
    service = image(cluster.busybox_image, alias="seed", entrypoint=["sh", "-c", f"echo seeded; sleep 1; {end}"])
    async with cluster.harness() as h:
        job = await h.run(script=["sleep 6", "exit 1"], services=[service], variables=NO_SOURCES)
    assert (job.state, job.exit_code) == ("failed", 1), job.text
    assert ('The service "seed"' in job.text) == (end == "exit 0"), job.text
    assert "seeded" not in job.text
    assert "WARNING: The service" not in job.text


@pytest.mark.only_on("embedded")
async def test_a_port_that_is_none_fails_before_anything_is_made(cluster: Cluster) -> None:
    """With the service's name."""
    service = image("postgres", alias="db", variables=[variable("HEALTHCHECK_TCP_PORT", "postgres")])
    async with cluster.harness() as h:
        job = await h.run(services=[service], variables=NO_SOURCES)
        assert (job.state, job.failure_reason) == ("failed", "runner_configuration_error")
        assert 'HEALTHCHECK_TCP_PORT of service "db" is "postgres": use a number from 1 to 65535' in job.text
        assert h.kube_requests["create", "pods"] == 0


@pytest.mark.only_on("embedded")
async def test_a_job_that_is_canceled_while_it_waits(cluster: Cluster) -> None:
    """A service that never answers does not hold a canceled job."""
    idle = [variable("HEALTHCHECK_TCP_PORT", str(free_port()))]
    service = image("postgres", alias="db", entrypoint=["sleep", "1000"], variables=idle)
    async with cluster.harness(keep_alive_interval=0.2) as h:
        job = h.queue(services=[service], variables=NO_SOURCES)
        await job.wait(lambda record: "waiting for TCP connection" in record.text, timeout=30)
        job.cancel()
        await job.wait_finished(timeout=30)
        await h.wait_until_empty()
