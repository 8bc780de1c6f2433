"""What a successor of the manager needs lies in the pod and in a Secret that the pod owns."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import anyio
import pytest

from runner.job.payload import Job
from runner.job.variables import Variable, Variables
from runner.podspec.secret import PART_LABEL, read_job_secrets
from runner.trace.journal import parse_entry
from runner.trace.masking import Masker, token_prefixes
from runner.trace.rendering import Renderer

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow


async def file_in_pod(cluster: Cluster, h: Harness, job: JobRecord, name: str) -> bytes:
    """Read a file of the job's log directory."""
    if h.cluster:
        return await anyio.Path(f"{h.folder}/logs-42-{job.id}/{name}").read_bytes()

    def read() -> bytes:
        pod = cluster.pod_of(job.id)
        path = f"/logs-42-{job.id}/{name}"
        return base64.b64decode(cluster.kubectl("exec", pod, "-c", "helper", "--", "base64", path))

    return await anyio.to_thread.run_sync(read)


def secrets_of(cluster: Cluster, h: Harness, job: JobRecord) -> list[dict[str, object]]:
    """The job's Secrets as the API server has them."""
    selector = f"job.runner.gitlab.com/id={job.id},{PART_LABEL}"
    if h.cluster:
        return list(h.cluster.manifests("secrets", labels=selector))
    pod = cluster.pod_of(job.id)
    items = json.loads(cluster.kubectl("get", "secrets", "-l", selector, "-o", "json"))["items"]
    return [item for item in items if item["metadata"]["ownerReferences"][0]["name"] == pod]


async def test_the_log_is_made_again_from_the_pod_byte_for_byte(cluster: Cluster) -> None:
    """Rendering the pod's journal and raw log from byte 0 gives what GitLab has, time stamps and masks included."""
    async with cluster.harness() as h:
        job = h.queue(
            script=[
                "echo first line",
                "echo secret-canary-value",
                "printf 'no newline'",
                "echo ready-to-compare",
                "sleep 4",
            ],
            variables=[
                {"key": "GIT_STRATEGY", "value": "none", "public": True, "masked": False},
                {"key": "SECRET", "value": "secret-canary-value", "public": False, "masked": True},
            ],
        )
        await job.wait(lambda record: "ready-to-compare\n" in record.text, timeout=60)
        journal = await file_in_pod(cluster, h, job, "journal")
        raw = await file_in_pod(cluster, h, job, "output.log")
        record = read_job_secrets(secrets_of(cluster, h, job))
        await job.wait_finished(timeout=60)

    successor = Job.parse(record.payload)
    assert successor.token == job.token
    variables = Variables(map(Variable.of, successor.variables))
    secrets = (successor.token.encode(), *(value.encode() for value in variables.masked_values()))
    renderer = Renderer(Masker(secrets, token_prefixes()), timestamps=True, sections=True)
    again = bytearray()
    for line in journal.splitlines():
        again += renderer.entry(parse_entry(line))
    again += renderer.data(raw)
    assert b"first line" in again
    assert b"[MASKED]" in again
    assert b"secret-canary-value" not in again
    assert job.trace.startswith(bytes(again))


async def test_the_jobs_secret_belongs_to_its_pod(cluster: Cluster) -> None:
    """The Secret names its pod as owner and manager, so the garbage collector takes it along."""
    async with cluster.harness() as h:
        job = h.queue(script=["echo here", "sleep 2"], variables={"GIT_STRATEGY": "none"})
        await job.wait(lambda record: "here" in record.text.splitlines(), timeout=60)
        (secret,) = secrets_of(cluster, h, job)
        metadata = secret["metadata"]
        assert isinstance(metadata, dict)
        assert [owner["kind"] for owner in metadata["ownerReferences"]] == ["Pod"]
        await job.wait_finished(timeout=60)
        await h.wait_until_empty()
