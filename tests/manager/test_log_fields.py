"""What a line of the manager's log tells of the job that it is about."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runner.manager.logging import setup_logging
from runner.testing.faults import FaultRule, Reply
from runner.testing.harness import harness
from runner.testing.payloads import variable

pytestmark = pytest.mark.slow


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log, as JSON."""
    stream = io.StringIO()
    setup_logging(level="debug", form="json", stream=stream)
    yield stream
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Its lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_lines_about_a_job_name_all_that_it_belongs_to(written: io.StringIO) -> None:
    """Job, project and runner from the first line on, the pod in every line after it was chosen, whoever writes it."""
    async with harness() as h:
        h.gitlab.faults.add(FaultRule("PATCH", "/trace$", Reply(500)))
        job = await h.run(variables={"GIT_STRATEGY": "none"})
        await h.wait_until_empty()
        short = h.gitlab.token.removeprefix("glrt-")[:9]
        assert h.cluster is not None
    told = [line for line in lines(written) if "job" in line]
    assert [line["msg"] for line in told if line["level"] != "debug"] == [
        "job received",
        "log patch refused",
        "job finished",
    ]
    for line in told:
        assert (line["job"], line["project"]) == (job.id, 42)
        assert (line["runner"], line["runner_name"]) == (short, "harness")
    [pod] = {line["pod"] for line in told if line["msg"] != "job received"}
    assert pod.startswith(f"runner-{short.lower()}-project-42")


async def test_system_failure_is_told_with_its_cause(written: io.StringIO) -> None:
    """It is the operator's to mend, who does not read the job's log; what is masked there is masked here."""
    async with harness() as h:
        assert h.cluster is not None
        refusal = {"kind": "Status", "status": "Failure", "reason": "Unauthorized", "message": "no s3cret-word"}
        h.cluster.faults.add(FaultRule("POST", "/pods$", Reply(401, body=json.dumps(refusal).encode()), times=None))
        await h.run(variables=[variable("GIT_STRATEGY", "none"), variable("PASSWORD", "s3cret-word", masked=True)])
        await h.wait_until_empty()
    [finished] = [line for line in lines(written) if line["msg"] == "job finished"]
    assert (finished["level"], finished["failure_reason"]) == ("warning", "runner_system_failure")
    assert "[MASKED] (401 Unauthorized)" in finished["error"]


async def test_lines_about_a_watch_name_no_job(written: io.StringIO) -> None:
    """The job that came first began the watch, and its name would stay on it for ever."""
    async with harness() as h:
        assert h.cluster is not None
        h.cluster.faults.add(FaultRule("GET", r"/pods\?.*watch=1", Reply(500), times=1))
        await h.run(variables={"GIT_STRATEGY": "none"})
        await h.wait_until_empty()
    [interrupted] = [line for line in lines(written) if line["msg"] == "pod watch interrupted"]
    assert not {"job", "pod", "project"} & set(interrupted)
