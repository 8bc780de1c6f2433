"""What services print, in the job's log: CI_DEBUG_SERVICES."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from runner.executor import service_logs
from runner.testing.payloads import image, variable

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

QUIET = {"GIT_STRATEGY": "none"}
ON = {**QUIET, "CI_DEBUG_SERVICES": "true"}
EXEC = {"FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": "true"}
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
WAIT = "sleep 3"


def services(cluster: Cluster) -> list[dict[str, Any]]:
    """A database with an alias and a cache without one; both talk at once and then wait."""
    talk = "echo Redis is starting >&2; exec sleep 600"
    return [
        image(
            cluster.busybox_image,
            alias="db",
            entrypoint=["sh", "-c", 'echo "ready to accept connections as $WHO"; exec sleep 600'],
            variables=[variable("WHO", "postgres")],
        ),
        image(cluster.busybox_image, entrypoint=["sh", "-c", talk]),
    ]


def prefix(cluster: Cluster, *aliases: str) -> str:
    """What the original writes before the line of a service."""
    return f"[service:{'-'.join((cluster.busybox_image.rpartition(':')[0], *aliases))}] "


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        (ON, True),
        ({**ON, **EXEC}, True),
        (QUIET, False),
        ({**QUIET, "CI_DEBUG_SERVICES": "false"}, False),
        ({**QUIET, "CI_DEBUG_SERVICES": "BLAMMO"}, False),
    ],
    ids=["on", "on with exec", "not set", "off", "bogus"],
)
async def test_Test_CaptureServiceLogs(  # noqa: N802 -- upstream's name
    cluster: Cluster, variables: dict[str, str], shown: bool
) -> None:
    """Each line once, with the service's image and names and the node's time; a bogus value warns.

    GitLab is told, so that it shows such a log to fewer people.
    """
    async with cluster.harness() as h:
        job = await h.run(services=services(cluster), variables=variables, script=[WAIT])
        asked = h.kube_requests["get", "pods/log"]
    assert job.state == "success", job.text
    found = [line for line in job.text.splitlines() if "[service:" in line]
    expected = [
        re.escape(prefix(cluster)) + STAMP + " Redis is starting",
        re.escape(prefix(cluster, "db")) + STAMP + " ready to accept connections as postgres",
    ]
    for pattern in expected:
        assert sum(re.fullmatch(pattern, line) is not None for line in found) == int(shown), job.text
    assert len(found) == (2 if shown else 0)
    assert (asked > 0) == shown
    assert {patch.debug for patch in job.patches} == {shown}
    bogus = variables.get("CI_DEBUG_SERVICES") == "BLAMMO"
    warning = "WARNING: CI_DEBUG_SERVICES: expected bool got 'BLAMMO', using default value: false"
    assert (warning in job.text) == bogus


async def test_lines_of_services_are_grey_masked_and_in_streams_of_their_own(cluster: Cluster) -> None:
    """Streams count from 0f, in the order in which the job names its services."""
    masked = [variable("PASSWORD", "s3cret-word", masked=True), *(variable(*each) for each in ON.items())]
    speaking = image(
        cluster.busybox_image,
        alias="db",
        entrypoint=["sh", "-c", "echo with s3cret-word; exec sleep 600"],
    )
    async with cluster.harness() as h:
        job = await h.run(services=[*services(cluster)[:1], speaking], variables=masked, script=[WAIT])
    assert job.state == "success", job.text
    raw = bytes(job.trace).decode()
    db = re.escape(prefix(cluster, "db"))
    assert re.search(rf"Z 0fO \x1b\[0;37m{db}{STAMP} ready to accept connections as postgres\x1b\[0;m\n", raw), raw
    assert re.search(rf"Z 10O \x1b\[0;37m{db}{STAMP} with \[MASKED\]\x1b\[0;m\n", raw), raw
    assert "s3cret-word" not in raw


@pytest.mark.only_on("embedded")
async def test_runner_can_forbid_service_logs(cluster: Cluster) -> None:
    """With `debug_trace_disabled` nothing is read, and the job is told why."""
    async with cluster.harness(runner={"debug_trace_disabled": True}) as h:
        job = await h.run(services=services(cluster), variables=ON, script=["echo done"])
        assert h.kube_requests["get", "pods/log"] == 0
    assert job.state == "success", job.text
    assert "CI_DEBUG_SERVICES: usage is disabled on this Runner" in job.text


@pytest.mark.only_on("embedded")
async def test_job_runs_when_service_logs_may_not_be_read(cluster: Cluster) -> None:
    """One warning says which right is missing."""
    async with cluster.harness() as h:
        assert h.cluster is not None
        h.cluster.forbid("get", "pods/log")
        job = await h.run(services=services(cluster), variables=ON, script=["sleep 1", "echo done"])
    assert job.state == "success", job.text
    assert job.text.count("WARNING: The services' logs cannot be shown: ") == 1
    assert "pods/log" in job.text


@pytest.mark.only_on("embedded")
async def test_service_that_prints_without_end_is_cut(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and the job and its other services go on."""
    monkeypatch.setattr(service_logs, "MOST_CHARACTERS", 20_000)
    loud = image("loud", alias="loud", entrypoint=["sh", "-c", "seq 1 100000; exec sleep 600"])
    async with cluster.harness() as h:
        job = await h.run(services=[loud, *services(cluster)], variables=ON, script=[WAIT, "echo done"])
    assert job.state == "success", job.text
    lines = job.text.splitlines()
    numbers = [int(line.rpartition(" ")[2]) for line in lines if line.startswith("[service:loud-loud] ")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 100 < len(numbers) < 1000
    assert "WARNING: The log of service loud is shown no further: it is longer than 20000 characters" in lines
    assert any("Redis is starting" in line for line in lines)
